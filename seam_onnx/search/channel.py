"""The search at channel granularity: cut, refit, train a little, until the aim is reached; then recover.

    while the aim names a smaller size:  cut (see `cut`) -> train  (a point each)
    then:                                recover the point that the aim chooses

Removal is real at every round, not a mask: that a masked model and its pruned form agree is checked by the caller's
`check` each time, and the small network is also faster to train. The learning rate falls to nothing within each round, so
that every point is worth keeping: another target later chooses among them, or goes on from one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seam_onnx.lowering import write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.aims import Aim, way
from seam_onnx.search.cut import Cutter
from seam_onnx.search.normalise import fold
from seam_onnx.search.price import price_of
from seam_onnx.search.regrow import regrow
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.train import Recipe, Trainer, affine_only, cycle
from seam_onnx.search.training import Training
from seam_onnx.search.views import Views, evaluate

__all__ = ["ChannelSearch", "Check", "Found", "Visited"]

Check = Callable[[Model, Model], None]
"""Called with each masked model and its pruned form; raises where they differ."""
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
    """State of one search; `run` is the whole story.

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
        whole: cost of the original, where that is not the base's.
    """

    def __init__(
        self, base: Model, logits: str, views: Views, aim: Aim, recipe: Recipe, recover: str, step: int,
        check: Check, observer: Observer = silent, whole: float | None = None,
    ) -> None:  # fmt: skip
        self.aim, self.recipe, self.recover, self.check, self.observer = aim, recipe, recover, check, observer
        self.training = Training(base, logits, views, recipe)
        self.rounds = Rounds(base, step)
        self.model = self.rounds.base
        self.original = self.training.lowered(self.model)
        whole = price_of(base, aim.price) if whole is None else whole
        self.cutter = Cutter(self.original, self.training, self.rounds, aim.price, whole, step, recover)
        self.total, self.done = self.training.total, 0
        self.curve: list[Point] = []

    def run(self) -> Found:
        """Shrink in rounds, then recover."""
        return self.chosen(self.shrunk([]) or [self.here(self.rounds.masks())])

    def resume(self, visited: Sequence[Visited]) -> Found:
        """Recover one of the networks that an earlier search visited, or one that is found on the way from there.

        Rounds only go on where they are trained, and where none of these is as large as the aim allows.
        """
        points = []
        for point in visited:
            self.model = point.model
            points.append(self.aim.measured(replace(point, kept=self.kept(), accuracy=self.accuracy())))
        points.sort(key=lambda p: -p.kept)
        if self.recover == "finetune" and self.training.round:
            begun = way(self.aim, points)
            self.begin(begun)
            points = sorted([*self.shrunk(begun), *points[len(begun) :]], key=lambda p: -p.kept)
        return self.chosen(points)

    def begin(self, visited: Sequence[Visited]) -> None:
        """Make the last of these networks the present one, or else the original."""
        if visited:
            self.rounds.begin(visited[-1].masks)
        else:
            self.rounds.restart(self.rounds.channels.everything())
        self.model = visited[-1].model if visited else self.rounds.base

    def shrunk(self, begun: Sequence[Visited]) -> list[Visited]:
        """These networks, the last of which is the present one, and those by which the search goes on, largest first.

        Before it ends or goes back all are measured again: a disturbed timing would rule a network out, or be believed.
        """
        visited = list(begun)
        while True:
            goal = self.aim.next(visited)
            if goal is None or (visited and goal > visited[-1].kept):
                visited = [self.aim.measured(point) for point in visited]
                goal = self.aim.next(visited)
            if goal is None:
                return visited
            larger = [point for point in visited if point.kept > goal]
            smaller = visited[len(larger) :]
            if self.model is not (larger[-1].model if larger else self.rounds.base):
                self.begin(larger)
            if not self.shrink(goal) or (smaller and self.kept() <= smaller[0].kept):
                return visited
            visited = [*larger, self.aim.measured(self.here(self.rounds.masks())), *smaller]

    def shrink(self, goal: float) -> bool:
        """Shrink the present network to a share `goal` of the original; whether that was possible."""
        before = self.kept()
        self.cut(goal)
        self.regrow(goal)
        if self.kept() == before:
            return False
        if self.recover == "finetune":
            self.train("search", self.training.round, self.rounds.masks())
        else:
            self.note("search", None, self.accuracy())
        return True

    def chosen(self, visited: Sequence[Visited]) -> Found:
        """Recover what the aim likes best, or the next best where that does not do."""
        recovered: list[Visited] = []
        for candidate in self.aim.candidates(visited):
            point = self.recovered(candidate)
            recovered.append(point if self.aim.holds(point) else self.aim.measured(point))
            if self.aim.holds(recovered[-1]):
                return Found(recovered[-1], True, tuple(visited), tuple(self.curve))
        best = max(recovered, key=lambda point: point.accuracy)
        return Found(best, False, tuple(visited), tuple(self.curve))

    def recovered(self, point: Visited) -> Visited:
        """The point after the rest of the training, as far as asked."""
        self.model = point.model
        if self.recover in ("finetune", "bn"):
            self.train("recover", self.total - round(self.total * self.recipe.cut), point.masks, choose=True)
        elif not self.curve:
            self.note("recover", None, point.accuracy)
        return self.aim.measured(self.here(point.masks))

    def cut(self, goal: float) -> None:
        """Shrink the present network to a share `goal` of the original, less what may grow again, where that can be."""
        size = goal * self.cutter.whole * (1 - self.recipe.regrow)
        cut = self.cutter.cut(self.model, size, self.rehearsing)
        if cut is not None:
            self.check(cut.removal.masked, cut.removal.pruned)
            self.rounds.accept(cut.channels, cut.alive, cut.removal)
            self.model = cut.model

    def regrow(self, goal: float) -> None:
        """Take channels back up to a share `goal` of the original, where the recipe says so and weights are trained."""
        if not self.recipe.regrow or self.recover != "finetune":
            return
        size = goal * self.cutter.whole
        back = regrow(self.rounds, self.model, self.training, self.aim.price, size, self.cutter.width_step)
        if back is not None:
            self.check(back.removal.masked, back.removal.pruned)
            self.model = back.model

    def rehearsing(self, loss: float, kept: float) -> None:
        """Tell of a step of a network that may not be taken."""
        self.observer(Event("search", self.done, self.total, {"loss": loss, "kept": kept}))

    def train(self, stage: str, steps: int, masks: MaskSet, *, choose: bool = False) -> None:
        """One cycle of the learning rate for what the masks leave; with `choose` one of the readings on validation stays."""
        module, kept = self.training.trainable(self.model), self.kept()
        trainer = self.training.trainer(
            self.model, masks, module, steps, affine_only(module) if self.recover == "bn" else None
        )
        total = trainer.clock.total

        def told() -> None:
            self.done += 1
            figures = {"loss": trainer.loss, "accuracy": trainer.accuracy, "kept": kept}
            self.observer(Event(stage, self.done, max(self.total, self.done), figures))

        def read() -> float:
            accuracy = evaluate(module, self.training.views)
            self.note(stage, trainer, accuracy)
            return accuracy

        period = max(self.training.epoch, total // READINGS) if choose else total
        cycle(trainer, self.training.batches, period, told, read, len(self.training.views.task.val))
        fold(module)
        self.model = write_back(self.model, module)

    def here(self, masks: MaskSet) -> Visited:
        """The present network, which these masks leave."""
        return Visited(self.model, masks, self.kept(), self.accuracy())

    def accuracy(self) -> float:
        """Of the present network on validation."""
        return self.training.accuracy(self.model)

    def note(self, stage: str, trainer: Trainer | None, accuracy: float) -> None:
        """Add a point to the curve."""
        loss, train = (trainer.loss, trainer.accuracy) if trainer is not None else (float("nan"), float("nan"))
        self.curve.append(Point(self.done / self.training.epoch, stage, loss, train, accuracy, self.kept()))

    def kept(self) -> float:
        """Cost of the present network, of the original's."""
        return self.cutter.share(self.model)
