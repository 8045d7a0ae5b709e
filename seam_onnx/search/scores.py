"""How much each channel matters to the loss, from gradients that training computes anyway.

Removing a channel means that nobody reads it any more. To first order that changes the loss by the sum, over every
weight that reads the channel, of weight times gradient: the derivative by a gate on all its readers (Molchanov et al.,
"Importance Estimation for Neural Network Pruning", CVPR 2019, eq. 8, with the gate at the readers, so that the score is
the same whether normalisation stands in between or not). The square is averaged over batches: with it noise does not
cancel what matters in some batches only.

For a set of channels that go together (a whole residual branch) the derivatives add before they are squared.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seam_onnx.channels import Channels
from seam_onnx.lowering import Lowered

__all__ = ["Scores"]


class Scores:
    """Accumulates over batches; all sums run on the device, one gather a batch."""

    def __init__(self, module: Lowered, channels: Channels) -> None:
        read = {int(r) for b in channels.bindings if b.role == "read" for r in np.unique(channels.roots[b.labels])}
        self.parts: list[tuple[Tensor, list[int]]] = []
        index = []
        weights = module.weights
        for binding in channels.bindings:
            roots = channels.roots[binding.labels]
            counts = binding.role == "read" or (binding.role == "write" and not read.issuperset(set(roots.tolist()) - {0}))
            weight = weights.get(binding.initializer)
            if counts and weight is not None:
                others = [k for k in range(weight.ndim) if k != binding.axis]
                self.parts.append((weight, others))
                index.append(roots if binding.role == "read" else np.where(np.isin(roots, list(read)), 0, roots))
        device = next(module.parameters()).device
        self.index = torch.from_numpy(np.concatenate(index)).to(device)
        self.total = torch.zeros(len(channels.roots), device=device)
        self.history: list[Tensor] = []

    def add(self) -> None:
        """Take in the gradients of one batch (call after backward, before the step)."""
        sums = []
        for weight, others in self.parts:
            product = weight.detach() * (weight.grad if weight.grad is not None else torch.zeros_like(weight))
            sums.append(product.sum(others) if others else product)
        derivative = torch.zeros_like(self.total).index_add_(0, self.index, torch.cat(sums))
        self.history.append(derivative)

    def derivatives(self) -> NDArray[np.float64]:
        """Derivative of the loss by each channel's gate, float64 (batches, labels); row index = representative label."""
        return torch.stack(self.history).double().cpu().numpy()

    def channel_scores(self) -> NDArray[np.float64]:
        """Mean square of the derivative, float64 (labels,)."""
        found: NDArray[np.float64] = (self.derivatives() ** 2).mean(0)
        return found

    def set_score(self, members: NDArray[np.int64]) -> float:
        """The same for channels that go together."""
        return float((self.derivatives()[:, members].sum(1) ** 2).mean())
