"""Images or other arrays with their labels, and how they are divided.

Every division is stratified (each class in proportion), deterministic in its seed, and keeps the order of
samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seam_onnx.errors import DataError

__all__ = ["Array", "Dataset", "Labels", "Splits", "stratified"]

Array = npt.NDArray[Any]
"""uint8 or float32."""
Labels = npt.NDArray[np.int64]
"""Shape (N,)."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples arranged as the model reads them, not normalised. Raises DataError unless x and y pair up."""

    x: Array
    """uint8 or float32 (N, ...), from `Preprocess.arrange`: the model's size, channel order and layout."""
    y: Labels
    """int64 (N,), class indices of the model."""
    names: tuple[str, ...] | None
    """The model's class names, or None where nobody knows them."""

    def __post_init__(self) -> None:
        if self.y.shape != (len(self.x),):
            why = f"{len(self.x)} samples, but labels of shape {self.y.shape}"
            raise DataError("dataset", why, "give one label for each sample")

    def __len__(self) -> int:
        return len(self.y)

    def select(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]) -> "Dataset":
        """The samples of a mask (N,) or of an index array, copied."""
        return Dataset(self.x[which], self.y[which], self.names)

    def split(self, fraction: float, seed: int) -> tuple["Dataset", "Dataset"]:
        """(about `fraction` of every class, the others); see `stratified`."""
        first, second = stratified(self.y, fraction, seed)
        return self.select(first), self.select(second)

    def one_against_rest(self, target: int, seed: int) -> "Dataset":
        """All samples of class `target` and equally many of the other classes, drawn without replacement.

        The others are pooled, shuffled once, and the first ones taken (SeaM's recipe, not stratified; all of
        them where they are too few). Labels stay the model's. Raises DataError where no sample is of the
        class.
        """
        mine, others = np.flatnonzero(self.y == target), np.flatnonzero(self.y != target)
        if not len(mine):
            raise DataError(f"class {target}", "the data has no sample of it", "give data that shows it")
        drawn = np.random.RandomState(seed).permutation(others)[: len(mine)]
        return self.select(np.sort(np.concatenate([mine, drawn])))


@dataclass(frozen=True, eq=False)
class Splits:
    """What the search trains on, what selects, and what is read once at the end."""

    train: Dataset
    """Seen by the search and the fine-tune."""
    val: Dataset
    """Seen when one result is preferred to another."""
    test: Dataset
    """Seen once."""
    notes: tuple[str, ...]
    """How they came about, where a reader of the accuracies should know."""


def stratified(y: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Indices of about `fraction` of every class, and of the others; each ascending, together 0..N-1.

    A class of two or more samples is in both parts. Classes of a single sample are pooled and `fraction` of
    them goes to the first part. O(N log N).
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    counts = np.unique(y, return_counts=True)[1]
    by_class = np.split(order[np.argsort(y[order], kind="stable")], np.cumsum(counts)[:-1])
    single = rng.permutation([members[0] for members in by_class if len(members) == 1])
    taken = list(single[: round(len(single) * fraction)])
    for members in by_class:
        if len(members) > 1:
            taken.extend(members[: min(max(round(len(members) * fraction), 1), len(members) - 1)])
    inside = np.zeros(len(y), np.bool_)
    inside[np.array(taken, np.int64)] = True
    return np.flatnonzero(inside), np.flatnonzero(~inside)
