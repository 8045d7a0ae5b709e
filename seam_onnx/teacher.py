"""The original as a teacher: its scores of all its classes."""

import numpy as np
import torch
from torch import Tensor

from seam_onnx.lowering import Lowered, lower
from seam_onnx.model import Model
from seam_onnx.surgery.logits import logits_of

__all__ = ["Teacher"]


class Teacher:
    """Callable from normalised samples (B, ...) to logits (B, classes), both on the device."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.module: Lowered = lower(model, logits_of(model)).to(device)
        self.device = device

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of normalised samples."""
        scores: Tensor = self.module(x).flatten(1)
        return scores

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """The same in numpy."""
        scores: np.ndarray = self(torch.from_numpy(x).to(self.device)).cpu().numpy()
        return scores
