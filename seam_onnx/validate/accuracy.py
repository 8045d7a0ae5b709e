"""How well scores answer labels: accuracy, per-label figures, confusion, calibration, agreement.

The answer is numpy's argmax: of equal scores the lowest index wins, as in a deployed pipeline.
`Classification.ties` counts the samples where that rule decided, so that a model with constant outputs cannot
pass for a working one. NaN and +Inf scores are refused; -Inf (a label ruled out) is a score like any other.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seam_onnx.errors import DataError, ModelError
from seam_onnx.validate.stats import Interval, wilson

__all__ = [
    "Accuracy",
    "Classification",
    "LabelScore",
    "ScoreKind",
    "accuracy",
    "agreement",
    "answers",
    "are_probabilities",
    "as_logits",
    "classification",
]

ScoreKind = Literal["auto", "logits", "probabilities"]

_BINS: Final = 15
_SUM_TOLERANCE: Final = 1e-2  # half-precision softmax over 1000 labels stays well inside


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its count and its 95 % Wilson interval."""

    correct: int
    """Right answers."""
    total: int
    """Samples judged, at least 1."""
    interval: Interval
    """95 % Wilson interval of the share."""

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.correct / self.total

    @classmethod
    def of(cls, right: ArrayLike) -> "Accuracy":
        """The share of True among (N,) booleans, N at least 1."""
        judged = np.asarray(right, dtype=bool)
        correct, total = int(judged.sum()), len(judged)
        return cls(correct, total, wilson(correct, total))


@dataclass(frozen=True)
class LabelScore:
    """How one label fares; None where a figure is undefined (0 / 0)."""

    label: int
    """Index of the score column."""
    precision: float | None
    """Of the samples answered with this label, the share that has it."""
    recall: float | None
    """Of the samples that have this label, the share answered with it."""
    f1: float | None
    """2 TP / (2 TP + FP + FN)."""
    support: int
    """Samples that have this label."""


@dataclass(frozen=True)
class Classification:
    """Everything that scores and labels tell."""

    accuracy: Accuracy
    """Share of right answers."""
    balanced: float
    """Balanced accuracy: mean recall over the labels that occur."""
    calibration_error: float
    """Expected calibration error, 15 bins, 0 to 1."""
    labels: tuple[LabelScore, ...]
    """K entries in column order."""
    confusion: NDArray[np.int64] = field(compare=False)
    """(K, K) counts; row = the label, column = the answer."""
    ties: int
    """Samples whose highest score is shared by several labels."""


def accuracy(scores: ArrayLike, labels: ArrayLike) -> Accuracy:
    """Share of samples whose highest score is their label's.

    Args:
        scores: (N, K), or (N, K, 1, 1), of any float dtype.
        labels: (N,) integers in 0..K-1.

    Raises:
        ModelError: NaN or +Inf scores (names the sample), no label axis.
        DataError: labels that do not fit the scores, no samples.
    """
    checked = _scores(scores, "scores")
    return Accuracy.of(checked.argmax(axis=1) == _labels(labels, checked))


def agreement(a_scores: ArrayLike, b_scores: ArrayLike) -> Accuracy:
    """Share of samples on which two classifiers answer alike, right or wrong: b judged by a's answers.

    Args:
        a_scores: (N, K).
        b_scores: (N, K), the same samples and columns.

    Raises:
        ModelError, DataError: as for `accuracy`.
    """
    a, b = _scores(a_scores, "first scores"), _scores(b_scores, "second scores")
    if a.shape != b.shape:
        raise DataError("agreement", f"shapes {a.shape} and {b.shape}", "cut both to the same labels")
    return Accuracy.of(a.argmax(axis=1) == b.argmax(axis=1))


def answers(scores: ArrayLike) -> NDArray[np.int64]:
    """(N,) index of the highest score of each row of (N, K); the lowest index where several are equal.

    Raises:
        ModelError: NaN or +Inf scores (names the sample), no label axis.
    """
    return np.asarray(_scores(scores, "scores").argmax(axis=1), dtype=np.int64)


