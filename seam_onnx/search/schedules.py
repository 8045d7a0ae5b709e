"""How the masks of single weights and the head behind them move, given their gradients.

    schedule.joint(epoch)      do masks move in this epoch, or the head alone?
    schedule.watches(joint)    are gradients of the masks wanted?
    schedule.step(joint)       one update

`Published` is SeaM's. `Fast` has the same gradient of the cross-entropy and the same ratio in the loss, and reaches a given
share of weights within a fixed number of steps. The third schedule, which trains weights as well, is gradual.py.

Why SeaM is slow: alpha/N, the gradient of the ratio, is far smaller than a batch's (docs/seam.md), and Adam divides by the
size of both together. So masks hardly fall; they walk at random from 1, the same for all, and are removed where they
first cross 0, whatever their weight is worth.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seam_onnx.hyperparameters import SeamRecipe

__all__ = ["DESCENT", "Fast", "Published", "Schedule", "final_share", "make_schedule"]

Masks = Mapping[str, nn.Parameter]
DESCENT = 0.6
"""Share of the steps in which weights go; in the rest those that stay settle."""
KEEP = 0.06
"""Share of the weights that stay by default."""
MEMORY = 0.95
"""Of the running mean of squared gradients, a step."""


class Schedule(Protocol):
    """Moves masks and head."""

    @property
    def alpha(self) -> float:
        """Weight of the ratio in the loss that gradients are taken of."""

    @property
    def begun(self) -> bool:
        """Whether masks tell weights apart; at first all are 1."""

    def joint(self, epoch: int) -> bool:
        """Whether masks move in this epoch (counted from 0), or the head alone."""

    def watches(self, joint: bool) -> bool:
        """Whether `step` reads the gradients of the masks."""

    def step(self, joint: bool) -> None:
        """One update."""

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class Published:
    """SeaM's: two Adam optimisers take turns, every fifth epoch the head's, otherwise that of masks and head."""

    begun = True

    def __init__(self, masks: Masks, head: Sequence[nn.Parameter], recipe: SeamRecipe) -> None:
        self.alpha = recipe.alpha
        self.alone = torch.optim.Adam(head, lr=recipe.head_rate)
        groups = [
            {"params": list(masks.values()), "lr": recipe.mask_rate},
            {"params": list(head), "lr": recipe.head_rate},
        ]
        self.together = torch.optim.Adam(groups)

    def joint(self, epoch: int) -> bool:
        """Epochs 0, 5, 10, ... are the head's."""
        return epoch % 5 != 0

    def watches(self, joint: bool) -> bool:
        """In the turn of the masks."""
        return joint

    def step(self, joint: bool) -> None:
        """Each optimiser has moments of its own."""
        (self.together if joint else self.alone).step()

    def state(self) -> dict[str, Any]:
        """Of both optimisers."""
        return {"alone": self.alone.state_dict(), "together": self.together.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Of both optimisers."""
        self.alone.load_state_dict(state["alone"])
        self.together.load_state_dict(state["together"])


class Fast:
    """Down to a share of the weights on time.

    1. The first epoch is the head's. Meanwhile the squared gradients of the masks are averaged: to second order what the
       removal of a weight costs (LeCun et al., "Optimal brain damage", 1990, with the empirical Fisher information).
    2. The masks of a layer then start as quantiles of the exponential distribution by that measure, not all at 1: masks that
       fall at a constant pace lose a constant share of what is left in every step. Layers differ by the logarithm of
       sum(shape) / size, so that small ones stay denser (the Erdos-Renyi-kernel rule; Evci et al., arXiv 1911.11134). Ranks
       over all layers at once empty single layers, and the network with them.
    3. alpha is no constant but the multiplier of the constraint mean(B) <= r(t), where r falls from 1 to `keep` by a
       constant factor in the first `DESCENT` of the steps and stays there. Its gradient is the same for every element:
       the multiplier is found by moving all masks together until r(t) N of them are above 0.
    4. Adam's rates fall by half a cosine. That of the masks is `mask_rate` for a thousand steps, more for fewer: a mask
       can go equally far whatever the number of steps is.
    """

    alpha = 0.0  # the constraint stands for it

    def __init__(self, masks: Masks, head: Sequence[nn.Parameter], recipe: SeamRecipe, steps: int) -> None:
        self.masks, self.recipe = masks, recipe
        self.total, self.first, self.done = recipe.epochs * steps, steps, 0
        self.squares = {name: torch.zeros_like(mask) for name, mask in masks.items()}
        self.size = sum(mask.numel() for mask in masks.values())
        self.head = torch.optim.Adam(head, lr=recipe.head_rate)
        self.moved = torch.optim.Adam(masks.values(), lr=recipe.mask_rate)

    @property
    def begun(self) -> bool:
        """After the first epoch."""
        return self.done >= self.first

    def joint(self, epoch: int) -> bool:
        """All epochs but the first."""
        return epoch > 0

    def watches(self, joint: bool) -> bool:
        """Always."""
        return True

    def share(self) -> float:
        """r(t): share of the elements that may stay now."""
        way = max(1.0, DESCENT * self.total - self.first)
        return float(final_share(self.recipe) ** min(1.0, (self.done - self.first) / way))

    @torch.no_grad()
    def step(self, joint: bool) -> None:
        """Head and masks; in the first epoch the head, and the squares."""
        self.rates(joint)
        self.head.step()
        if joint:
            self.moved.step()
        else:
            for name, square in self.squares.items():
                square.lerp_(gradient(self.masks[name]) ** 2, 1 - MEMORY)
        self.done += 1
        if self.begun and not joint:
            self.begin()
        if self.begun:
            self.descend()

    def rates(self, joint: bool) -> None:
        """Half a cosine over all steps; over the first epoch alone for the head, which then starts anew at a tenth."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.done / self.total))
        alone = 1 - self.done / self.first
        self.head.param_groups[0]["lr"] = self.recipe.head_rate * (0.1 * cosine if joint else max(0.05, alone))
        self.moved.param_groups[0]["lr"] = self.recipe.mask_rate * 1000 / self.total * cosine

    @torch.no_grad()
    def begin(self) -> None:
        """Masks by what their weights are worth within their layer, and by the layer's shape."""
        for name, mask in self.masks.items():
            ranks = self.squares[name].flatten().argsort().argsort().to(mask.dtype).view(mask.shape)
            mask.copy_(math.log(sum(mask.shape) / mask.numel()) - torch.log1p(-(ranks + 0.5) / mask.numel()))

    @torch.no_grad()
    def descend(self) -> None:
        """Move all masks together until as many as may stay are above 0."""
        values = torch.cat([mask.flatten() for mask in self.masks.values()])
        gone = self.size - max(1, round(self.share() * self.size))
        limit = torch.kthvalue(values, gone).values if gone else values.min() - 1
        for mask in self.masks.values():
            mask.sub_(limit)

    def state(self) -> dict[str, Any]:
        """Of both optimisers, and the clock."""
        return {
            "head": self.head.state_dict(),
            "moved": self.moved.state_dict(),
            "squares": self.squares,
            "done": self.done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Of both optimisers, and the clock."""
        self.head.load_state_dict(state["head"])
        self.moved.load_state_dict(state["moved"])
        self.squares, self.done = state["squares"], state["done"]


def final_share(recipe: SeamRecipe) -> float:
    """Where the descent ends; under N:M, which removes by itself, nowhere unless it was asked for."""
    return recipe.keep if recipe.keep is not None else KEEP if recipe.nm is None else 1.0


def gradient(mask: nn.Parameter) -> Tensor:
    """A mask's gradient."""
    assert mask.grad is not None
    return mask.grad


def make_schedule(masks: Masks, head: Sequence[nn.Parameter], recipe: SeamRecipe, steps: int) -> Schedule:
    """The one that a recipe names, for `steps` steps an epoch."""
    return Published(masks, head, recipe) if recipe.schedule == "published" else Fast(masks, head, recipe, steps)
