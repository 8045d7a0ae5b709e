"""What a model costs besides its latency: time to load, size on disk, peak memory."""

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from seam_onnx.errors import NotOnnxError, PathError, SeamError
from seam_onnx.validate.providers import Provider
from seam_onnx.validate.session import Session, open_session

__all__ = ["ModelCost", "file_bytes", "model_cost", "peak_memory"]

_CHILD: Final = "from seam_onnx.validate.cost import _report_peak; _report_peak()"


@dataclass(frozen=True)
class ModelCost:
    """Costs of having a model at all."""

    load_ms: float
    """Median milliseconds to open it in onnxruntime, graph optimisation included, file in the page cache."""
    file_bytes: int
    """Bytes on disk, external data included."""
    peak_bytes: int | None
    """Peak resident memory of a process that loads it and runs it once; None where that cannot be told."""


def model_cost(
    model: Path,
    *,
    provider: Provider = "cpu",
    threads: int = 1,
    item: Sequence[int] | None = None,
    loads: int = 3,
) -> ModelCost:
    """Measure all three; takes `loads` + 1 loads and one Python start.

    Args:
        model: path of the model.
        provider: as for `open_session`.
        threads: as for `open_session`.
        item: shape of one sample without the batch, needed where the model leaves it open.
        loads: how often to load; the median counts, a first one is left out (it fills the page cache).

    Raises:
        PathError, ModelError, UsageError: as for `open_session`.
    """
    times = [open_session(model, provider, threads).load_ms for _ in range(loads + 1)][1:]
    peak = peak_memory(model, provider=provider, threads=threads, item=item)
    return ModelCost(statistics.median(times), file_bytes(model), peak)


def file_bytes(model: Path) -> int:
    """Bytes of a model file and of its initializers' external-data files; parses the model file.

    Raises:
        PathError: no such file.
        NotOnnxError: not an ONNX file.
    """
    import onnx  # here, so that peak_memory's process does without it
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    if not model.is_file():
        raise PathError(model, "no such file", "check the model's path")
    try:
        tensors = onnx.load(model, load_external_data=False).graph.initializer
    except Exception as error:  # protobuf's DecodeError, which comes without types
        raise NotOnnxError(model, "cannot be parsed", "check that it is complete") from error
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    files = [model, *(model.resolve().parent / name for name in sorted(names))]
    return sum(file.stat().st_size for file in files if file.is_file())


def peak_memory(
    model: Path,
    *,
    batch: int = 1,
    provider: Provider = "cpu",
    threads: int = 1,
    item: Sequence[int] | None = None,
    timeout: float = 120.0,
) -> int | None:
    """Peak resident memory in bytes of a fresh Python that loads the model and runs it once on zeros.

    Python, numpy and onnxruntime themselves are part of it (some 60 to 90 MB), memory on a GPU is not. Costs
    a Python start of about half a second.

    Args:
        model: path of the model.
        batch: samples to run; a fixed batch goes before.
        provider: as for `open_session`.
        threads: as for `open_session`.
        item: shape of one sample without the batch, needed where the model leaves it open.
        timeout: seconds after which the process is ended.

    Returns:
        Bytes, or None where the process fails (an unknown shape, say) or takes too long.
    """
    sizes = "x".join(map(str, item)) if item is not None else "?"
    command = [sys.executable, "-c", _CHILD, str(model.resolve()), provider, str(threads), str(batch), sizes]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, env=environment, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    words = done.stdout.split()
    return int(words[-1]) if words and int(words[-1]) > 0 else None


def _report_peak() -> None:
    """The child: load, run on zeros, write the peak (0 where unknown) to stdout for the parent."""
    path, provider, threads, batch, sizes = sys.argv[1:]
    session = open_session(Path(path), provider, int(threads))  # type: ignore[arg-type]
    item = tuple(map(int, sizes.split("x"))) if sizes != "?" else _item(session)
    session.run(np.zeros((session.fixed_batch or int(batch), *item), dtype=np.float32))
    sys.stdout.write(f"{_own_peak()}\n")


def _item(session: Session) -> tuple[int, ...]:
    """Shape of one sample as the model tells it."""
    dims = tuple(dim for dim in session.input_shape[1:] if isinstance(dim, int) and dim > 0)
    if not session.input_shape or len(dims) != len(session.input_shape) - 1:
        raise SeamError(session.name, "leaves the shape of a sample open", "pass item")
    return dims


def _own_peak() -> int:
    """Peak resident bytes of this process; 0 where unknown.

    On Linux `ru_maxrss` of a child starts at its *parent's* resident size, as the kernel carries the mark
    over exec (fs/exec.c, setmax_mm_hiwater_rss), so VmHWM, which starts afresh, goes first.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
