"""How much each channel matters to the outputs.

Removing a channel means that nobody reads it any more. To first order that changes the logits by the sum, over every weight
that reads the channel, of weight times derivative: the derivative by a gate on all its readers (the gate of Molchanov et
al., "Importance Estimation for Neural Network Pruning", CVPR 2019, eq. 8, put at the readers, so that the score is the same
whether a normalisation stands in between or not).

The derivative is taken of the logits, not of the loss: a student that still equals its teacher has no gradient, but its
channels do not matter any less. A random combination r of the logits of a batch, r ~ N(0, 1), is propagated back once;
E[(J'r)^2] is the squared length of the change of the logits (Hutchinson's estimator), so that a score is in squared logits
and can be compared with the measured effect of leaving out a whole branch.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from seam_onnx.channels import Channels
from seam_onnx.lowering import Lowered
from seam_onnx.masks import MaskSet

__all__ = ["ablation", "sensitivities"]


class Gates:
    """Sums of weight times derivative, channel by channel, for one module."""

    def __init__(self, module: Lowered, channels: Channels) -> None:
        read = np.unique(np.concatenate([channels.roots[b.labels] for b in channels.bindings if b.role == "read"]))
        self.parts: list[tuple[Tensor, list[int]]] = []
        index, weights = [], module.weights
        for binding in channels.bindings:
            roots, weight = channels.roots[binding.labels], weights.get(binding.initializer)
            if binding.role == "write":  # counts only for channels that no weight reads
                roots = np.where(np.isin(roots, read), 0, roots)
            if weight is not None and binding.role in ("read", "write") and roots.any():
                self.parts.append((weight, [k for k in range(weight.ndim) if k != binding.axis]))
                index.append(roots)
        self.index = torch.from_numpy(np.concatenate(index)).to(next(module.parameters()).device)
        self.size = len(channels.roots)

    def derivative(self) -> Tensor:
        """Derivative by each channel's gate (labels,), from the gradients that a backward pass left."""
        sums = []
        for weight, others in self.parts:
            product = weight.detach() * (weight.grad if weight.grad is not None else torch.zeros_like(weight))
            sums.append(product.sum(others) if others else product)
        return torch.zeros(self.size, device=self.index.device).index_add_(0, self.index, torch.cat(sums))


def sensitivities(module: Lowered, channels: Channels, x: Tensor, draws: int, seed: int) -> NDArray[np.float64]:
    """Derivatives of random combinations of the logits by each channel's gate.

    Args:
        module: in evaluation mode.
        channels: of its model.
        x: samples (B, ...).
        draws: backward passes, each over all samples.
        seed: of the combinations.

    Returns:
        float64 (draws, labels), scaled so that the mean square over draws is the mean squared change of a sample's
        logits; the column index is the representative label.
    """
    gates, found = Gates(module, channels), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        scores = module(x).flatten(1)
        module.zero_grad(set_to_none=True)
        mixture = torch.randn(scores.shape, generator=generator).to(scores.device)
        (scores * mixture).sum().backward()
        found.append(gates.derivative() / len(x) ** 0.5)
    module.zero_grad(set_to_none=True)
    return torch.stack(found).double().cpu().numpy()


@torch.no_grad()
def ablation(module: Lowered, masks: MaskSet, x: Tensor, scores: Tensor) -> float:
    """Mean squared change of a sample's logits when weights are masked, measured on samples x (B, ...).

    `scores` (B, outputs) are the module's logits of x without masks.
    """
    weights = module.weights
    masked = {
        f"body.{module.names[name]}": weights[name] * torch.from_numpy(mask).to(x.device)
        for name, mask in masks.masks.items()
        if name in weights
    }
    module.combine(masks)
    changed = functional_call(module, masked, (x,)).flatten(1)
    module.combine(MaskSet({}, masks.sha256))
    return float((changed - scores).square().sum(1).mean())
