"""The search at channel granularity: cut, refit, train a little, until the aim is reached; then recover.

    head refitted to the teacher
    while the aim names a smaller size:  measure ladders -> try choices -> remove -> refit -> train  (a point each)
    then:                                recover the point that the aim chooses

Removal is real at every round, not a mask: that a masked model and its pruned form agree is checked by the caller's
`check` each time, and the small network is also faster to train. The learning rate falls to nothing within each round, so
that every point is worth keeping: another target later chooses among them, without a search.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from seam_onnx.channels import Alive, Channels, analyze
from seam_onnx.lowering import Lowered, lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.aims import Aim
from seam_onnx.search.ladders import ladders_by
from seam_onnx.search.normalise import fold, normalise
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.select import Ladder, select, shaken
from seam_onnx.search.train import Clock, Recipe, Trainer, affine_only, snapshot
from seam_onnx.search.trial import Trial
from seam_onnx.search.views import Batch, Views, evaluate

__all__ = ["ChannelSearch", "Check", "Found", "Visited", "search_channels"]

Check = Callable[[Model, Model], None]
"""Called with each masked model and its pruned form; raises where they differ."""
PROBE = 128
"""Samples on which widths are measured, and on which a round's normalisation starts."""
FIT = 512
"""Samples to which layers are refitted."""
SPREAD = 0.7
"""How far the balance between groups is shaken, see `shaken`."""
READINGS = 30
"""Times that validation is read while recovering, at most: an epoch of a small data set is a few steps."""


@dataclass(frozen=True)
class Visited:
    """A network on the way."""

    model: Model
    """Trained as far as its round went, or recovered."""
    masks: MaskSet
    """All that was removed, as masks on the base without what was dead in it, see `Rounds`."""
    kept: float
    """Its cost, of the original's."""
    accuracy: float
    """On validation."""
    latency: float | None = None
    """Of the original's, where it was measured."""


@dataclass(frozen=True)
class Found:
    """What a search gives."""

    chosen: Visited
    """The small network, recovered."""
    met: bool
    """Is it what was asked for?"""
    visited: tuple[Visited, ...]
    """The networks on the way, largest first, as their rounds left them."""
    curve: tuple[Point, ...]
    """How it got there."""


