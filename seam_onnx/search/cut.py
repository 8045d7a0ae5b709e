"""One cut: choices of what may go are removed for real, refitted, compared, and the best of them trained for a while.

What a cut costs is measured group by group and known roughly, and what training makes of it is not known at all: networks
that differ by four points in the end look alike right after the cut. So several choices are tried, and the last comparison
is made between networks that have been trained a little, on the way to what they would become (successive halving:
Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", arXiv 1502.07943).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seam_onnx.channels import Alive, Channels, analyze
from seam_onnx.lowering import Lowered, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.search.criteria import Subject
from seam_onnx.search.ladders import ladders_by
from seam_onnx.search.normalise import fold
from seam_onnx.search.price import Price, price_of
from seam_onnx.search.refit import Kept
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.select import Ladder, select, shaken
from seam_onnx.search.training import FIT, PROBE, Training
from seam_onnx.search.trial import Trial, distance
from seam_onnx.surgery import Removal

__all__ = ["Cut", "Cutter"]

SPREAD = 2.0
"""How far the balance between groups is shaken, see `shaken`."""

Told = Callable[[float, float], None]
"""Called after each step of a rehearsal with its loss and the share that the network keeps."""


@dataclass(frozen=True)
class Cut:
    """What one cut comes to."""

    channels: Channels
    """Of the network before."""
    alive: Alive
    """What stays of it."""
    removal: Removal
    """What was removed."""
    model: Model
    """The network after, refitted and rehearsed as far as weights may change."""


class Cutter:
    """Makes the cuts of one search.

    Args:
        original: the network that the search began with.
        training: common data.
        rounds: what has gone so far.
        price: what is to shrink.
        whole: the original's.
        step: widths stay multiples of this.
        recover: as of `search.channel`: 'finetune' rehearses and refits, 'fast' refits, the others do neither.
    """

    def __init__(
        self, original: Lowered, training: Training, rounds: Rounds, price: Price, whole: float, step: int, recover: str
    ) -> None:  # fmt: skip
        self.original, self.training, self.rounds = original, training, rounds
        self.price, self.whole, self.width_step, self.recover = price, whole, step, recover
        self.rng = np.random.default_rng(training.recipe.seed)

    def cut(self, model: Model, goal: float, told: Told) -> Cut | None:
        """The best way down to a cost of `goal`, or None where nothing may go. Changes nothing here."""
        channels, recipe = analyze(model), self.training.recipe
        module = self.training.lowered(model)
        x, share = self.training.samples(PROBE).x, goal / self.price(channels, channels.everything())
        subject = Subject(model, channels, module, x, lambda n: self.training.samples(n).x, share, recipe.seed)
        ladders = ladders_by(recipe.criterion, subject, self.width_step)
        tries = [self.rounds.propose(model, channels, alive) for alive in self.choices(channels, ladders, goal)]
        if not tries:
            return None
        trial = self.trial(model, module)
        tries.sort(key=lambda one: trial.loss(one[1].pruned, self.kept(one[1])))
        finalists = [self.fitted(trial, removal) for _, removal in tries[: recipe.finalists]]
        left = [self.rounds.after(channels, alive) for alive, _ in tries[: recipe.finalists]]
        best, after = self.rehearsed(finalists, left, told) if self.recover == "finetune" else (0, finalists[0])
        return Cut(channels, *tries[best], after)

    def choices(self, channels: Channels, ladders: Sequence[Ladder], goal: float) -> list[Alive]:
        """What may stay: by the ladders as measured, and by ladders shaken, since what a cut costs is known roughly.

        None where the goal is out of reach: a network without anything that can go is no answer to it.
        """
        found: dict[bytes, Alive] = {}
        for index in range(self.training.recipe.proposals):
            alive = select(channels, shaken(ladders, SPREAD if index else 0.0, self.rng), self.price, goal)
            if not alive.all() and self.price(channels, alive) <= goal:
                found.setdefault(alive.tobytes(), alive)
        return list(found.values())

    def trial(self, model: Model, module: Lowered) -> Trial:
        """Layers are refitted to the network before the cut where that has been trained, else to the original."""
        seen, fits = self.training.samples(FIT), self.recover in ("finetune", "fast")
        if self.recover == "finetune":
            lessons = self.training.lessons(model, self.rounds.masks(), seen)
        else:
            module, lessons = self.original, self.training.lessons(self.rounds.base, MaskSet({}, ""), seen)
        return Trial(module, self.training.logits, seen, lessons, fits=fits)

    def kept(self, removal: Removal) -> Kept:
        """What a removal leaves of the network that layers are refitted to."""
        return removal.plan.gathers if self.recover == "finetune" else self.rounds.kept_after(removal)

    def fitted(self, trial: Trial, removal: Removal) -> Model:
        """What a removal leaves, refitted."""
        return (
            write_back(removal.pruned, trial.fitted(removal.pruned, self.kept(removal)))
            if trial.fits
            else removal.pruned
        )

    def rehearsed(self, models: Sequence[Model], alive: Sequence[Alive], told: Told) -> tuple[int, Model]:
        """Which of the networks, that leave so much of the base (labels,), comes nearest to the teacher after some training.

        The training is the longer the more has gone, as the learning rate is the higher. Gives its place and what it is.
        """
        if len(models) == 1:
            return 0, models[0]
        seen = self.training.samples(FIT)
        tried = []
        for model, left in zip(models, alive, strict=True):
            module, kept = self.training.trainable(model), self.share(model)
            steps = round(self.training.round * (1 - self.training.left(model)) ** 2)
            trainer = self.training.trainer(model, self.rounds.masks(left), module, steps)
            for _ in range(steps):
                trainer.step(next(self.training.batches))
                told(trainer.loss, kept)
            fold(module)
            trained = write_back(model, module)
            tried.append((distance(self.training.lowered(trained), seen.x, seen.teacher), trained))
        best = min(range(len(tried)), key=lambda k: tried[k][0])
        return best, tried[best][1]

    def share(self, model: Model) -> float:
        """Cost of a network, of the original's."""
        return price_of(model, self.price) / self.whole
