"""Hard-concrete gates: which channels stay is trained, under an expected cost (the criterion `gates`).

Every channel has a gate z in [0, 1] on the weights that read it: a binary concrete variable s, stretched to (GAMMA, ZETA)
and clipped, so that z is 0 with a probability and still has a gradient (Louizos, Welling, Kingma, "Learning sparse neural
networks through L0 regularization", ICLR 2018, arXiv 1712.01312, eq. 10 to 12):

    s = sigmoid((log u - log(1 - u) + log alpha) / BETA),  u ~ U(0, 1);   z = min(1, max(0, s (ZETA - GAMMA) + GAMMA))
    P(z > 0) = sigmoid(log alpha - BETA log(-GAMMA / ZETA))

Weights are frozen. The penalty is no sum of probabilities but what the network is expected to cost, by the same products of
widths as `channels.cost`, and its weight is the multiplier of the constraint that this be at most the goal, begun anew
whenever it holds (Gallego-Posada et al., "Controlled sparsity via constrained optimization", NeurIPS 2022,
arXiv 2208.04425).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from seam_onnx.channels import Channels
from seam_onnx.lowering import Lowered
from seam_onnx.ops import Labels

__all__ = ["HardConcrete", "gate_values"]

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
BEGIN = 2.0
"""log alpha at first: a channel stays with a probability of 0.97."""
STEPS = 150
RATE = 0.1
"""Of Adam."""
ASCENT = 1.0
"""Of the multiplier, for each whole original that the expected cost is above the goal."""


class HardConcrete:
    """Gates on all channels of groups; others stay open.

    Args:
        module: whose weights are gated, in evaluation mode.
        channels: of its model.
        seed: of the samples u.
    """

    def __init__(self, module: Lowered, channels: Channels, seed: int) -> None:
        self.module, device = module, next(module.parameters()).device
        self.gated = torch.zeros(len(channels.roots), dtype=torch.bool)
        for group in channels.groups:
            self.gated[group.channels] = True
        self.gated = self.gated.to(device)
        self.roots = torch.tensor(channels.roots, device=device)
        self.readers = [
            (binding.initializer, binding.axis, self.at(binding.labels))
            for binding in channels.bindings
            if binding.role == "read" and binding.initializer in module.weights
        ]
        self.works = [(work.unit, [self.at(labels) for labels in work.axes]) for work in channels.works]
        self.log_alpha = torch.full((len(channels.roots),), BEGIN, device=device, requires_grad=True)
        self.generator = torch.Generator().manual_seed(seed)

    def at(self, labels: Labels) -> Tensor:
        """The representatives of labels (n,)."""
        return self.roots[torch.tensor(labels, device=self.roots.device)]

    def probabilities(self) -> Tensor:
        """That a channel stays (labels,)."""
        return torch.where(self.gated, torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA)), 1.0)

    def sample(self) -> Tensor:
        """Gates (labels,)."""
        u = torch.rand(len(self.log_alpha), generator=self.generator).clamp(1e-6, 1 - 1e-6).to(self.log_alpha.device)
        s = torch.sigmoid((u.log() - (1 - u).log() + self.log_alpha) / BETA)
        return torch.where(self.gated, (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1), 1.0)

    def cost(self, stays: Tensor) -> Tensor:
        """Expected multiply-adds where each channel stays with a probability (labels,), all independent."""
        total = torch.zeros((), device=stays.device)
        for unit, axes in self.works:
            total = total + unit * math.prod((stays[labels].sum() for labels in axes), start=torch.ones_like(total))
        return total

    def __call__(self, x: Tensor, gates: Tensor) -> Tensor:
        """Logits (B, outputs) of samples x (B, ...) with gates (labels,) on what reads the channels."""
        weights = {name: weight.detach() for name, weight in self.module.weights.items()}
        for name, axis, roots in self.readers:
            shape = [-1 if k == axis else 1 for k in range(weights[name].ndim)]
            weights[name] = weights[name] * gates[roots].reshape(shape)
        named = {f"body.{self.module.names[name]}": weight for name, weight in weights.items()}
        scores: Tensor = functional_call(self.module, named, (x,))
        return scores.flatten(1)


def gate_values(
    module: Lowered, channels: Channels, batches: Sequence[Tensor], goal: float, seed: int,
    distance: Callable[[Tensor, Tensor], Tensor],
) -> NDArray[np.float64]:  # fmt: skip
    """What each channel is worth, in multiply-adds: the probability that it stays times what it costs in the whole network.

    Args:
        module: in evaluation mode; its own answers are what is to be kept.
        channels: of its model.
        batches: samples (B, ...), taken in turn.
        goal: share of the multiply-adds to come to.
        seed: of the gates.
        distance: of logits (B, outputs) from those of the network without gates, a scalar.

    Returns:
        float64 (labels,); 0 for what has no gate. Cost: `STEPS` training steps.
    """
    gates = HardConcrete(module, channels, seed)
    optimizer, multiplier = torch.optim.Adam([gates.log_alpha], lr=RATE), 0.0
    ones = torch.ones(len(channels.roots), device=gates.log_alpha.device, requires_grad=True)
    whole = gates.cost(ones)
    (alone,) = torch.autograd.grad(whole, ones)
    with torch.no_grad():
        answers = [module(x).flatten(1) for x in batches]
    for step in range(STEPS):
        k = step % len(batches)
        over = gates.cost(gates.probabilities()) / whole.detach() - goal
        loss = distance(gates(batches[k], gates.sample()), answers[k]) + multiplier * over
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        multiplier = multiplier + ASCENT * float(over.detach()) if over > 0 else 0.0
    worth = torch.where(gates.gated, gates.probabilities() * alone, 0.0)
    return worth.detach().double().cpu().numpy()
