"""Networks of one search as torch modules, on their common data: ready to train, with a trainer, and their accuracy."""

from collections.abc import Iterable
from dataclasses import fields

import torch
from torch import Tensor, nn

from seam_onnx.lowering import Lowered, lower
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.search.auxiliary import Auxiliary, features_of
from seam_onnx.search.learnt import learnt
from seam_onnx.search.normalise import normalise
from seam_onnx.search.price import macs, price_of
from seam_onnx.search.train import Clock, Recipe, Trainer
from seam_onnx.search.views import Batch, Views, evaluate
from seam_onnx.surgery import class_scores, classes_left

__all__ = ["FIT", "PROBE", "Training"]

FIT = 512
"""Samples to which layers are fitted."""
PROBE = 128
"""Samples on which widths are measured, and on which normalisation starts."""


class Training:
    """What all networks of a search share.

    Args:
        base: the network that the search begins with.
        logits: name of the value with the scores before any softmax.
        views: training data, teacher, validation, and how to compute.
        recipe: epochs, rates, seeds.
    """

    def __init__(self, base: Model, logits: str, views: Views, recipe: Recipe) -> None:
        self.logits, self.views, self.recipe = logits, views, recipe
        self.epoch = views.steps(recipe.batch)
        self.total = max(recipe.least, round(recipe.epochs * self.epoch))
        self.round = round(self.total * recipe.cut / recipe.rounds)
        self.macs = price_of(base, macs)
        self.batches = views.endless(recipe.batch)

    def samples(self, count: int) -> Batch:
        """At least `count` samples."""
        some = [next(self.batches) for _ in range(-(-count // self.recipe.batch))]
        return Batch(*(torch.cat([getattr(b, f.name) for b in some]) for f in fields(Batch)))

    def lowered(self, model: Model) -> Lowered:
        """A network in torch, on the device, in evaluation mode."""
        return lower(model, self.logits).to(self.views.device)

    def trainable(self, model: Model) -> Lowered:
        """A network in torch, on the device, normalised and in training mode, with scores of single classes beside it.

        What is no weight is held, see `seam_onnx.search.learnt`.
        """
        module = self.with_classes(model) if self.recipe.classes else self.lowered(model)
        weights = learnt(model)
        for name, parameter in module.weights.items():
            parameter.requires_grad_(name in weights)
        normalise(module, self.samples(PROBE).x)
        self.views.engine.placed(module)
        return module.train()

    def with_classes(self, model: Model) -> Lowered:
        """A network with the scores of single classes as its second output, where there are more of these than outputs.

        Where there are not, rows behind a rest are those of an earlier cut: the teacher does not know these classes.
        """
        wanted = self.views.task.wanted
        if len(wanted.outputs) == wanted.classes:
            return self.lowered(model)
        if (rows := class_scores(model)) is not None:
            return lower(model, self.logits, rows).to(self.views.device)
        if (features := features_of(model, self.logits)) is None:
            return self.lowered(model)
        seen = self.samples(FIT)
        return Auxiliary(model, self.logits, features, seen.x, seen.classes)

    def left(self, model: Model) -> float:
        """Share of the multiply-adds that a network has left, at most 0.9: what learning rates and rehearsals go by."""
        return min(0.9, price_of(model, macs) / self.macs)

    def trainer(
        self, model: Model, masks: MaskSet, module: Lowered, steps: int, trained: Iterable[nn.Parameter] | None = None
    ) -> Trainer:
        """For one cycle of the learning rate, whose peak is the higher the less is left of the original.

        Args:
            model: what is trained.
            masks: that left it.
            module: of the model, trainable.
            steps: of the cycle.
            trained: parameters to change, by default all.
        """
        clock = Clock(self.recipe.rate * (1 - self.left(model)) ** 2, max(1, steps))
        return Trainer(module, self.recipe, clock, trained, self.views.engine, self.columns(masks))

    def columns(self, masks: MaskSet) -> Tensor:
        """Which of the teacher's classes a network still scores, that these masks left: int64 (classes left,)."""
        return torch.from_numpy(classes_left(masks, len(self.views.order))).to(self.views.device)

    def lessons(self, model: Model, masks: MaskSet, seen: Batch) -> dict[str, Tensor]:
        """What the teacher gives for the values of a network that these masks left: (B, outputs or classes) by name."""
        if (scores := class_scores(model)) is not None:
            return {scores: seen.classes[:, self.columns(masks)]}
        return {self.logits: seen.teacher}

    def accuracy(self, model: Model) -> float:
        """On validation."""
        return evaluate(self.lowered(model), self.views)
