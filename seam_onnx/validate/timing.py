"""The clock: one call of a model, how to warm it up, and how to let several models take turns.

1. Warm up until the running median moves by less than 5 % (or a cap), so that allocation, caches and a GPU's
   choice of algorithms are not measured.
2. Models take turns, in a random order each round: what slows the machine for a while slows all of them.
3. A turn is one call that does not count, as the model before has emptied the caches, and one sample.
4. A sample lasts at least 0.2 ms: a faster model is called several times in it, their mean is the sample.
5. Garbage collection is off meanwhile.
On a GPU, input and outputs stay on the device (I/O binding): transfers are not part of the sample.
"""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from seam_onnx.errors import ModelError
from seam_onnx.validate.providers import one_line
from seam_onnx.validate.session import Array, Session

__all__ = ["Call", "WarmUp", "prepare_call", "take_turns", "warm_up"]

Call = Callable[[], object]
"""Runs a model once on data that is ready; returns when the outputs are there."""

_SHORTEST_MS: Final = 0.2
_STABLE: Final = 0.05
_BLOCK: Final = 5
_MOST_CALLS: Final = 200
_MOST_MS: Final = 5_000.0


@dataclass(frozen=True)
class WarmUp:
    """What warming up told about a model."""

    calls: int
    """Calls until it was stable or the cap was reached."""
    ms: float
    """Median milliseconds of a call meanwhile."""
    stable: bool
    """False: the cap of 200 calls or 5 s came first."""

    @property
    def loops(self) -> int:
        """Calls a sample needs to last 0.2 ms."""
        return max(1, math.ceil(_SHORTEST_MS / max(self.ms, 1e-6)))


def prepare_call(session: Session, x: Array) -> Call:
    """A call of the model on `x` (B, ...), cast and on the device beforehand.

    Raises:
        DataError: `x` does not fit the input.
        ModelError: onnxruntime fails on it.
    """
    ready = session.prepare(x)
    try:
        call = _plain_call(session, ready) if session.provider == "cpu" else _bound_call(session, ready)
        call()
    except Exception as error:  # onnxruntime's exceptions share no base class
        why = f"onnxruntime fails on a batch of {len(x)}: {one_line(error)}"
        raise ModelError(session.name, why, "measure it at another batch") from error
    return call


def warm_up(call: Call) -> WarmUp:
    """Call until the running median of the durations changes by less than 5 % over five more calls."""
    durations = [_sample(call, 1) for _ in range(_BLOCK)]
    while True:
        before = float(np.median(durations))
        durations += [_sample(call, 1) for _ in range(_BLOCK)]
        now = float(np.median(durations))
        stable = abs(now - before) < _STABLE * before
        if stable or len(durations) >= _MOST_CALLS or sum(durations) >= _MOST_MS:
            return WarmUp(len(durations), now, stable)


def take_turns(
    calls: Mapping[str, Call],
    loops: Mapping[str, int],
    rounds: int,
    rng: np.random.Generator,
    after_round: Callable[[int], None],
) -> dict[str, tuple[float, ...]]:
    """Interleaved samples of several models.

    Args:
        calls: one per model.
        loops: calls in one sample, per model.
        rounds: samples per model.
        rng: decides the order within each round.
        after_round: told the number of rounds done, outside of any sample.

    Returns:
        Per model `rounds` samples, milliseconds a call, in the order taken.
    """
    names = list(calls)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for done in range(1, rounds + 1):
        with _no_collection():
            for index in rng.permutation(len(names)):
                name = names[index]
                calls[name]()
                samples[name].append(_sample(calls[name], loops[name]))
        after_round(done)
    return {name: tuple(values) for name, values in samples.items()}


def _sample(call: Call, loops: int) -> float:
    """Milliseconds a call, the mean of `loops` calls."""
    start = time.perf_counter_ns()
    for _ in range(loops):
        call()
    return (time.perf_counter_ns() - start) / loops / 1e6


def _plain_call(session: Session, x: Array) -> Call:
    run, names, feed = session.ort.run, list(session.output_names), {session.input_name: x}
    return lambda: run(names, feed)


def _bound_call(session: Session, x: Array) -> Call:
    """A call with input and outputs on the GPU; onnxruntime allocates the outputs."""
    binding = _bind(session, x, "cuda")

    def call() -> None:
        session.ort.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def _bind(session: Session, x: Array, device: str) -> Any:
    """An `onnxruntime.IOBinding` with `x` copied to the device and the outputs left there.

    Source: https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html
    """
    binding = session.ort.io_binding()
    binding.bind_ortvalue_input(session.input_name, ort.OrtValue.ortvalue_from_numpy(x, device, 0))
    for name in session.output_names:
        binding.bind_output(name, device, 0)
    binding.synchronize_inputs()
    return binding


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
