"""Execution providers: which are asked for, which are there, and how onnxruntime is started on one.

onnxruntime lists a provider that its build contains even where the libraries or the GPU are missing, and then
falls back to the CPU with a message on the terminal. Here that fallback is switched off and looked for, so
that a latency is never reported for a provider that did not run, and nothing reaches the terminal.
"""

import contextlib
import functools
import io
import re
import time
import warnings
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import onnxruntime as ort

from seam_onnx.errors import ModelError, NotOnnxError, UsageError

__all__ = ["Provider", "Started", "create", "one_line", "short_name"]

Provider = Literal["cpu", "cuda", "tensorrt", "auto"]

_CHAINS: Final[dict[str, tuple[str, ...]]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
_SILENT: Final = 4  # onnxruntime's severity "fatal": every error arrives as an exception anyway
_LONGEST: Final = 300
_NOT_ONNX: Final = ("INVALID_PROTOBUF", "No graph was found in the protobuf")


@dataclass(frozen=True)
class Started:
    """onnxruntime started on a model."""

    ort: Any
    """The `onnxruntime.InferenceSession`."""
    load_ms: float
    """Milliseconds that it took, attempts on other providers left out."""


def create(source: str | bytes, name: str, provider: Provider, threads: int, exact: bool = False) -> Started:
    """Start an `onnxruntime.InferenceSession` on the provider asked for.

    Args:
        source: path of the model, or the model itself.
        name: what to call the model in an error.
        provider: `auto` is CUDA where it loads and the CPU elsewhere.
        threads: threads within one operator; 0 lets onnxruntime take all physical cores.
        exact: sums of 8-bit products are never clipped, see `_options`; slower.

    Raises:
        UsageError: an unknown provider, one asked for by name that does not load, negative threads.
        ModelError: onnxruntime refuses the model (NotOnnxError where it is not an ONNX file at all).
    """
    if provider not in get_args(Provider):
        raise UsageError(f"provider {provider}", "unknown", f"choose from {', '.join(get_args(Provider))}")
    if threads < 0:
        raise UsageError(f"threads {threads}", "below 0", "pass 1 or more, or 0 for all cores")
    ort.set_default_logger_severity(_SILENT)  # process-wide: a provider reports there while it loads
    options = _options(threads, exact)
    if provider == "cpu":
        return _on_cpu(source, name, options)
    accelerated = _accelerated(source, "cuda" if provider == "auto" else provider, options)
    if isinstance(accelerated, Started):
        return accelerated
    fallback = _on_cpu(source, name, options)  # raises where it is the model that is refused, not the provider
    if provider == "auto":
        return fallback
    raise UsageError(f"provider {provider}", accelerated, "choose cpu or auto, or install what is missing")


def short_name(session: Any) -> str:
    """`cpu`, `cuda` or `tensorrt`: the provider that an onnxruntime session runs on first."""
    first = session.get_providers()[0]
    return next(short for short, chain in _CHAINS.items() if chain[0] == first)


def one_line(error: Exception) -> str:
    """An onnxruntime message without its prefix, on one line of at most 300 characters."""
    text = " ".join(re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _on_cpu(source: str | bytes, name: str, options: Any) -> Started:
    try:
        return _start(source, _CHAINS["cpu"], options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        kind = NotOnnxError if any(sign in str(error) for sign in _NOT_ONNX) else ModelError
        why = f"onnxruntime refuses it: {one_line(error)}"
        raise kind(name, why, "repair the model or export it again") from error


def _accelerated(source: str | bytes, provider: str, options: Any) -> Started | str:
    """A session on a GPU provider, or why there is none."""
    chain = _CHAINS[provider]
    present = ort.get_available_providers()
    if chain[0] not in present:
        return f"not in this build of onnxruntime, which has {', '.join(present)}"
    _preload_libraries()
    try:
        started = _start(source, chain, options)
    except Exception as error:
        return one_line(error)
    if started.ort.get_providers()[0] != chain[0]:
        return "it did not load: its libraries or its GPU are missing"
    return started


def _start(source: str | bytes, chain: tuple[str, ...], options: Any) -> Started:
    chosen = [name for name in chain if name in ort.get_available_providers()]
    begin = time.perf_counter()
    session = ort.InferenceSession(source, options, providers=chosen, enable_fallback=0)
    return Started(session, 1e3 * (time.perf_counter() - begin))


def _options(threads: int, exact: bool) -> Any:
    """Sequential execution, `threads` threads, no messages.

    onnxruntime's worker threads spin for a while after each run. With two sessions taking turns, the threads
    of the first would steal the cores of the second and distort every comparison, so they stop when a run
    ends. Source: `session.force_spinning_stop` in onnxruntime_session_options_config_keys.h.

    On x64 without VNNI the fast kernels for uint8 by int8 clip sums of two products at 16 bits, so that what is
    computed depends on which channels lie next to each other. Where a removal is to be proved, `exact` takes the
    kernels that do not. Source: `session.x64quantprecision` in the same file.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads != 1:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@functools.cache
def _preload_libraries() -> None:
    """Load the CUDA and cuDNN libraries that came as Python packages, silently; about a second, once."""
    if not hasattr(ort, "preload_dlls"):
        return
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        ort.preload_dlls()
