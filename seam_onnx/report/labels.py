"""What a page and a card say label by label: precision, recall, F1, and what is mistaken for what."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seam_onnx import words
from seam_onnx.report.parts import Row, Tile
from seam_onnx.validate import Classification, LabelScore, Paired

__all__ = ["MATRIX_UP_TO", "LabelRow", "accuracy_tile", "label_rows", "mistakes", "paired_rows", "weakest"]

MATRIX_UP_TO: Final = 12
"""Labels up to which a confusion matrix is readable as numbers."""
_FIGURES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class LabelRow:
    """How one label fares in both models."""

    number: int
    """From 1, as in the confusion matrices."""
    name: str
    """The label."""
    count: int
    """Samples that have it."""
    original: tuple[str, str, str]
    """Precision, recall and F1 of the restricted original."""
    pruned: tuple[str, str, str]
    """Of the pruned model."""
    recall: float
    """The pruned model's, 1 where no sample has the label."""

    @property
    def changes(self) -> tuple[str, ...]:
        """Precision, recall and F1, original's → pruned model's."""
        return tuple(f"{a} → {b}" for a, b in zip(self.original, self.pruned, strict=True))


def label_rows(labels: tuple[str, ...], found: Paired) -> list[LabelRow]:
    """Every label, in the order of the outputs."""
    both = zip(labels, found.original.labels, found.pruned.labels, strict=True)
    return [
        LabelRow(number, name, a.support, _scores(a), _scores(b), 1.0 if b.recall is None else b.recall)
        for number, (name, a, b) in enumerate(both, 1)
    ]


def weakest(rows: list[LabelRow], count: int) -> list[LabelRow]:
    """Those of lowest recall, worst first."""
    return sorted(rows, key=lambda row: row.recall)[:count]


def accuracy_tile(found: Paired, name: str) -> Tile:
    """The accuracy for the headline."""
    new, old = found.pruned.accuracy, found.original.accuracy
    details = (f"95 % interval {words.between(new.interval)}", f"original {words.share(old.value, 2)}")
    return Tile(name, words.share(new.value, 2), details)


def paired_rows(found: Paired) -> list[Row]:
    """What the labels come to, of both models."""
    old, new = found.original, found.pruned
    return [
        Row("balanced accuracy", words.share(old.balanced, 2), words.share(new.balanced, 2)),
        Row("calibration error", words.share(old.calibration_error, 2), words.share(new.calibration_error, 2)),
        Row("agreement", "", words.accuracy(found.agreement)),
        Row("McNemar's test", "", words.chance(found.difference.p), _split(found)),
        *([Row("ties for the best score", str(old.ties), str(new.ties))] if old.ties or new.ties else []),
    ]


def mistakes(labels: tuple[str, ...], found: Paired, count: int = 10) -> list[str]:
    """The pruned model's most frequent mistakes, beside how often the original makes them."""
    wrong = _errors(found.pruned)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    cells = [divmod(int(cell), len(labels)) for cell in order if wrong.flat[cell]]
    old = found.original.confusion
    return [
        f"{labels[row]} answered as {labels[column]}: {wrong[row, column]} of {found.pruned.labels[row].support} "
        f"(original {old[row, column]})"
        for row, column in cells
    ]


def _errors(found: Classification) -> NDArray[np.int64]:
    return np.asarray(found.confusion * (1 - np.eye(len(found.confusion), dtype=np.int64)))


def _scores(row: LabelScore) -> tuple[str, str, str]:
    precision, recall, f1 = (words.share(getattr(row, name)) for name in _FIGURES)
    return precision, recall, f1


def _split(found: Paired) -> str:
    """Who was right alone."""
    return f"{found.difference.b} only pruned right, {found.difference.c} only the original"
