"""The numbers of a search. They stand apart from it so that a recipe can be read and written without torch."""

from dataclasses import dataclass

from seam_onnx.values import Count, Natural, NotNegative, Positive, Share

__all__ = ["Recipe", "SeamRecipe"]


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    epochs: Positive = 30
    """Passes over the training data, search and recovery together."""
    least: Natural = 600
    """Steps at least, however few samples there are."""
    batch: Natural = 64
    """Samples a step."""
    rate: Positive = 0.01
    """Peak learning rate of SGD with Nesterov momentum 0.9."""
    decay: NotNegative = 5e-4
    """Weight decay."""
    distill: Share = 0.7
    """Weight of distillation against the labels, 0 to 1."""
    temperature: Positive = 3.0
    """Of distillation."""
    hints: NotNegative = 1.0
    """Weight of the difference between kept channels and the same channels of the original."""
    cut: Share = 0.4
    """Share of the epochs over which channels are removed; the rest is recovery."""
    rounds: Natural = 6
    """Removals, each of the same share of what is left."""
    views: Natural = 6
    """Augmented copies of the training data that are used in turn."""
    seed: Count = 0
    """Of everything random."""


@dataclass(frozen=True)
class SeamRecipe:
    """SeaM's hyper-parameters; the defaults are its own for a one-against-rest problem of CIFAR-10 ResNet-20."""

    epochs: Natural = 300
    """Passes over the training data."""
    batch: Natural = 64
    """Samples a step."""
    mask_rate: Positive = 0.05
    """SeaM: Adam's rate for masks."""
    head_rate: Positive = 0.1
    """SeaM: Adam's rate for the new head."""
    alpha: NotNegative = 1.0
    """SeaM: weight of the kept ratio in the loss."""
    seed: Count = 0
    """Of everything random."""
