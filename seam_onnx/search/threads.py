"""How many threads torch should use here: measured, because small layers, and busy machines, are faster with one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["fastest_threads"]

REPEATS = 3
"""Timed passes a candidate; the best counts."""


@contextmanager
def fastest_threads(module: nn.Module, x: Tensor) -> Iterator[int]:
    """Within the block torch uses one thread, or as many as before, whichever runs a training pass over x faster.

    Cost: eight passes forwards and backwards. On a GPU nothing is measured or changed.
    """
    before = torch.get_num_threads()
    if x.device.type != "cpu" or before == 1:
        yield before
        return
    times = {count: best_time(module, x, count) for count in (before, 1)}
    torch.set_num_threads(min(times, key=lambda count: times[count]))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def best_time(module: nn.Module, x: Tensor, threads: int) -> float:
    """Seconds of a pass forwards and backwards."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        module(x).sum().backward()
        times.append(time.perf_counter() - started)
    module.zero_grad(set_to_none=True)
    return min(times[1:])
