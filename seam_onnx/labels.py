"""The labels of the task: which classes of the model are wanted, and what that makes of labels and scores.

`parse` turns the text of `--labels` into class indices, `wanted` into a `Wanted`, which re-labels samples and
restricts the original's scores to the wanted outputs. `read_names` and `names_from_metadata` give the names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seam_onnx.data.names import match, names_from_metadata, near, read_names, read_text
from seam_onnx.errors import DataError, LabelError

__all__ = ["Wanted", "names_from_metadata", "parse", "read_names", "wanted"]

_ENTRY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*?))\s*(?:,|$)""")
_NUMBER = re.compile(r"(-?[0-9]{1,18})(?:-([0-9]{1,18}))?")


def parse(spec: str, classes: int, names: Sequence[str] | None) -> tuple[int, ...]:
    """The class indices that a `--labels` text asks for, in its order.

    Entries are separated by commas: a name (quoted where it contains commas), an index `3`, a range `3-7`
    with both ends, or `@file` with one entry a line. Quotes make an entry a name and nothing else; `3-3` is
    always an index. Raises LabelError for an unknown, ambiguous or repeated label, an index outside
    0..classes-1, an empty text, or names that are not as many as the classes; PathError for an unreadable
    `@file`.
    """
    if names is not None and len(names) != classes:
        why = f"there are {len(names)} of them and the model has {classes} classes"
        raise LabelError("class names", why, "give the names of this very model with --names FILE")
    origin: dict[int, str] = {}
    for entry, quoted in _entries(spec, names or ()):
        for index in _indices(entry, quoted, classes, names or ()):
            if index in origin:
                why = f"is class {index} again, after {origin[index]!r}"
                raise LabelError(f"label {entry!r}", why, "name every label once")
            origin[index] = entry
    if not origin:
        raise LabelError(f"labels {spec!r}", "no label is named", "name at least one, as in --labels cat,dog")
    return tuple(origin)


