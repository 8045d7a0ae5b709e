"""Which model is faster, by how much, and is that more than noise?

    latency = measure({"original": a, "pruned": b}, x, batches=(1, 8))
    latency.comparisons[0].verdict          # 'faster' | 'slower' | 'no difference'

The first model is the reference. timing.py is the clock, claim.py says what the samples allow to be claimed.

All models are opened anew up to ten times, in alternating order, and take turns within each opening: where a session's
memory happens to lie moves its latency by a per cent or so, and only other sessions tell by how much.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from seam_onnx.errors import DataError, UsageError
from seam_onnx.validate.claim import Comparison, Timing, comparisons, summarise
from seam_onnx.validate.session import Array, Session
from seam_onnx.validate.timing import Call, WarmUp, prepare_call, take_turns, warm_up

__all__ = ["Latency", "LatencyProgress", "measure"]

_FEWEST_ROUNDS: Final = 10
_OPENINGS: Final = 10
_FEWEST_OPENINGS: Final = 3
_OPENING_SHARE: Final = 0.5
"""Of the longest measurement, what opening and warming up may take before there are fewer openings."""


@dataclass(frozen=True)
class Latency:
    """All that one measurement found."""

    timings: tuple[Timing, ...]
    """Batch by batch, models in the caller's order."""
    comparisons: tuple[Comparison, ...]
    """Every model but the first, at every batch size that the first was measured at too."""
    notes: tuple[str, ...]
    """What differs from the request, one sentence each."""
    seed: int
    """Of the order of turns."""

    def timing(self, model: str, batch: int | None = None) -> Timing:
        """The timing of a model, at its smallest batch unless one is named.

        Raises:
            UsageError: it was not measured.
        """
        for timing in self.timings:
            if timing.model == model and batch in (None, timing.batch):
                return timing
        raise UsageError(f"latency of {model}", f"not measured at batch {batch}", "choose another batch")


@dataclass(frozen=True)
class LatencyProgress:
    """How far a measurement is; one arrives after every round."""

    batch: int
    """Batch size under measurement."""
    round: int
    """Rounds done at this batch size."""
    rounds: int
    """Rounds to do at this batch size."""


def measure(
    sessions: Mapping[str, Session],
    x: Array,
    *,
    batches: Sequence[int] = (1,),
    rounds: int = 50,
    min_seconds: float = 1.0,
    max_seconds: float = 60.0,
    seed: int = 0,
    progress: Callable[[LatencyProgress], None] | None = None,
) -> Latency:
    """Measure models against each other by interleaved runs.

    Args:
        sessions: models by name, the reference first; these are the first opening.
        x: (N, ...) float32 samples; a batch takes the first ones, over and over where N is too small.
        batches: batch sizes. A model with a fixed batch is measured at that alone; the others then too.
        rounds: samples per model and batch size, at least; more until `min_seconds` are full.
        min_seconds: shortest measurement per batch size, all models together, openings and warm-up left out.
        max_seconds: where the rounds would take longer, fewer are made, but at least 10 (or `rounds`); where opening
            and warming up ten times would take more than half of it, that is done less often, but thrice.
        seed: of the order of turns.
        progress: told after every round.

    Raises:
        UsageError: no sessions, or sizes and rounds below 1.
        DataError, ModelError: `x` does not fit a model, or onnxruntime fails on it.
    """
    if not sessions or not batches or min(batches) < 1 or rounds < 1:
        raise UsageError("latency", "needs a model, batch sizes and rounds of at least 1", "pass them")
    if len(x) == 0:
        raise DataError("latency", "no samples to run", "pass at least one")
    points, notes = _points(sessions, batches)
    limits = _Limits(rounds, min_seconds, max_seconds)
    rng = np.random.default_rng(seed)
    timings = [
        timing
        for batch, names in points.items()
        for timing in _measure({name: sessions[name] for name in names}, x, batch, limits, rng, progress)
    ]
    return Latency(tuple(timings), comparisons(timings, next(iter(sessions))), notes, seed)


