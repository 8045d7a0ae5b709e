"""Two classifiers on the same samples, label by label: what `prune` and `validate` both prove.

Both answer among the same outputs, so that the original's answer is the one restricted to the wanted labels, which is
free for anybody; how it does when it may answer any of its classes stands beside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seam_onnx.validate.accuracy import Accuracy, Classification, agreement, answers, classification
from seam_onnx.validate.stats import McNemar, mcnemar

__all__ = ["Paired", "paired"]


@dataclass(frozen=True)
class Paired:
    """What two classifiers answered to the same samples."""

    free: Accuracy
    """The original, free to answer any of its classes."""
    original: Classification
    """The original restricted to the wanted outputs: free for anybody, so the one to compare with."""
    pruned: Classification
    """The smaller model."""
    agreement: Accuracy
    """How often both answer alike, right or wrong."""
    difference: McNemar
    """Pruned against restricted original: b only the pruned right, c only the original."""


def paired(free: ArrayLike, original: ArrayLike, pruned: ArrayLike, labels: ArrayLike) -> Paired:
    """Judge both on the same samples; O(N K).

    Args:
        free: (N,) bool, where the original's free answer is right.
        original: (N, K) logits of the original over the wanted outputs.
        pruned: (N, K) logits of the smaller model over the same outputs.
        labels: (N,) integers in 0..K-1.

    Raises:
        ModelError, DataError: as for `accuracy`.
    """
    truth = np.asarray(labels)
    return Paired(
        Accuracy.of(free),
        classification(original, truth, "logits"),
        classification(pruned, truth, "logits"),
        agreement(original, pruned),
        mcnemar(answers(pruned) == truth, answers(original) == truth),
    )
