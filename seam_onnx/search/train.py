"""Training a lowered model on a task: one optimiser, one schedule, whatever the purpose.

Loss: cross-entropy with the labels plus distillation from the original restricted to the wanted labels
(Hinton et al. 2015, arXiv 1503.02531: T^2 KL(softmax(t / T) || softmax(s / T))), plus hints: what arrives at every layer
should stay what it was in the original, on the channels that are left (Romero et al., "FitNets", arXiv 1412.6550, without
their regressor, since pruning knows which channel is which).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seam_onnx.hyperparameters import Recipe
from seam_onnx.lowering import Lowered
from seam_onnx.search.views import Batch

__all__ = ["Clock", "Recipe", "Trainer", "objective"]


def objective(scores: Tensor, batch: Batch, recipe: Recipe) -> Tensor:
    """Loss of logits (B, outputs), a scalar."""
    heat = recipe.temperature
    labels = nn.functional.cross_entropy(scores, batch.y)
    soft = nn.functional.log_softmax(scores / heat, 1)
    teacher = nn.functional.softmax(batch.teacher / heat, 1)
    distilled = nn.functional.kl_div(soft, teacher, reduction="batchmean") * heat * heat
    return (1 - recipe.distill) * labels + recipe.distill * distilled


def hint_loss(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean over places of the squared difference, relative to the mean square of what is wanted, a scalar."""
    parts = [(a - b).square().mean() / (b.square().mean() + 1e-6) for a, b in zip(found, wanted, strict=True)]
    return torch.stack(parts).mean()


Teach = Callable[[Tensor], Sequence[Tensor]]
"""From a batch x (B, ...) to what the original has at each watched place, its kept channels only."""


class Trainer:
    """Steps over batches; keeps running figures for whoever watches.

    Args:
        module: what is trained, in training mode already.
        recipe: how.
        trained: parameters to change, by default all.
        clock: the schedule, which may span several trainers.
        teacher: what the original computes where the module's further outputs are, see `Hints.teacher`.
    """

    def __init__(
        self,
        module: Lowered,
        recipe: Recipe,
        clock: "Clock",
        teacher: Teach,
        trained: Iterable[nn.Parameter] | None = None,
    ) -> None:
        self.module, self.recipe, self.clock, self.teacher = module, recipe, clock, teacher
        self.parameters = [p for p in (module.parameters() if trained is None else trained) if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.decay
        )
        self.loss, self.accuracy = math.nan, math.nan

    def step(self, batch: Batch) -> None:
        """One update at the clock's rate, gradients clipped to norm 5."""
        made = self.module(batch.x)
        scores, hints = (made[0].flatten(1), made[1:]) if isinstance(made, tuple) else (made.flatten(1), ())
        loss = objective(scores, batch, self.recipe)
        if hints and self.recipe.hints:
            loss = loss + self.recipe.hints * hint_loss(hints, self.teacher(batch.x))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = self.clock.rate()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.clock.tick()
        self.record(float(loss.detach()), float((scores.detach().argmax(1) == batch.y).float().mean()))

    def record(self, loss: float, accuracy: float) -> None:
        """Exponential averages over about twenty steps."""
        if math.isnan(self.loss):
            self.loss, self.accuracy = loss, accuracy
        self.loss += 0.05 * (loss - self.loss)
        self.accuracy += 0.05 * (accuracy - self.accuracy)


@dataclass
class Clock:
    """Steps done of all steps: linear warm-up over 3 %, then half a cosine to zero."""

    peak: float
    """Highest learning rate."""
    total: int
    """Steps in all."""
    done: int = 0
    """Steps so far."""

    def tick(self) -> None:
        """One step more."""
        self.done += 1

    def rate(self) -> float:
        """Learning rate now."""
        share = min(1.0, self.done / max(1, self.total))
        return (
            self.peak * min(1.0, (share + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * max(0.0, share - 0.03) / 0.97))
        )
