"""Bits that pass a gradient on to real masks, and which of a group of masks are the largest.

Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation",
arXiv 1308.3432; clipped as in SeaM (ICSE 2023, section 3.2).
"""

import torch
from torch import Tensor

from seam_onnx.surgery.sparsity import NM

__all__ = ["largest", "straight_through"]


class StraightThrough(torch.autograd.Function):
    """Bits for masks; backwards the incoming gradient, clipped to [-1, 1], passes unchanged."""

    @staticmethod
    def forward(context: object, mask: Tensor, bits: Tensor) -> Tensor:
        """The bits."""
        return bits.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> tuple[Tensor, None]:
        """Clip the gradient; there is no gate on |M|."""
        return gradient.clamp(-1, 1), None


def straight_through(mask: Tensor, bits: Tensor) -> Tensor:
    """The bits of a mask, with its gradient."""
    passed: Tensor = StraightThrough.apply(mask, bits)
    return passed


def largest(mask: Tensor, axis: int, pattern: NM) -> Tensor:
    """True for the N largest of every M consecutive elements along the axis, whose length is a multiple of M."""
    last = mask.movedim(axis, -1)
    order = last.reshape(*last.shape[:-1], -1, pattern.m).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return torch.lt(order, pattern.n).reshape(last.shape).movedim(-1, axis)
