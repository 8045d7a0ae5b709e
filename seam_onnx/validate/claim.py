"""What latency samples allow to be claimed.

1. Samples of one model are summed up in a Timing, two of those make a Comparison.
2. The ratio is median over median, its interval the bootstrap of stats.py.
3. An interval that includes 1 is no difference, whatever the ratio.
4. Neither is one within 2 % of 1. The interval knows the noise between samples of these two sessions only;
   two sessions of the *same* file were seen up to 1.4 % apart with intervals well clear of 1, by where their
   memory happens to lie (Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously
   wrong!", doi:10.1145/1508244.1508275).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from seam_onnx.validate.session import Session
from seam_onnx.validate.stats import Interval, bootstrap_ratio
from seam_onnx.validate.timing import WarmUp

__all__ = ["Comparison", "Timing", "Verdict", "comparisons", "summarise", "verdict"]

Verdict = Literal["faster", "slower", "no difference"]

_MARGIN: Final = 0.02


@dataclass(frozen=True)
class Timing:
    """The latency of one model at one batch size; milliseconds are per call, that is per batch."""

    model: str
    """The name that the caller gave the session."""
    batch: int
    """Samples a call."""
    provider: str
    """`cpu`, `cuda` or `tensorrt`."""
    threads: int
    """Threads within one operator; 0 means all physical cores."""
    warmup_calls: int
    """Calls before the first sample."""
    stable: bool
    """Whether the warm-up became stable before its cap."""
    loops: int
    """Calls whose mean is one sample; above 1 for models under 0.2 ms, whose tail is smoothed by it."""
    p50: float
    """Median, ms."""
    p90: float
    """90th percentile, ms."""
    p95: float
    """95th percentile, ms."""
    p99: float
    """99th percentile, ms; of fewer than 100 samples it is close to the largest."""
    mean: float
    """Mean, ms."""
    throughput: float
    """Items a second: batch / mean."""
    samples: tuple[float, ...]
    """All samples in the order taken, ms."""


@dataclass(frozen=True)
class Comparison:
    """One model against the first at the same batch size."""

    model: str
    """The model judged."""
    reference: str
    """The first model."""
    batch: int
    """Samples a call."""
    ratio: float
    """Median of the model / median of the reference: 0.5 is twice as fast."""
    interval: Interval
    """95 % bootstrap interval of the ratio."""
    verdict: Verdict
    """What may be claimed."""


def verdict(ratio: Interval, margin: float = _MARGIN) -> Verdict:
    """What an interval of a latency ratio allows to be said.

    Args:
        ratio: interval of model / reference.
        margin: how far the whole interval must lie from 1, at least 0; what differs less is no difference.
    """
    if ratio.high < 1 - margin:
        return "faster"
    return "slower" if ratio.low > 1 + margin else "no difference"


def summarise(model: str, batch: int, session: Session, warm: WarmUp, samples: tuple[float, ...]) -> Timing:
    """Sum up samples (milliseconds a call, at least one) of a session under the name `model`."""
    p50, p90, p95, p99 = (float(value) for value in np.percentile(samples, (50, 90, 95, 99)))
    mean = float(np.mean(samples))
    return Timing(
        model=model,
        batch=batch,
        provider=session.provider,
        threads=session.threads,
        warmup_calls=warm.calls,
        stable=warm.stable,
        loops=warm.loops,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        mean=mean,
        throughput=1e3 * batch / mean,
        samples=samples,
    )


def comparisons(timings: Sequence[Timing], reference: str, seed: int = 0) -> tuple[Comparison, ...]:
    """Every other model against `reference`, wherever both were measured at a batch size.

    Raises:
        DataError: timings of one batch size with different numbers of samples.
    """
    base = {timing.batch: timing for timing in timings if timing.model == reference}
    return tuple(
        _compare(timing, base[timing.batch], seed)
        for timing in timings
        if timing.model != reference and timing.batch in base
    )


def _compare(timing: Timing, base: Timing, seed: int) -> Comparison:
    interval = bootstrap_ratio(timing.samples, base.samples, seed=seed)
    ratio = timing.p50 / base.p50
    return Comparison(timing.model, base.model, timing.batch, ratio, interval, verdict(interval))
