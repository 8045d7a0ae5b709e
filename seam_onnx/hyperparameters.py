"""The numbers of a search. They stand apart from it so that a recipe can be read and written without torch."""

from dataclasses import dataclass, field
from typing import Literal

from seam_onnx.values import Count, Natural, NotNegative, Positive, Share

__all__ = ["Criterion", "Optimizer", "Price", "Recipe", "Schedule", "SeamRecipe"]

Criterion = Literal["effect", "taylor", "gates", "magnitude", "random"]
"""By what channels are ranked."""
Optimizer = Literal["muon", "adamw"]
"""What trains kernels and matrices."""
Price = Literal["latency", "macs"]
"""What a search towards a latency pays with."""
Schedule = Literal["fast", "gradual", "published"]
"""How masks on single weights move."""
OURS = {"when": ("schedule", "fast", "gradual")}
"""Metadata of a field that SeaM as published has no use for."""
FROZEN = {"when": ("schedule", "fast", "published")}
"""Metadata of a field for schedules that move masks, and no weights."""


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    epochs: Positive = 80
    """Passes over the training data, search and recovery together."""
    least: Natural = 600
    """Steps at least, however few samples there are."""
    batch: Natural = 64
    """Samples a step."""
    rate: Positive = 0.003
    """Peak learning rate for a network of which next to nothing is left; (1 - kept)^2 of it otherwise."""
    optimizer: Optimizer = "muon"
    """What trains kernels and matrices: muon, whose steps are orthogonal, or adamw, which trains the rest in any case."""
    decay: NotNegative = 0.05
    """Decoupled weight decay, of weights with more than one axis."""
    distill: Share = 0.7
    """Weight of distillation against the labels, 0 to 1."""
    temperature: Positive = 3.0
    """Of distillation."""
    classes: NotNegative = 0.5
    """Weight of distillation of all the original's classes, wanted or not, beside that of the outputs; 0 leaves it out."""
    mix: Share = 0.5
    """Share of training images that are mixtures of two; the teacher alone says what they show."""
    cut: Share = 0.2
    """Share of the epochs that goes into the rounds of removal, each time on what is left; the rest is recovery."""
    rounds: Natural = 5
    """Removals on the way to a share of MACs or parameters, each of the same factor."""
    proposals: Natural = 12
    """Choices of channels that are tried in each round: cut, refitted, and compared by the loss against the teacher."""
    finalists: Natural = 3
    """Of these, the best are trained for a while before one is taken."""
    regrow: Share = field(default=0.0, metadata={"when": ("recover", "finetune")})
    """Recover finetune: share of each round's size that goes, after the cut, to channels that the loss wants back."""
    criterion: Criterion = "effect"
    """What decides which channels go: their measured effect on the logits; the others are there to compare with."""
    price: Price = "latency"
    """What a cut has to save on the way to a latency: milliseconds of layers, measured; macs is for comparison."""
    views: Natural = 40
    """Augmented copies of the training data that are used in turn."""
    seed: Count = 0
    """Of everything random."""


@dataclass(frozen=True)
class SeamRecipe:
    """Of masks on single weights. SeaM's own for a one-against-rest problem of CIFAR-10 ResNet-20 are schedule published,
    300 epochs, and the defaults."""

    epochs: Natural = 30
    """Passes over the training data."""
    least: Natural = field(default=600, metadata={"when": ("schedule", "gradual")})
    """Schedule gradual: steps at least, however few samples there are."""
    batch: Natural = 64
    """Samples a step."""
    schedule: Schedule = "fast"
    """How single weights go: fast (down to --keep, on time; those that stay are the original's), gradual (the same, while
    they are trained), published (SeaM's, which wants 300 epochs)."""
    keep: Share | None = field(default=None, metadata=OURS)
    """Schedules fast and gradual: share of the weights to come down to [0.06; with --nm what the pattern leaves]."""
    nm: str | None = field(default=None, metadata=OURS)
    """Schedules fast and gradual: at most N of M consecutive input weights stay, e.g. 2:4 for TensorRT's sparse kernels."""
    distill: Share = field(default=0.7, metadata=OURS)
    """Weight of distillation against the labels, 0 to 1; schedule published has none."""
    temperature: Positive = field(default=3.0, metadata=OURS)
    """Of distillation."""
    mask_rate: Positive = field(default=0.05, metadata=FROZEN)
    """Schedules fast and published: Adam's rate for masks; fast scales it by 1000 / steps."""
    head_rate: Positive = field(default=0.1, metadata=FROZEN)
    """Schedules fast and published: Adam's rate for the new head."""
    alpha: NotNegative = field(default=1.0, metadata={"when": ("schedule", "published")})
    """Schedule published: weight of the kept ratio in the loss; schedule fast finds it."""
    seed: Count = 0
    """Of everything random."""
