"""How torch computes fastest here: threads, number format, memory layout. Measured, not assumed.

`auto` leaves both to a timing; what it chose is written `bf16/2` (bfloat16, two threads), and so pinned a search
computes the same again. Small layers and busy machines are faster with one thread; recent CPUs and GPUs are about twice as
fast in bfloat16 with channels last, older ones slower. Weights, optimiser and losses stay float32: only what
`torch.autocast` lowers is rounded; without it channels last are not used, where torch's kernels were seen to write outside
their memory (docs/throughput.md). Training steps are compiled where that is asked for, as in `bf16/2+compile`, and never by
`auto`: each network of a search is compiled anew, which takes longer than its few hundred steps on a CPU.
"""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

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
    compiled: bool = False
    """Training steps go through `torch.compile`, which replays them as CUDA graphs on a GPU (mode `reduce-overhead`)."""

    @property
    def name(self) -> str:
        """As `engines` reads it: `fp32/1`."""
        threads, compiled = f"/{self.threads}" if self.threads else "", "+compile" if self.compiled else ""
        return f"{'bf16' if self.low else 'fp32'}{threads}{compiled}"

    def arranged(self, x: Tensor) -> Tensor:
        """A batch (N, ...) in the layout that suits."""
        return x.contiguous(memory_format=torch.channels_last) if self.low and x.ndim == 4 else x

    def placed(self, module: nn.Module) -> None:
        """Bring a module's weights into the layout that suits, in place, and keep gradients in it.

        A gradient in another layout than its activation costs up to ten times as much in the next elementwise op (mean and
        slice make such gradients), hence the hooks. A compiler chooses layouts itself.
        """
        if self.low:
            module.to(memory_format=torch.channels_last)
        if self.low and not self.compiled:
            for child in module.modules():
                if not list(child.children()):
                    child.register_forward_hook(keep_layout)

    def prepared(self, module: nn.Module) -> nn.Module:
        """What to call for training steps of a module, with the same weights and mode; compiled, if at all, when called."""
        if not self.compiled:
            return module
        return cast(nn.Module, torch.compile(module, mode="reduce-overhead", dynamic=False))

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
    """What is left to choose from: `auto`, or a format (`fp32`, `bf16`), threads behind a slash, `+compile`.

    Raises:
        UsageError: nothing like that.
    """
    found = re.fullmatch(r"(auto|fp32|bf16)(?:/([1-9][0-9]{0,2}))?(\+compile)?", text)
    if found is None:
        do = "write auto, fp32 or bf16, threads as in bf16/2, and +compile to compile training steps"
        raise UsageError(f"engine {text!r}", "is not known", do)
    before = torch.get_num_threads()
    counts = (int(found[2]),) if found[2] else (before, 1) if device == "cpu" and before > 1 else (before,)
    formats = {"auto": (False, True), "fp32": (False,), "bf16": (True,)}[found[1]]
    return [Engine(count, low, found[3] is not None) for count in counts for low in formats]


@contextmanager
def fastest_engine(module: nn.Module, x: Tensor, pinned: str = "auto") -> Iterator[Engine]:
    """Within the block torch uses as many threads as the engine says, which trains fastest on x (N, ...).

    Cost: four passes forwards and backwards for each that `engines` leaves (two on a GPU, four on a CPU with several
    threads).

    Raises:
        UsageError: what is pinned makes no sense, or the machine or the network cannot do it.
    """
    before = torch.get_num_threads()
    times: dict[Engine, float] = {}
    for engine in engines(pinned, x.device.type):
        times[engine] = best_time(engine, module, x, min(times.values(), default=math.inf))
    engine = min(times, key=lambda one: times[one])
    if times[engine] == math.inf:
        torch.set_num_threads(before)
        raise UsageError(f"engine {pinned!r}", "cannot run this network here", "choose auto or fp32, without +compile")
    torch.set_num_threads(engine.threads or before)
    try:
        yield engine
    finally:
        torch.set_num_threads(before)


def best_time(engine: Engine, module: nn.Module, x: Tensor, limit: float) -> float:
    """Seconds of a pass forwards and backwards; infinite where the machine or the network cannot do it.

    A second pass that takes more than twice the limit is the last.
    """
    torch.set_num_threads(engine.threads or torch.get_num_threads())
    times, step = [], engine.prepared(module)
    try:
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            torch.stack([value.sum() for value in engine.run(step, x)]).sum().backward()  # type: ignore[no-untyped-call]
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
            if len(times) == 2 and times[1] > 2 * limit:
                break
    except (RuntimeError, NotImplementedError):
        if engine == Engine(engine.threads):
            raise
        return math.inf
    finally:
        module.zero_grad(set_to_none=True)
    return min(times[1:])
