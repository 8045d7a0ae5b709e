"""What latency samples allow to be claimed.

1. Samples of one model are summed up in a Timing, two of those make a Comparison.
2. Each opening of both models gives one ratio, median over median. Theirs is the geometric mean, and their spread the
   interval (stats.py): two sessions of the *same* file were seen up to 1.6 % apart, by where their memory happens to
   lie, while the samples within an opening hardly differed.
3. An interval that includes 1 is no difference, whatever the ratio.
4. Neither is one within 2 % of 1: what openings share (the process, the machine's state) no interval knows
   (Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously wrong!",
   doi:10.1145/1508244.1508275).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from seam_onnx.validate.session import Session
from seam_onnx.validate.stats import Interval, ratio_interval
from seam_onnx.validate.timing import WarmUp

__all__ = ["Comparison", "Timing", "Verdict", "comparisons", "medians", "summarise", "verdict"]

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
    """Calls before the first sample of an opening, all openings together."""
    stable: bool
    """Whether every warm-up became stable before its cap."""
    openings: int
    """How often the model was opened anew; each time gave as many samples."""
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
    """All samples in the order taken, ms: those of the first opening, of the second, ..."""


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
    """Median of the model / median of the reference, geometric mean over the openings: 0.5 is twice as fast."""
    interval: Interval
    """95 % interval of the ratio, by Student's t over the openings; 0 to inf where there was one alone."""
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


def summarise(model: str, batch: int, session: Session, warm: Sequence[WarmUp], samples: tuple[float, ...]) -> Timing:
    """Sum up samples (milliseconds a call, as many from each opening) of a session under the name `model`.

    Args:
        model: its name.
        batch: samples a call.
        session: the model.
        warm: the warm-up of each opening; the first decided the loops.
        samples: opening by opening.
    """
    p50, p90, p95, p99 = (float(value) for value in np.percentile(samples, (50, 90, 95, 99)))
    mean = float(np.mean(samples))
    return Timing(
        model=model,
        batch=batch,
        provider=session.provider,
        threads=session.threads,
        warmup_calls=sum(one.calls for one in warm),
        stable=all(one.stable for one in warm),
        openings=len(warm),
        loops=warm[0].loops,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        mean=mean,
        throughput=1e3 * batch / mean,
        samples=samples,
    )


def medians(timing: Timing) -> NDArray[np.float64]:
    """(openings,) milliseconds: the median of each opening's samples."""
    return np.asarray(np.median(np.reshape(timing.samples, (timing.openings, -1)), axis=1))


def comparisons(timings: Sequence[Timing], reference: str) -> tuple[Comparison, ...]:
    """Every other model against `reference`, wherever both were measured at a batch size, in the same openings."""
    base = {timing.batch: timing for timing in timings if timing.model == reference}
    return tuple(
        _compare(timing, base[timing.batch]) for timing in timings if timing.model != reference and timing.batch in base
    )


def _compare(timing: Timing, base: Timing) -> Comparison:
    ratios = medians(timing) / medians(base)
    interval = ratio_interval(ratios)
    ratio = math.exp(float(np.log(ratios).mean()))
    return Comparison(timing.model, base.model, timing.batch, ratio, interval, verdict(interval))