@dataclass(frozen=True)
class _Limits:
    """How long a measurement may take."""

    rounds: int
    min_seconds: float
    max_seconds: float

    def decide(self, round_ms: float, opening_ms: float) -> tuple[int, int]:
        """Openings to do, and rounds in each, where a round and an opening take about so long."""
        wanted = max(self.rounds, math.ceil(1e3 * self.min_seconds / round_ms))
        affordable = math.floor(1e3 * self.max_seconds / round_ms)
        rounds = max(min(wanted, affordable), min(self.rounds, _FEWEST_ROUNDS))
        cheap = math.floor(1e3 * self.max_seconds * _OPENING_SHARE / opening_ms)
        openings = min(max(cheap, _FEWEST_OPENINGS), _OPENINGS, rounds)
        return openings, math.ceil(rounds / openings)


@dataclass(frozen=True)
class _Opening:
    """Models that are open, warm, and ready to take turns."""

    calls: Mapping[str, Call]
    warm: Mapping[str, WarmUp]
    ms: float
    """What it cost."""


def _open(sessions: Mapping[str, Session], data: Array) -> _Opening:
    calls = {name: prepare_call(session, data) for name, session in sessions.items()}
    warm = {name: warm_up(call) for name, call in calls.items()}
    cost = sum(session.load_ms + warm[name].calls * warm[name].ms for name, session in sessions.items())
    return _Opening(calls, warm, cost)


def _open_again(sessions: Mapping[str, Session], data: Array, number: int) -> _Opening:
    """All models anew; those of every other opening in reverse order, so that none always finds the same memory."""
    names = list(sessions)[:: -1 if number % 2 else 1]
    return _open({name: sessions[name].again() for name in names}, data)


def _points(sessions: Mapping[str, Session], batches: Sequence[int]) -> tuple[dict[int, list[str]], tuple[str, ...]]:
    """Batch size -> names of the models measured at it; and a note for each model that misses one."""
    fixed = {name: session.fixed_batch for name, session in sessions.items() if session.fixed_batch}
    wanted = set(fixed.values()) | (set(batches) if len(fixed) < len(sessions) else set())
    points = {size: [name for name in sessions if fixed.get(name, size) == size] for size in sorted(wanted)}
    missed = {name: sorted((wanted | set(batches)) - {size}) for name, size in fixed.items()}
    notes = (
        f"{name} has its batch fixed at {fixed[name]}: not measured at {', '.join(map(str, sizes))}"
        for name, sizes in missed.items()
        if sizes
    )
    return points, tuple(notes)


def _measure(
    sessions: Mapping[str, Session],
    x: Array,
    batch: int,
    limits: _Limits,
    rng: np.random.Generator,
    progress: Callable[[LatencyProgress], None] | None,
) -> list[Timing]:
    """All models at one batch size."""
    data = x[np.arange(batch) % len(x)]
    first = _open(sessions, data)
    loops = {name: warm.loops for name, warm in first.warm.items()}
    round_ms = sum(warm.ms * (1 + loops[name]) for name, warm in first.warm.items())
    openings, rounds = limits.decide(round_ms, first.ms)
    warm: list[Mapping[str, WarmUp]] = []
    taken: list[Mapping[str, tuple[float, ...]]] = []
    for number in range(openings):
        opening = first if number == 0 else _open_again(sessions, data, number)
        after = _counted(progress, batch, number * rounds, openings * rounds)
        taken.append(take_turns(opening.calls, loops, rounds, rng, after))
        warm.append(opening.warm)
    return [
        summarise(name, batch, session, [one[name] for one in warm], tuple(chain(*(one[name] for one in taken))))
        for name, session in sessions.items()
    ]


def _counted(
    progress: Callable[[LatencyProgress], None] | None, batch: int, before: int, rounds: int
) -> Callable[[int], None]:
    """Tells the rounds done of all openings."""

    def after_round(done: int) -> None:
        if progress is not None:
            progress(LatencyProgress(batch, before + done, rounds))

    return after_round