def classification(scores: ArrayLike, labels: ArrayLike, kind: ScoreKind = "auto") -> Classification:
    """All figures at once; O(N K).

    Args:
        scores: (N, K), or (N, K, 1, 1), of any float dtype.
        labels: (N,) integers in 0..K-1.
        kind: for the calibration error. `logits` get a softmax; `probabilities` are divided by their row sum
            (so that columns cut out of a softmax are what they would be had the head been cut); `auto` takes
            rows that are probabilities already as such and anything else as logits.

    Raises:
        ModelError, DataError: as for `accuracy`.
    """
    checked = _scores(scores, "scores")
    truth = _labels(labels, checked)
    right = checked.argmax(axis=1) == truth
    confusion = _confusion(truth, checked.argmax(axis=1), checked.shape[1])
    per_label = tuple(_label_score(index, confusion) for index in range(len(confusion)))
    return Classification(
        accuracy=Accuracy.of(right),
        balanced=float(np.mean([row.recall for row in per_label if row.recall is not None])),
        calibration_error=_calibration_error(_probabilities(checked, kind).max(axis=1), right),
        labels=per_label,
        confusion=confusion,
        ties=int(np.sum(np.sum(checked == checked.max(axis=1, keepdims=True), axis=1) > 1)),
    )


def are_probabilities(scores: ArrayLike) -> bool:
    """Whether all rows of (N, K) are non-negative and sum to 1 within 1e-2; ask before columns are cut."""
    array = np.asarray(scores, dtype=np.float64)
    return bool((array >= 0).all() and (np.abs(array.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())


def as_logits(scores: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Scores (N, K) as logits, dtype kept. Ask before columns are cut.

    Rows of probabilities (a softmax's) become their logarithms, other scores that all lie from 0 to 1 (sigmoids) the
    logarithms of their odds; the order within a row stays, but where float32 has rounded a sigmoid to 0 or 1.
    """
    if are_probabilities(scores):
        return np.asarray(np.log(np.maximum(scores, 1e-30)))
    if scores.min() < 0 or scores.max() > 1:
        return scores
    inside = np.clip(scores.astype(np.float64), 1e-30, 1 - np.finfo(np.float32).epsneg)
    return (np.log(inside) - np.log1p(-inside)).astype(scores.dtype)


def _scores(scores: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim < 2 or array.shape[1] < 2 or any(dim != 1 for dim in array.shape[2:]):
        why = f"shape {array.shape} has no label axis"
        raise ModelError(what, why, "pass an output (N, K) with K labels, K >= 2")
    if len(array) == 0:
        raise DataError(what, "no samples", "pass at least one")
    array = array.reshape(array.shape[:2])
    bad = np.flatnonzero((np.isnan(array) | np.isposinf(array)).any(axis=1))
    if len(bad):
        why = f"sample {bad[0]} has a NaN or infinite score ({len(bad)} of {len(array)} samples)"
        raise ModelError(what, why, "check the weights and the preprocessing")
    return array


def _labels(labels: ArrayLike, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.shape != scores.shape[:1] or array.dtype.kind not in "iu":
        why = f"shape {array.shape}, dtype {array.dtype} for {len(scores)} samples"
        raise DataError("labels", why, "pass one integer a sample")
    if array.min() < 0 or array.max() >= scores.shape[1]:
        why = f"{array.min()}..{array.max()} for {scores.shape[1]} scores"
        raise DataError("labels", why, "pass indices of score columns")
    return array.astype(np.int64)


def _confusion(truth: NDArray[np.int64], answer: NDArray[Any], width: int) -> NDArray[np.int64]:
    counts = np.bincount(truth * width + answer, minlength=width * width)
    return counts.reshape(width, width).astype(np.int64)


def _label_score(index: int, confusion: NDArray[np.int64]) -> LabelScore:
    hits = int(confusion[index, index])
    support, answered = int(confusion[index].sum()), int(confusion[:, index].sum())
    return LabelScore(
        label=index,
        precision=hits / answered if answered else None,
        recall=hits / support if support else None,
        f1=2 * hits / (support + answered) if support + answered else None,
        support=support,
    )


def _probabilities(scores: NDArray[np.float64], kind: ScoreKind) -> NDArray[np.float64]:
    if kind == "probabilities" or (kind == "auto" and are_probabilities(scores)):
        weights = np.maximum(scores, 0)
    else:
        top = scores.max(axis=1, keepdims=True)
        weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    weights = weights + np.finfo(np.float64).tiny  # a row without any weight is uniform, not NaN
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean |accuracy - confidence| over 15 equal bins of (0, 1], weighted by their samples.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3 (arXiv:1706.04599).
    """
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(right))
