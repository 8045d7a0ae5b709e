"""How sure a figure is: intervals for accuracies and latency ratios, and a test between two classifiers.

1. Wilson's score interval for a proportion (Wilson 1927, doi:10.2307/2276774; recommended by Brown, Cai and
   DasGupta 2001, doi:10.1214/ss/1009213286).
2. McNemar's test for paired right/wrong answers (McNemar 1947, doi:10.1007/BF02295996), exact below 25
   discordant pairs, with Edwards' continuity correction (1948, doi:10.1007/BF02289261) from there on.
3. The percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552) for the ratio of two medians. Rounds are
   drawn whole, so that what slowed both models in one round cancels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seam_onnx.errors import DataError

__all__ = ["Interval", "McNemar", "bootstrap_ratio", "mcnemar", "wilson"]

_EXACT_BELOW: Final = 25
_CELLS: Final = 2_000_000  # resampled values held at a time: bounds the memory to some 50 MB


@dataclass(frozen=True)
class Interval:
    """A range that covers the true figure at the level that it was made for."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound; never below `low`."""

    def contains(self, value: float) -> bool:
        """Whether `value` lies inside, the bounds included."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: do two classifiers err equally often on the same samples?"""

    b: int
    """Samples that only the first classifier gets right."""
    c: int
    """Samples that only the second classifier gets right."""
    p: float
    """Two-sided probability of a split at least this uneven if both err equally often."""
    exact: bool
    """True: binomial; False: chi-square with continuity correction."""


def wilson(correct: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's interval for `correct` of `n`; (0, 1) where n is 0, as nothing is known.

    Raises:
        DataError: not 0 <= correct <= n, or a level outside (0, 1).
    """
    if not 0 <= correct <= n:
        raise DataError("Wilson interval", f"{correct} of {n} is no proportion", "pass 0 <= correct <= n")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + _checked(level) / 2)
    centre = (correct + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(correct * (n - correct) / n + z * z / 4)
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if correct == n else min(1.0, centre + half))


def mcnemar(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemar:
    """McNemar's test on the same samples judged twice.

    Args:
        a_correct: (N,) bool, where the first classifier is right.
        b_correct: (N,) bool, where the second one is.

    Raises:
        DataError: arrays of different shapes.
    """
    first, second = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        why = f"shapes {first.shape} and {second.shape}"
        raise DataError("McNemar's test", why, "judge the same samples twice")
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    if b + c < _EXACT_BELOW:
        return McNemar(b, c, _binomial_p(b, c), exact=True)
    chi_square = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    return McNemar(b, c, math.erfc(math.sqrt(chi_square / 2)), exact=False)


def bootstrap_ratio(
    a: Sequence[float], b: Sequence[float], level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Percentile bootstrap interval of median(a) / median(b).

    Args:
        a: (R,) positive samples, one a round.
        b: (R,) positive samples of the same rounds.
        level: coverage, within (0, 1).
        seed: of the resampling; the same arguments give the same interval.
        resamples: how often the rounds are drawn again. Cost: some 0.1 s for 2000 resamples of 200 rounds.

    Raises:
        DataError: different lengths, no samples, or samples that are not positive and finite.
    """
    pairs = np.stack([_samples(a, len(b)), _samples(b, len(a))])
    rng = np.random.default_rng(seed)
    rounds = pairs.shape[1]
    step = max(1, _CELLS // rounds)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    ratios = np.concatenate([_ratios(pairs, rng.integers(rounds, size=(size, rounds))) for size in sizes])
    tail = (1 - _checked(level)) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _ratios(pairs: NDArray[np.float64], drawn: NDArray[Any]) -> NDArray[np.float64]:
    """Median ratios (S,) of pairs (2, R) resampled by the rounds drawn (S, R)."""
    medians: NDArray[np.float64] = np.median(pairs[:, drawn], axis=-1)
    return np.asarray(medians[0] / medians[1])


def _binomial_p(b: int, c: int) -> float:
    """Two-sided exact p of `b` against `c` under Binomial(b + c, 1/2)."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return min(1.0, 2.0 * tail / 2.0 ** (b + c))


def _samples(values: Sequence[float], wanted: int) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) != wanted or wanted == 0:
        why = f"{len(values)} samples against {wanted}"
        raise DataError("bootstrap", why, "pass as many of each, at least one")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise DataError("bootstrap", "samples that are not positive numbers", "pass durations")
    return array


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"level {level}", "is not between 0 and 1", "pass 0.95 for 95 %")
    return level
