"""Training a lowered model on a task: one optimiser, one schedule, whatever the purpose.

Loss: cross-entropy with the labels plus distillation from the original restricted to the wanted labels
(Hinton et al. 2015, arXiv 1503.02531: T^2 KL(softmax(t / T) || softmax(s / T))). Mixtures of two
images have no label but a teacher (Beyer et al., "Knowledge distillation: a good teacher is patient and
consistent", CVPR 2022, arXiv 2106.05237).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seam_onnx.errors import ModelError
from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.lowering import Lowered
from seam_onnx.search.engine import PLAIN, Engine
from seam_onnx.search.muon import Muon
from seam_onnx.search.views import Batch

__all__ = ["Clock", "Recipe", "Trainer", "affine_only", "cycle", "objective", "snapshot", "standard_error"]

BETAS = (0.9, 0.99)
"""Of AdamW; the second is short, since rounds are."""


def objective(scores: Tensor, batch: Batch, recipe: Recipe | SeamRecipe) -> Tensor:
    """Loss of logits (B, outputs), a scalar. Samples without a label (-1) count in distillation alone."""
    labels = nn.functional.cross_entropy(scores, batch.y, ignore_index=-1, reduction="sum") / len(batch.y)
    return (1 - recipe.distill) * labels + recipe.distill * distillation(scores, batch.teacher, recipe.temperature)


def distillation(scores: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far logits (B, n) are from the teacher's (B, n), a scalar."""
    soft = nn.functional.log_softmax(scores / temperature, 1)
    wanted = nn.functional.softmax(teacher / temperature, 1)
    return nn.functional.kl_div(soft, wanted, reduction="batchmean") * temperature * temperature


class Trainer:
    """Steps over batches; keeps running figures for whoever watches.

    Args:
        module: what is trained, in training mode already.
        recipe: how.
        clock: the schedule, which may span several trainers.
        trained: parameters to change, by default all.
        engine: how to compute.
        columns: where the module's second output has scores of single classes, which of the teacher's they are.
    """

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        clock: "Clock",
        trained: Iterable[nn.Parameter] | None = None,
        engine: Engine = PLAIN,
        columns: Tensor | None = None,
    ) -> None:
        self.module, self.recipe, self.clock, self.engine, self.columns = module, recipe, clock, engine, columns
        self.prepared = engine.prepared(module)
        self.parameters = [p for p in (module.parameters() if trained is None else trained) if p.requires_grad]
        self.optimizers = optimizers(self.parameters, recipe)
        self.loss, self.accuracy, self.left_out = math.nan, math.nan, 0

    def step(self, batch: Batch) -> None:
        """One update at the clock's rate, gradients clipped to norm 5; left out where they are not finite (a root of 0)."""
        scores, *classes = (value.flatten(1) for value in self.engine.run(self.prepared, batch.x))
        loss = objective(scores, batch, self.recipe)
        if classes and self.columns is not None:
            answer = batch.classes[:, self.columns]
            loss = loss + self.recipe.classes * distillation(classes[0], answer, self.recipe.temperature)
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, 5.0)
        if norm.isfinite():
            self.update()
        else:
            self.left_out += 1
        self.clock.tick()
        known = batch.y >= 0
        right = (scores.detach().argmax(1) == batch.y)[known].float().mean() if known.any() else torch.tensor(math.nan)
        self.record(float(loss.detach()), float(right))

    def update(self) -> None:
        """Change the parameters along their gradients."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.clock.rate()
            optimizer.step()

    def record(self, loss: float, accuracy: float) -> None:
        """Exponential averages over about twenty steps; a batch without labels has no accuracy."""
        self.loss = loss if math.isnan(self.loss) else self.loss + 0.05 * (loss - self.loss)
        if not math.isnan(accuracy):
            self.accuracy = accuracy if math.isnan(self.accuracy) else self.accuracy + 0.05 * (accuracy - self.accuracy)


def optimizers(parameters: Sequence[nn.Parameter], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """What trains parameters: kernels and matrices with the recipe's optimiser and decay; the rest by AdamW, without."""
    weights, rest = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    adam = [{"params": rest, "weight_decay": 0.0}]
    if recipe.optimizer == "muon" and weights:
        found: list[torch.optim.Optimizer] = [Muon(weights, recipe.rate, weight_decay=recipe.decay)]
    else:
        found, adam = [], [{"params": weights, "weight_decay": recipe.decay}, *adam]
    return [*found, torch.optim.AdamW(adam, lr=recipe.rate, betas=BETAS)]


def cycle(
    trainer: Trainer,
    batches: Iterator[Batch],
    period: int,
    told: Callable[[], None],
    read: Callable[[], float],
    samples: int,
) -> tuple[int, float]:
    """All steps of a trainer's clock; then its module is what it was at the latest reading that is as good as the best.

    As good: within a standard error (Breiman, Friedman, Olshen, Stone, "Classification and regression trees", 1984, section
    3.4.3). The highest of many readings is high by chance as well, and likely one from when the learning rate was high.

    Args:
        trainer: its clock has not begun.
        batches: as many as it takes.
        period: steps between readings; the last step is followed by one in any case.
        told: called after each step.
        read: accuracy of the module, which is in evaluation mode while it is called; -1 where it shall not be chosen.
        samples: behind a reading.

    Returns:
        which reading that is, counted from 0, and its accuracy.

    Raises:
        ModelError: most steps were left out by a reading.
    """
    module, clock, readings, best = trainer.module, trainer.clock, 0, -1.0
    while clock.done < clock.total:
        trainer.step(next(batches))
        told()
        if clock.done % period == 0 or clock.done >= clock.total:
            refuse_untrainable(trainer)
            module.eval()
            accuracy = read()
            best = max(best, accuracy)
            if accuracy >= best - standard_error(best, samples):
                chosen, state = (readings, accuracy), snapshot(module)
            readings += 1
            module.train()
    module.load_state_dict(state)
    return chosen


def standard_error(accuracy: float, samples: int) -> float:
    """Of an accuracy, as a share; 0 of -1, which is none."""
    return math.sqrt(max(0.0, accuracy * (1 - accuracy)) / samples)


def refuse_untrainable(trainer: Trainer) -> None:
    """Raise ModelError where most steps so far were left out."""
    if 2 * trainer.left_out > trainer.clock.done:
        why = f"{trainer.left_out} of {trainer.clock.done} steps had gradients that are not finite"
        raise ModelError("training", why, "give --granularity channel --recover fast, which needs no gradients")


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of everything the module has learnt."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def affine_only(module: Lowered) -> list[nn.Parameter]:
    """Scales and shifts: what `--recover bn` trains."""
    return [p for p in module.parameters() if p.ndim == 1]


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
