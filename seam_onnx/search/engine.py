"""How torch computes fastest here: threads, number format, memory layout. Measured, not assumed.

`auto` leaves both to a timing; what it chose is written `bf16/2` (bfloat16, two threads), and so pinned a search
computes the same again. Small layers and busy machines are faster with one thread; recent CPUs and GPUs are about twice as
fast in bfloat16 with channels last, older ones slower. Weights, optimiser and losses stay float32: only what
`torch.autocast` lowers is rounded.
"""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seam_onnx.errors import UsageError

__all__ = ["PLAIN", "Engine", "engines", "fastest_engine"]

REPEATS = 3
"""Timed passes a candidate; the best counts."""


@dataclass(frozen=True)
class Engine:
    """One way to compute."""

    threads: int | None = None
    """On the CPU; None leaves them as they are."""
    low: bool = False
    """bfloat16 where autocast allows it, with images in channels-last layout."""

    @property
    def name(self) -> str:
        """As `engines` reads it: `fp32/1`."""
        return f"{'bf16' if self.low else 'fp32'}{f'/{self.threads}' if self.threads else ''}"

    def arranged(self, x: Tensor) -> Tensor:
        """A batch (N, ...) in the layout that suits."""
        return x.contiguous(memory_format=torch.channels_last) if self.low and x.ndim == 4 else x

    def placed(self, module: nn.Module) -> None:
        """Bring a module's weights into the layout that suits, in place, and keep gradients in it.

        A gradient in another layout than its activation costs up to ten times as much in the next elementwise op (mean and
        slice make such gradients), hence the hooks.
        """
        if self.low:
            module.to(memory_format=torch.channels_last)
            for child in module.modules():
                if not list(child.children()):
                    child.register_forward_hook(keep_layout)

    def run(self, module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        """All outputs of a module for a batch (N, ...), float32."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low):
            made = module(self.arranged(x))
        return tuple(value.float() for value in (made if isinstance(made, tuple) else (made,)))


PLAIN = Engine()
"""Computes in float32, as torch stands."""


def keep_layout(module: nn.Module, inputs: Any, made: Any) -> None:
    """A forward hook: the gradient of an image-like output comes in channels-last layout."""
    if isinstance(made, Tensor) and made.ndim == 4 and made.requires_grad:
        made.register_hook(in_layout)  # type: ignore[no-untyped-call]


def in_layout(gradient: Tensor) -> Tensor:
    """A gradient (N, C, H, W), channels last."""
    return gradient.contiguous(memory_format=torch.channels_last)


def engines(text: str, device: str) -> list[Engine]:
    """What is left to choose from: `auto`, or a format (`fp32`, `bf16`), and of threads those behind a slash, `bf16/2`.

    Raises:
        UsageError: nothing like that.
    """
    found = re.fullmatch(r"(auto|fp32|bf16)(?:/([1-9][0-9]{0,2}))?", text)
    if found is None:
        raise UsageError(f"engine {text!r}", "is not known", "write auto, fp32 or bf16, and threads as in bf16/2")
    before = torch.get_num_threads()
    counts = (int(found[2]),) if found[2] else (before, 1) if device == "cpu" and before > 1 else (before,)
    formats = {"auto": (False, True), "fp32": (False,), "bf16": (True,)}[found[1]]
    return [Engine(count, low) for count in counts for low in formats]


@contextmanager
def fastest_engine(module: nn.Module, x: Tensor, pinned: str = "auto") -> Iterator[Engine]:
    """Within the block torch uses as many threads as the engine says, which trains fastest on x (N, ...).

    Cost: four passes forwards and backwards for each that `engines` leaves (two on a GPU, four on a CPU with several
    threads).

    Raises:
        UsageError: what is pinned makes no sense, or the machine or the network cannot do it.
    """
    before = torch.get_num_threads()
    times = {engine: best_time(engine, module, x) for engine in engines(pinned, x.device.type)}
    engine = min(times, key=lambda one: times[one])
    if times[engine] == math.inf:
        torch.set_num_threads(before)
        raise UsageError(f"engine {pinned!r}", "cannot run this network here", "choose auto or fp32")
    torch.set_num_threads(engine.threads or before)
    try:
        yield engine
    finally:
        torch.set_num_threads(before)


def best_time(engine: Engine, module: nn.Module, x: Tensor) -> float:
    """Seconds of a pass forwards and backwards; infinite where the machine or the network cannot do it."""
    torch.set_num_threads(engine.threads or torch.get_num_threads())
    times = []
    try:
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            torch.stack([value.sum() for value in engine.run(module, x)]).sum().backward()  # type: ignore[no-untyped-call]
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    except (RuntimeError, NotImplementedError):
        if not engine.low:
            raise
        return math.inf
    finally:
        module.zero_grad(set_to_none=True)
    return min(times[1:])
