"""From a path to train, validation and test data in the model's own classes and layout."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seam_onnx.data.classes import class_map, model_labels
from seam_onnx.data.dataset import Dataset, Splits
from seam_onnx.data.decode import Progress, decode
from seam_onnx.data.preprocess import Preprocess
from seam_onnx.data.raw import RawPart, RawSplits
from seam_onnx.data.read import read
from seam_onnx.errors import DataError

__all__ = ["load_splits"]

Names = tuple[str, ...] | None

_TRAINED_ON = "if the original model was trained on them, its accuracy there reads high; give {}"
_VAL_NOTE = "validation was split from the training images; " + _TRAINED_ON.format("fresh ones with --val")
_TEST_NOTE = "the data has no test split, so 20 % of the training images became it; " + _TRAINED_ON.format(
    "data with a test split"
)


def load_splits(
    source: Path | RawSplits,
    preprocess: Preprocess,
    *,
    val: Path | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    classes: int,
    progress: Progress | None = None,
) -> Splits:
    """Data at a path or read already, in three splits, arranged by `preprocess`, labelled with the model's class indices.

    Validation is `val` where given, else the data's own, else a stratified 20 % of train. Data without a test
    split is divided 60/20/20. `names` are the model's `classes` class names, None where unknown. Every image
    is decoded once, into one array a split; `progress` sees it. Raises DataError and PathError as `read`,
    `class_map` and `Preprocess.arrange` do.
    """
    raw, known = _in_model_classes(source if isinstance(source, RawSplits) else read(source), names, classes)
    fresh = None if val is None else _fresh(_in_model_classes(read(val), known, classes)[0])
    train, chosen, test, notes = _divide(raw, fresh, seed)
    total = len(train) + len(chosen) + len(test)

    def load(part: RawPart, before: int) -> Dataset:
        return _load(part, preprocess, known, _shifted(progress, before, total))

    loaded = load(train, 0), load(chosen, len(train)), load(test, len(train) + len(chosen))
    return Splits(*loaded, tuple(notes))


def _in_model_classes(raw: RawSplits, names: Sequence[str] | None, classes: int) -> tuple[RawSplits, Names]:
    """(the data labelled in the model's classes, the model's names where they are known now)."""
    table = class_map(raw, names, classes)

    def relabelled(part: RawPart) -> RawPart:
        return RawPart(part.images, model_labels(part.y, table, classes, raw.source))

    val, test = (None if part is None else relabelled(part) for part in (raw.val, raw.test))
    if names is not None:
        known: Names = tuple(names)
    else:
        known = raw.names if table is not None and np.array_equal(table, np.arange(classes)) else None
    return replace(raw, train=relabelled(raw.train), val=val, test=test), known


def _fresh(raw: RawSplits) -> RawPart:
    """What `--val` gives: its validation split, or all of it where it is not divided."""
    if raw.val is None and raw.test is not None:
        raise DataError(raw.source, "has a train and a test split", "give --val data that is not divided")
    return raw.train if raw.val is None else raw.val


def _divide(raw: RawSplits, fresh: RawPart | None, seed: int) -> tuple[RawPart, RawPart, RawPart, list[str]]:
    """(train, validation, test, notes): what is missing is split off train, 60/20/20 where both are."""
    train, val, test, notes = raw.train, raw.val if fresh is None else fresh, raw.test, []
    if test is None:
        test, train = train.split(0.2, seed)
        notes.append(_TEST_NOTE)
    if val is None:
        val, train = train.split(0.2 if raw.test is not None else 0.25, seed)
        notes.append(_VAL_NOTE)
    return train, val, test, notes


def _load(part: RawPart, preprocess: Preprocess, names: Names, progress: Progress) -> Dataset:
    if isinstance(part.images, tuple):
        return Dataset(decode(part.images, preprocess, progress), part.y, names)
    x = preprocess.arrange(part.images)
    progress(len(part), len(part))
    return Dataset(x, part.y, names)


def _shifted(progress: Progress | None, before: int, total: int) -> Progress:
    """Progress within one split as progress in all of them."""
    return lambda done, _: progress(before + done, total) if progress is not None else None
