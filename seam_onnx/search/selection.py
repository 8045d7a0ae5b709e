"""Which epoch of a search for weights is kept, and all that has to be remembered from one epoch to the next."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from seam_onnx.hyperparameters import SeamRecipe
from seam_onnx.masks import Mask
from seam_onnx.progress import Point

__all__ = ["Course", "Selection"]


@dataclass
class Selection:
    """SeaM's rule for which epoch to keep: the smallest that is at least as accurate as the original, else the best
    accuracy minus ratio. Judged on validation here (the published code used the test set)."""

    threshold: float
    """Accuracy that is good enough."""
    limit: float = 1.0
    """Kept ratio above which an epoch counts only while there is no other."""
    weight: float = 1.0
    """Of the ratio where no epoch is good enough."""
    best_ratio: float = 1.0
    best_accuracy: float = 0.0
    accepted: bool = False
    fallback: tuple[bool, float] = (False, -math.inf)

    @classmethod
    def of(cls, recipe: SeamRecipe, threshold: float) -> "Selection":
        """SeaM's for the published schedule. The fast one comes down so far that accuracy minus ratio would choose a network
        no better than chance: the most accurate instead, and of those that keep what was asked for, if anything was."""
        if recipe.schedule == "published":
            return cls(threshold)
        return cls(threshold, weight=0.0) if recipe.keep is None else cls(math.inf, recipe.keep + 0.001, 0.0)

    def better(self, accuracy: float, ratio: float) -> bool:
        """Should this epoch replace the one kept so far?"""
        if accuracy >= self.threshold and self.accepts(accuracy, ratio):
            self.accepted, self.best_ratio, self.best_accuracy = True, ratio, accuracy
            return True
        value = (ratio <= self.limit, accuracy - self.weight * ratio)
        if not self.accepted and value > self.fallback:
            self.fallback = value
            return True
        return False

    def accepts(self, accuracy: float, ratio: float) -> bool:
        """Smaller by a bucket of 0.1 %, or as small and more accurate."""
        if math.floor(1000 * ratio) < math.floor(1000 * self.best_ratio):
            return True
        return ratio <= self.best_ratio and accuracy > self.best_accuracy


@dataclass
class Course:
    """What a search has come to so far."""

    selection: Selection
    """The rule, with what it has seen."""
    curve: list[Point] = field(default_factory=list)
    """Epoch by epoch."""
    epoch: int = 0
    """The one that is kept, counted from 1."""
    masks: Mapping[str, Mask] = field(default_factory=dict)
    """Its masks."""
    head: Mapping[str, Tensor] = field(default_factory=dict)
    """Its head, by initializer name."""

    def note(self, point: Point, bits: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> None:
        """One more epoch: copies of masks and head are kept if it is the best so far."""
        self.curve.append(point)
        if self.selection.better(point.val, point.kept):
            self.epoch = len(self.curve)
            self.masks = {name: np.ascontiguousarray(one.cpu().numpy() > 0) for name, one in bits.items()}
            self.head = {name: one.detach().clone() for name, one in head.items()}
