"""The original as a teacher: its scores restricted to the wanted outputs."""

import numpy as np
import torch
from torch import Tensor

from seam_onnx.labels import Wanted
from seam_onnx.lowering import Lowered, lower
from seam_onnx.model import Model
from seam_onnx.surgery.logits import logits_of

__all__ = ["Teacher"]


class Teacher:
    """Callable from normalised samples (B, ...) to restricted logits (B, outputs), both on the device."""

    def __init__(self, model: Model, wanted: Wanted, device: torch.device) -> None:
        self.module: Lowered = lower(model, logits_of(model)).to(device)
        self.device = device
        self.indices = torch.tensor(wanted.indices, device=device)
        self.unwanted = torch.tensor(wanted.unwanted, device=device)
        self.rest = wanted.rest

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Restricted logits (B, outputs) of normalised samples."""
        scores: Tensor = self.module(x).flatten(1)
        columns = scores[:, self.indices]
        if not self.rest:
            return columns
        return torch.cat([columns, scores[:, self.unwanted].logsumexp(1, keepdim=True)], 1)

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """All logits (B, classes) of samples in numpy."""
        scores: np.ndarray = self.module(torch.from_numpy(x).to(self.device)).flatten(1).cpu().numpy()
        return scores
