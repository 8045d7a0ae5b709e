"""Which class of the model each class of the data is: by name where those are known, else by position."""

import re
from collections.abc import Sequence

import numpy as np

from seam_onnx.data.dataset import Labels
from seam_onnx.data.names import match, namesakes, near
from seam_onnx.data.raw import RawSplits
from seam_onnx.errors import DataError

__all__ = ["class_map", "model_labels"]

_WNID = re.compile(r"n[0-9]{8}_(.+)")


def model_labels(y: Labels, table: Labels | None, classes: int, source: object) -> Labels:
    """Data labels (N,) -> the model's class indices (N,), by a `class_map` or as they are.

    Raises DataError for a label outside the model.
    """
    mapped: Labels = y if table is None else table[y]
    if mapped.size and not 0 <= mapped.min() <= mapped.max() < classes:
        bad = mapped.min() if mapped.min() < 0 else mapped.max()
        why = f"the model's classes are 0..{classes - 1}"
        raise DataError(f"{source} label {bad}", why, "correct the labels")
    return mapped


def class_map(raw: RawSplits, names: Sequence[str] | None, classes: int) -> Labels | None:
    """The model's class for each of the data's names, int64 (K,), -1 for one without samples; or None.

    By name as `--labels` matches them, a `<wnid>_` prefix apart; names that are numbers are indices where no
    class is called so. Equal names (ImageNet has two cranes) go to their namesakes in order where these are
    as many. With the model's names unknown, names as many as its classes go by position. Raises DataError for
    a class that the model does not have, an ambiguous one, two that are the same, or too few to go by
    position.
    """
    if raw.names is None:
        return None
    numbers = all(re.fullmatch("[0-9]{1,9}", name) for name in raw.names)
    if names is None:
        return _by_number(raw.names) if numbers else _by_position(raw, raw.names, classes)
    if numbers and not any(match(name, names) for name in raw.names):
        return _by_number(raw.names)
    return _by_name(raw, raw.names, names)


def _by_number(data: tuple[str, ...]) -> Labels:
    return np.array([int(name) for name in data], np.int64)


def _by_position(raw: RawSplits, data: tuple[str, ...], classes: int) -> Labels:
    if len(data) != classes:
        why = f"has {len(data)} classes, the model {classes} without names, so they cannot be paired"
        raise DataError(raw.source, why, "give the names of the model's classes with --names FILE")
    return np.arange(classes)


def _by_name(raw: RawSplits, data: tuple[str, ...], names: Sequence[str]) -> Labels:
    used = sorted({int(label) for part in raw.parts for label in np.unique(part.y)})
    groups: dict[str, list[int]] = {}
    for k in used:
        groups.setdefault(_plain(data[k], names), []).append(k)
    table = np.full(len(data), -1, np.int64)
    for name, alike in groups.items():
        table[alike] = _classes_of(raw, name, len(alike), names)
    claimed: dict[int, int] = {}
    for k in used:
        if (other := claimed.setdefault(int(table[k]), k)) != k:
            why = f"{data[other]!r} and {data[k]!r} are both the model's class {names[table[k]]!r}"
            raise DataError(raw.source, why, "rename one, or merge them")
    return table


def _plain(name: str, names: Sequence[str]) -> str:
    """The name, without ImageNet's `<wnid>_` where that makes it known."""
    prefixed = None if match(name, names) else _WNID.fullmatch(name)
    return prefixed[1] if prefixed else name


def _classes_of(raw: RawSplits, name: str, count: int, names: Sequence[str]) -> Sequence[int]:
    found = match(name, names) if count == 1 else namesakes(name, names)
    if not found:
        what = f"{raw.source} class {name!r}"
        raise DataError(what, "the model has no such class", near(name, names))
    if len(found) != count:
        means = ", ".join(f"{i} ({names[i]})" for i in found[:6])
        do = "use the model's whole name, or class indices in a CSV"
        raise DataError(f"{raw.source} class {name!r}", f"may mean the model's classes {means}", do)
    return found
