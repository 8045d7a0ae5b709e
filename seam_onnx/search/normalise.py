"""Batch normalisation while training, also where the exporter folded it away.

Exporters fold BatchNorm into the convolution before it, and what is left is hard to train: without normalisation a small
learning rate is the only safe one. So every convolution with a bias of its own gets a normalisation back for the time of
training, chosen to change nothing at first (gamma = the standard deviation of what it makes on a calibration batch, beta
= its mean plus the bias), and is folded again before the weights are written back. Stored BatchNormalization nodes use
batch statistics while training and update their running ones.

    y = gamma (W x - mean) / sqrt(var + eps) + beta       (Ioffe and Szegedy 2015, arXiv 1502.03167)
"""

from typing import Any

import torch
from torch import Tensor, nn

from seam_onnx.lowering import Lowered, Op

__all__ = ["fold", "normalise"]

EPSILON = 1e-5
MOMENTUM = 0.05
"""Share of a batch in the running statistics."""


class NormalisedConv(nn.Module):
    """A convolution whose bias parameter plays beta while training."""

    def __init__(self, op: Op, channels: int, device: torch.device) -> None:
        super().__init__()
        self.op = op
        self.gamma = nn.Parameter(torch.ones(channels, device=device))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(channels, device=device))
        self.register_buffer("var", torch.ones(channels, device=device))
        self.calibrating = False

    def forward(self, x: Tensor, weight: nn.Parameter, beta: nn.Parameter) -> Tensor:
        """Convolve, then normalise with batch (training) or running statistics."""
        made: Tensor = self.op(x, weight, torch.zeros_like(beta))
        if self.calibrating:
            return made + self.calibrate(made, beta).reshape(-1, *[1] * (made.ndim - 2))
        return nn.functional.batch_norm(made, self.mean, self.var, self.gamma, beta, self.training, MOMENTUM, EPSILON)

    def calibrate(self, made: Tensor, beta: nn.Parameter) -> Tensor:
        """Choose statistics, gamma and beta so that nothing changes; returns the old bias (channels,)."""
        axes = [k for k in range(made.ndim) if k != 1]
        bias = beta.detach().clone()
        self.mean.copy_(made.mean(axes))
        self.var.copy_(made.var(axes, unbiased=False))
        self.gamma.data.copy_((self.var + EPSILON).sqrt())
        beta.data.add_(self.mean)
        return bias

    def fold_into(self, weight: nn.Parameter, beta: nn.Parameter) -> None:
        """Put the normalisation into a weight and a bias."""
        scale = self.gamma.detach() / (self.var + EPSILON).sqrt()
        weight.data.mul_(scale.reshape(-1, *[1] * (weight.ndim - 1)))
        beta.data.sub_(scale * self.mean)


class TrainedBatchNorm(nn.Module):
    """A stored BatchNormalization that uses batch statistics while training."""

    def __init__(self, op: Op) -> None:
        super().__init__()
        self.op = op
        self.epsilon = op.node.attributes.get_float("epsilon", 1e-5)

    def forward(self, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """As the op; the running statistics follow the batches while training."""
        return nn.functional.batch_norm(
            x, mean.detach(), var.detach(), scale, bias, self.training, MOMENTUM, self.epsilon
        )


def normalise(module: Lowered, x: Tensor) -> None:
    """Give a lowered model its normalisation, in place, calibrated on a batch x (N, ...); outputs stay what they were."""
    found = []
    for call in module.body.graph.nodes:
        op = module.body.get_submodule(str(call.target)) if call.op == "call_module" else None
        if not isinstance(op, Op) or op.constants:
            continue
        if op.node.op_type == "BatchNormalization":
            setattr(module.body, str(call.target), TrainedBatchNorm(op))
        elif op.node.op_type == "Conv" and own_weights(call):
            beta = getattr(module.body, str(call.args[2].target))
            found.append(NormalisedConv(op, len(beta), beta.device))
            setattr(module.body, str(call.target), found[-1])
    module.train(module.training)  # new modules begin in training mode, and would move the running statistics
    with torch.no_grad():
        for conv in found:
            conv.calibrating = True
        module(x)
        for conv in found:
            conv.calibrating = False


def own_weights(call: Any) -> bool:
    """Has the convolution a weight and a bias that nothing else reads?"""
    return len(call.args) == 3 and all(a.op == "get_attr" and len(a.users) == 1 for a in call.args[1:])


def fold(module: Lowered) -> None:
    """Undo `normalise`, in place, keeping what evaluation mode computes."""
    for call in module.body.graph.nodes:
        inner = module.body.get_submodule(str(call.target)) if call.op == "call_module" else None
        if isinstance(inner, NormalisedConv):
            weight, beta = (getattr(module.body, str(a.target)) for a in call.args[1:])
            inner.fold_into(weight, beta)
            setattr(module.body, str(call.target), inner.op)
        elif isinstance(inner, TrainedBatchNorm):
            setattr(module.body, str(call.target), inner.op)
    module.eval()