class ChannelSearch:
    """State of one search; `run` is the whole story."""

    def __init__(
        self, base: Model, logits: str, views: Views, aim: Aim, recipe: Recipe, recover: str, step: int,
        check: Check, observer: Observer = silent,
    ) -> None:  # fmt: skip
        self.logits, self.views, self.aim, self.recipe = logits, views, aim, recipe
        self.recover, self.width_step, self.check, self.observer = recover, step, check, observer
        self.steps = views.steps(recipe.batch)
        self.total = max(recipe.least, round(recipe.epochs * self.steps))
        self.done = 0
        channels = analyze(base)
        self.whole = aim.price(channels, channels.everything())
        self.macs = channels.cost(channels.everything()).macs
        self.batches = self.endless()
        self.rounds = Rounds(base, step)
        self.model = self.rounds.base
        self.original = lower(self.model, logits).to(views.device)
        self.curve: list[Point] = []

    def run(self) -> Found:
        """Shrink in rounds, then recover."""
        visited: list[Visited] = []
        self.refit()
        while (goal := self.aim.next(visited)) is not None:
            before = self.kept()
            self.cut(goal * self.whole)
            if self.kept() == before:
                break
            if self.recover == "finetune":
                self.train("search", round(self.total * self.recipe.cut / self.recipe.rounds))
            else:
                self.note("search", None, self.accuracy())
            visited.append(self.aim.measured(self.here(self.rounds.masks())))
        return self.chosen(visited or [self.here(self.rounds.masks())])

    def resume(self, visited: Sequence[Visited]) -> Found:
        """Recover one of the networks that an earlier search visited."""
        points = []
        for point in visited:
            self.model = point.model
            points.append(self.aim.measured(replace(point, kept=self.kept())))
        return self.chosen(sorted(points, key=lambda p: -p.kept))

    def chosen(self, visited: Sequence[Visited]) -> Found:
        """Recover what the aim likes best, or the next best where that does not do."""
        recovered: list[Visited] = []
        for candidate in self.aim.candidates(visited):
            recovered.append(self.recovered(candidate))
            if self.aim.holds(recovered[-1]):
                return Found(recovered[-1], True, tuple(visited), tuple(self.curve))
        best = max(recovered, key=lambda point: point.accuracy)
        return Found(best, False, tuple(visited), tuple(self.curve))

    def recovered(self, point: Visited) -> Visited:
        """The point after the rest of the training, as far as asked."""
        self.model = point.model
        if self.recover in ("finetune", "bn"):
            self.train("recover", self.total - round(self.total * self.recipe.cut), choose=True)
        elif not self.curve:
            self.note("recover", None, point.accuracy)
        return self.aim.measured(self.here(point.masks))

    def endless(self) -> Iterator[Batch]:
        """Batches of one view after the other."""
        while True:
            yield from self.views.batches(self.recipe.batch)

    def samples(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """At least `count` samples (N, ...) and the teacher's logits (N, outputs)."""
        batches = [next(self.batches) for _ in range(-(-count // self.recipe.batch))]
        return torch.cat([b.x for b in batches]), torch.cat([b.teacher for b in batches])

    def cut(self, goal: float) -> None:
        """Remove what matters least, for real, down to a cost of `goal`; refit what stays."""
        channels = analyze(self.model)
        module = lower(self.model, self.logits).to(self.views.device)
        x, seed = self.samples(PROBE)[0], self.recipe.seed
        ladders = ladders_by(self.recipe.criterion, self.model, channels, module, x, self.width_step, seed)
        choices = self.choices(channels, ladders, goal)
        if not choices:
            return
        tries = [self.rounds.propose(self.model, channels, alive) for alive in choices]
        trial = Trial(self.original, self.logits, *self.samples(FIT), fits=self.recover in ("fast", "finetune"))
        alive, removal = min(tries, key=lambda one: trial.loss(one[1].pruned, self.rounds.kept_after(one[1])))
        self.check(removal.masked, removal.pruned)
        self.rounds.accept(channels, alive, removal)
        self.model = removal.pruned
        self.refit()

    def choices(self, channels: Channels, ladders: Sequence[Ladder], goal: float) -> list[Alive]:
        """What may stay: by the ladders as measured, and by ladders shaken, since what a cut costs is known roughly."""
        rng = np.random.default_rng(self.recipe.seed + len(self.curve))
        found: dict[bytes, Alive] = {}
        for index in range(self.recipe.proposals):
            alive = select(channels, shaken(ladders, SPREAD if index else 0.0, rng), self.aim.price, goal)
            if not alive.all():
                found.setdefault(alive.tobytes(), alive)
        return list(found.values())

    def refit(self) -> None:
        """Fit what is left to the original, and its head to the teacher, where weights may change."""
        if self.recover in ("fast", "finetune"):
            trial = Trial(self.original, self.logits, *self.samples(FIT))
            self.model = write_back(self.model, trial.fitted(self.model, self.rounds.kept))

    def train(self, stage: str, steps: int, *, choose: bool = False) -> None:
        """One cycle of the learning rate; with `choose` the best reading on validation stays."""
        module, kept = self.trainable(), self.kept()
        clock = Clock(self.recipe.rate * (1 - min(self.left(), 0.9)) ** 2, max(1, steps))
        trained = affine_only(module) if self.recover == "bn" else None
        trainer = Trainer(module, self.recipe, clock, trained, self.views.engine)
        period, best, state = max(self.steps, clock.total // READINGS), -1.0, None
        while clock.done < clock.total:
            trainer.step(next(self.batches))
            self.done += 1
            figures = {"loss": trainer.loss, "accuracy": trainer.accuracy, "kept": kept}
            self.observer(Event(stage, self.done, max(self.total, self.done), figures))
            if clock.done >= clock.total or (choose and clock.done % period == 0):
                accuracy = evaluate(module.eval(), self.views)
                self.note(stage, trainer, accuracy)
                if choose and accuracy >= best:
                    best, state = accuracy, snapshot(module)
                module.train()
        if state is not None:
            module.load_state_dict(state)
        fold(module)
        self.model = write_back(self.model, module)

    def trainable(self) -> Lowered:
        """The present network in torch, on the device, normalised and in training mode."""
        module = lower(self.model, self.logits).to(self.views.device)
        normalise(module, self.samples(PROBE)[0])
        self.views.engine.placed(module)
        return module.train()

    def here(self, masks: MaskSet) -> Visited:
        """The present network, which these masks leave."""
        return Visited(self.model, masks, self.kept(), self.accuracy())

    def accuracy(self) -> float:
        """Of the present network on validation."""
        return evaluate(lower(self.model, self.logits).to(self.views.device), self.views)

    def note(self, stage: str, trainer: Trainer | None, accuracy: float) -> None:
        """Add a point to the curve."""
        loss, train = (trainer.loss, trainer.accuracy) if trainer is not None else (float("nan"), float("nan"))
        self.curve.append(Point(self.done / self.steps, stage, loss, train, accuracy, self.kept()))

    def kept(self) -> float:
        """Cost of the present network, of the original's."""
        channels = analyze(self.model)
        return self.aim.price(channels, channels.everything()) / self.whole

    def left(self) -> float:
        """How much of the network is left, for the learning rate; of the milliseconds a part is there whatever goes."""
        channels = analyze(self.model)
        return channels.cost(channels.everything()).macs / self.macs if self.aim.metric == "latency" else self.kept()


def search_channels(
    base: Model, logits: str, views: Views, aim: Aim, recipe: Recipe, *, recover: str = "finetune", step: int = 8,
    check: Check, observer: Observer = silent,
) -> Found:  # fmt: skip
    """Find and train the smaller network.

    Args:
        base: the original restricted to the wanted outputs.
        logits: name of the value with its scores before any softmax.
        views: training data, teacher, validation, and how to compute.
        aim: what to reach.
        recipe: epochs, rates, seeds.
        recover: 'finetune' refits, and trains all weights while and after removing; 'fast' refits only; 'bn' re-estimates
            normalisation and trains scales and shifts after it; 'none' changes no weight that stays.
        step: widths stay multiples of this.
        check: called with each masked model and its pruned form.
        observer: told of every step.
    """
    return ChannelSearch(base, logits, views, aim, recipe, recover, step, check, observer).run()
