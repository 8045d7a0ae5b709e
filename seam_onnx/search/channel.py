"""The search at channel granularity: score, remove a little, train on, until the target is met; then recover.

    for each round:   train and score -> select -> mask -> remove         (the network shrinks, so rounds get cheaper)
    then:             recover on what is left, keep the epoch that is best on validation

Removal is real at every round, not a mask: that a masked model and its pruned form agree is checked by the caller's
`check` each time, and the small network is also faster to train.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from seam_onnx.channels import Channels, analyze
from seam_onnx.lowering import Lowered, lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.hints import Hints
from seam_onnx.search.ladders import measure_ladders
from seam_onnx.search.normalise import fold, normalise
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.select import Target, select
from seam_onnx.search.train import Clock, Recipe, Trainer
from seam_onnx.search.views import Batch, Views, evaluate

__all__ = ["Check", "Found", "search_channels"]

Check = Callable[[Model, Model], None]
"""Called with each masked model and its pruned form; raises where they differ."""
PROBE = 128
"""Samples on which channels are scored."""
READINGS = 30
"""Times that validation is read while recovering, at most: an epoch of a small data set is a few steps."""
CALIBRATION = 256
"""Samples on which a round's normalisation starts."""


@dataclass(frozen=True)
class Found:
    """What a search gives."""

    model: Model
    """The small network, trained."""
    masks: MaskSet
    """All that was removed, as masks on the base without what was dead in it, see `Rounds`."""
    curve: tuple[Point, ...]
    """How it got there."""


class ChannelSearch:
    """State of one search; `run` is the whole story."""

    def __init__(
        self, base: Model, logits: str, views: Views, target: Target, recipe: Recipe, recover: str, step: int,
        check: Check, observer: Observer = silent,
    ) -> None:  # fmt: skip
        self.logits, self.views, self.target, self.recipe = logits, views, target, recipe
        self.recover, self.width_step, self.check, self.observer = recover, step, check, observer
        self.trains = recover == "finetune"
        self.steps = views.steps(recipe.batch)
        self.clock = Clock(recipe.rate, max(recipe.least, round(recipe.epochs * self.steps)))
        self.period = max(self.steps, self.clock.total // READINGS)
        channels = analyze(base)
        self.whole = target.of(channels.cost(channels.everything()))
        self.batches = self.endless()
        self.rounds = Rounds(base, step)
        self.model = self.rounds.base
        self.hints = Hints(self.model)
        self.curve: list[Point] = []

    def run(self) -> Found:
        """Shrink in rounds, then recover."""
        for index in range(self.recipe.rounds):
            self.shrink(self.whole * self.target.ratio ** ((index + 1) / self.recipe.rounds))
        if self.recover != "none":
            self.train_rest()
        return Found(self.model, self.rounds.masks(), tuple(self.curve))

    def endless(self) -> Iterator[Batch]:
        """Batches of one view after the other."""
        while True:
            yield from self.views.batches(self.recipe.batch)

    def shrink(self, goal: float) -> None:
        """One round: train and score for its share of the epochs, then cut down to `goal`."""
        module, channels, kept = self.trainable(), analyze(self.model), self.kept()
        trainer = Trainer(module, self.recipe, self.clock, self.hints.teacher(self.views.device))
        for _ in range(max(1, round(self.clock.total * self.recipe.cut / self.recipe.rounds)) if self.trains else 0):
            trainer.step(next(self.batches))
            self.tell("search", trainer, kept)
        self.keep(module)
        self.cut(channels, goal)
        self.note("search", trainer, evaluate(lower(self.model, self.logits).to(self.views.device), self.views))

    def cut(self, channels: Channels, goal: float) -> None:
        """Remove what matters least, for real."""
        module = lower(self.model, self.logits).to(self.views.device)
        x = torch.cat([next(self.batches).x for _ in range(-(-PROBE // self.recipe.batch))])[:PROBE]
        ladders = measure_ladders(self.model, channels, module, x, self.width_step, self.recipe.seed)
        alive = select(channels, ladders, self.target, goal)
        if alive.all():
            return
        removal = self.rounds.remove(self.model, channels, alive)
        self.check(removal.masked, removal.pruned)
        self.hints.follow(removal.plan, removal.pruned)
        self.model = removal.pruned

    def train_rest(self) -> None:
        """Use the rest of the schedule on the small network; the best epoch on validation stays."""
        module = self.trainable()
        trained = None if self.recover == "finetune" else affine_only(module)
        teacher, kept = self.hints.teacher(self.views.device), self.kept()
        trainer = Trainer(module, self.recipe, self.clock, teacher, trained)
        best, state = -1.0, snapshot(module)
        while self.clock.done < self.clock.total:
            trainer.step(next(self.batches))
            self.tell("recover", trainer, kept)
            if self.clock.done % self.period == 0 or self.clock.done >= self.clock.total:
                module.eval()
                accuracy = evaluate(module, self.views)
                self.note("recover", trainer, accuracy)
                if accuracy >= best:
                    best, state = accuracy, snapshot(module)
                module.train()
        module.load_state_dict(state)
        self.keep(module)

    def trainable(self) -> Lowered:
        """The present network in torch, on the device, normalised and in training mode (evaluation without recovery)."""
        module = lower(self.model, self.logits, *self.hints.watched()).to(self.views.device)
        if self.recover == "none":
            return module
        normalise(module, next(self.views.batches(CALIBRATION)).x)
        return module.train()

    def keep(self, module: Lowered) -> None:
        """Take over what a module has learnt."""
        if self.recover != "none":
            fold(module)
            self.model = write_back(self.model, module)

    def tell(self, stage: str, trainer: Trainer, kept: float) -> None:
        """Report one step."""
        figures = {"loss": trainer.loss, "accuracy": trainer.accuracy, "kept": kept}
        self.observer(Event(stage, self.clock.done, self.clock.total, figures))

    def note(self, stage: str, trainer: Trainer, accuracy: float) -> None:
        """Add a point to the curve."""
        epoch = self.clock.done / self.steps
        self.curve.append(Point(epoch, stage, trainer.loss, trainer.accuracy, accuracy, self.kept()))

    def kept(self) -> float:
        """The target's figure, of the original's."""
        channels = analyze(self.model)
        return self.target.of(channels.cost(channels.everything())) / self.whole


def snapshot(module: Lowered) -> dict[str, torch.Tensor]:
    """A copy of everything the module has learnt."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def affine_only(module: Lowered) -> list[torch.nn.Parameter]:
    """Scales and shifts: what `--recover bn` trains."""
    return [p for p in module.parameters() if p.ndim == 1]


def search_channels(
    base: Model, logits: str, views: Views, target: Target, recipe: Recipe, *, recover: str = "finetune", step: int = 8,
    check: Check, observer: Observer = silent,
) -> Found:  # fmt: skip
    """Find and train the smaller network.

    Args:
        base: the original restricted to the wanted outputs.
        logits: name of the value with its scores before any softmax.
        views: training data, teacher, validation.
        target: what to reach.
        recipe: epochs, rates, seeds.
        recover: 'finetune' trains all weights while and after removing; 'bn' re-estimates normalisation and trains
            scales and shifts after it; 'none' changes no weight that stays.
        step: widths stay multiples of this.
        check: called with each masked model and its pruned form.
        observer: told of every step.
    """
    return ChannelSearch(base, logits, views, target, recipe, recover, step, check, observer).run()