@dataclass(frozen=True)
class Wanted:
    """The classes that the task keeps, in the order of the new model's outputs.

    Raises LabelError where the fields contradict each other.
    """

    indices: tuple[int, ...]
    """Class indices in the original model, each once, in the order asked for."""
    names: tuple[str, ...]
    """Their names, each once; the index as text where it has none."""
    rest: bool
    """Whether a last output stands for every other class."""
    classes: int
    """How many classes the original has."""

    def __post_init__(self) -> None:
        if not len(set(self.indices)) == len(self.indices) == len(self.names) == len(set(self.names)) > 0:
            raise LabelError(self.names, "labels and names must pair up, each once", "name every label once")
        if not 0 <= min(self.indices) <= max(self.indices) < self.classes:
            raise LabelError(self.indices, f"classes are 0..{self.classes - 1}", "use indices in this range")
        if self.rest and len(self.indices) == self.classes:
            why = f"all {self.classes} classes are wanted, so there is no other class"
            raise LabelError("rest output", why, "drop --other, or want fewer labels")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the new model's outputs, the rest's ("other" where free) last."""
        return (*self.names, _free_name(self.names)) if self.rest else self.names

    @property
    def unwanted(self) -> tuple[int, ...]:
        """The original's other classes, ascending."""
        return tuple(sorted(set(range(self.classes)) - set(self.indices)))

    def index_map(self) -> dict[str, int]:
        """Output name -> class index in the original; the rest output, which has none, is absent."""
        return dict(zip(self.names, self.indices, strict=True))

    def relabel(self, y: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Original labels (N,) -> labels of the task, int64 (N,): the output's position.

        Other classes become the rest output's position, or -1 (no part of the task) without one. Raises
        DataError for a label outside 0..classes-1.
        """
        if y.size and not 0 <= y.min() <= y.max() < self.classes:
            why = f"run from {y.min()} to {y.max()}, but the classes are 0..{self.classes - 1}"
            raise DataError("labels", why, "give labels of this very model")
        table = np.full(self.classes, len(self.indices) if self.rest else -1, np.int64)
        table[list(self.indices)] = np.arange(len(self.indices))
        relabelled: npt.NDArray[np.int64] = table[y]
        return relabelled

    def restrict(self, scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """The original's logits (N, classes) as logits over the wanted outputs (N, outputs), dtype kept.

        Wanted columns are gathered. The rest column is the logsumexp of the unwanted ones: the softmax over
        the outputs then is the original's own softmax, the unwanted probabilities summed (exp(lse) / Z = sum
        exp(z) / Z). A model that ends in Softmax: pass the log of its probabilities. Raises DataError for
        another shape.
        """
        if scores.ndim != 2 or scores.shape[1] != self.classes:
            do = "give the original model's output"
            raise DataError(f"scores {scores.shape}", f"(N, {self.classes}) is expected", do)
        columns = [scores[:, list(self.indices)]]
        if self.rest:
            columns.append(_logsumexp(scores[:, list(self.unwanted)]))
        return np.concatenate(columns, axis=1)


def wanted(spec: str, classes: int, names: Sequence[str] | None, other: bool) -> Wanted:
    """The `Wanted` of a `--labels` text: one label means this against the rest, several which of these.

    Raises as `parse` does, and LabelError where a rest is asked for but every class is wanted.
    """
    indices = parse(spec, classes, names)
    labels = [names[i] if names is not None else str(i) for i in indices]
    unique = [f"{n} ({i})" if labels.count(n) > 1 else n for n, i in zip(labels, indices, strict=True)]
    return Wanted(indices, tuple(unique), other or len(indices) == 1, classes)


def _tokens(spec: str) -> Iterator[tuple[str, bool]]:
    """(entry, whether it was quoted), empty ones left out."""
    for found in _ENTRY.finditer(spec):
        quoted = found[3] is None
        if entry := (found[1] or found[2] or "").strip() if quoted else found[3]:
            yield entry, quoted


def _entries(spec: str, names: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for entry, quoted in _tokens(spec):
        if quoted or not entry.startswith("@"):
            yield entry, quoted
            continue
        for line in map(str.strip, read_text(Path(entry[1:])).splitlines()):
            whole = "," in line and match(line, names)
            yield from [(line, True)] if whole else _tokens(line)


def _indices(entry: str, quoted: bool, classes: int, names: Sequence[str]) -> Sequence[int]:
    number = None if quoted else _NUMBER.fullmatch(entry)
    if number is None:
        return (_index_of_name(entry, classes, names),)
    first, last = int(number[1]), int(number[2] or number[1])
    inside = 0 <= first <= last < classes
    called = tuple(i for i, name in enumerate(names) if name == entry)
    if called and inside and called != tuple(range(first, last + 1)):
        why = f"is the name of class {called[0]} and also an index"
        raise LabelError(f"label {entry!r}", why, f"write '\"{entry}\"' for the name, {first}-{last} for the index")
    if called:
        return (_index_of_name(entry, classes, names),)
    if not inside:
        raise LabelError(f"label {entry!r}", "no such class index", f"the classes are 0..{classes - 1}")
    return range(first, last + 1)


def _index_of_name(entry: str, classes: int, names: Sequence[str]) -> int:
    if not names:
        do = f"use indices 0..{classes - 1}, or give the names with --names FILE"
        raise LabelError(f"label {entry!r}", "the names of the model's classes are unknown", do)
    found = match(entry, names)
    if not found:
        raise LabelError(f"label {entry!r}", "the model has no such class", near(entry, names))
    if len(found) > 1:
        means = ", ".join(f"{i} ({names[i]})" for i in found[:6])
        raise LabelError(f"label {entry!r}", f"may mean the classes {means}", "use the index")
    return found[0]


def _logsumexp(scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """(N, K) -> (N, 1), without overflow; -inf where all are."""
    top = scores.max(axis=1, keepdims=True)
    top[~np.isfinite(top)] = 0
    with np.errstate(divide="ignore"):
        total: npt.NDArray[np.floating[Any]] = np.log(np.exp(scores - top).sum(axis=1, keepdims=True)) + top
    return total


def _free_name(names: Sequence[str]) -> str:
    taken = {name.casefold() for name in names}
    return next(n for n in chain(("other", "rest"), (f"other_{i}" for i in count(2))) if n not in taken)
