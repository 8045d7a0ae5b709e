"""How sure a figure is: intervals for accuracies and latency ratios, and a test between two classifiers.

1. Wilson's score interval for a proportion (Wilson 1927, doi:10.2307/2276774; recommended by Brown, Cai and
   DasGupta 2001, doi:10.1214/ss/1009213286).
2. McNemar's test for paired right/wrong answers (McNemar 1947, doi:10.1007/BF02295996), exact below 25
   discordant pairs, with Edwards' continuity correction (1948, doi:10.1007/BF02289261) from there on.
3. Student's t on the logarithms of ratios (Student 1908, doi:10.2307/2331554), each ratio from models opened anew, as
   in Kalibera and Jones 2013, "Rigorous Benchmarking in Reasonable Time" (doi:10.1145/2464157.2464160). A bootstrap
   over the samples of one opening knows nothing of how openings differ, and one over ten openings has normal tails.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from seam_onnx.errors import DataError

__all__ = ["Interval", "McNemar", "mcnemar", "ratio_interval", "wilson"]

_EXACT_BELOW: Final = 25
_STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""0.975 quantiles of Student's t for 1 to 9 degrees of freedom."""


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


def ratio_interval(ratios: ArrayLike) -> Interval:
    """95 % interval of the geometric mean of independent ratios.

    Args:
        ratios: (G,) positive; of one ratio alone nothing is known, which is (0, inf). More than ten get the quantile
            of ten, which is a little wide.

    Raises:
        DataError: no ratios, or some that are not positive and finite.
    """
    values = np.asarray(ratios, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError("interval of a ratio", f"{values.size} values, not all positive numbers", "pass some durations")
    if values.size == 1:
        return Interval(0.0, math.inf)
    logs = np.log(values)
    quantile = _STUDENT[min(values.size - 1, len(_STUDENT)) - 1]
    half = quantile * float(logs.std(ddof=1)) / math.sqrt(values.size)
    return Interval(math.exp(logs.mean() - half), math.exp(logs.mean() + half))


def _binomial_p(b: int, c: int) -> float:
    """Two-sided exact p of `b` against `c` under Binomial(b + c, 1/2)."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return min(1.0, 2.0 * tail / 2.0 ** (b + c))


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"level {level}", "is not between 0 and 1", "pass 0.95 for 95 %")
    return level
