"""Muon: momentum whose steps are orthogonal, for weights with more than one axis.

A step's matrix, outputs by everything else, is replaced by the nearest one whose singular values are all alike, so that
directions in which gradients are small are learnt as fast as the others (Jordan et al., "Muon: An optimizer for hidden
layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon/). Small networks that are trained for some
thousand steps come further with it than with AdamW: docs/how-it-works.md has the figures. torch's own `torch.optim.Muon`
takes matrices alone, not kernels, and computes in bfloat16, which many CPUs can only imitate.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, Jordan et al."""
ITERATIONS = 5
SIZE = 0.6
"""Root mean square of a step's elements at rate 1; AdamW's is about 0.2 (Liu et al., "Muon is scalable for LLM training",
arXiv 2502.16982); three times that came further in as many steps, see docs/how-it-works.md."""


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum, orthogonal steps of a fixed size, and decoupled weight decay.

    Args:
        params: weights (outputs, ...) of two or more axes.
        lr: rate; rates that suit AdamW suit it as well.
        momentum: of the gradient.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 1e-3, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of all weights that have a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    way = self.way(weight, weight.grad, group["momentum"]).flatten(1)
                    alike.setdefault(way.shape, []).append((weight, way))
            for shape, found in alike.items():
                steps = orthogonal(torch.stack([way for _, way in found])) * (group["lr"] * SIZE * max(shape) ** 0.5)
                for (weight, _), step in zip(found, steps, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step.reshape(weight.shape))
        return None if closure is None else closure()

    def way(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Where Nesterov's momentum points for one weight, in its shape."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        kept: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(kept, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the orthogonal matrices nearest to some (k, m, n): singular values between 0.7 and 1.2, or still 0.

    Newton-Schulz iterations; cost: 15 products with the smaller side squared, for each. One call for many small ones, which
    would cost more in calls than in products.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
