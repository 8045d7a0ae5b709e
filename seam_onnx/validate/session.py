"""A model in onnxruntime: opened once, run on arrays of any length.

    session = open_session(path)            # CPU, one thread
    logits, = session.run(x)                # x (N, ...) float32; a fixed batch is chunked and padded

Only models with one input are opened: a classifier's images. Every output must be a numeric tensor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from seam_onnx.errors import DataError, ModelError, PathError
from seam_onnx.validate.providers import Provider, create, one_line, short_name

__all__ = ["Array", "Session", "open_session", "provider_name"]

Array = np.ndarray[Any, np.dtype[Any]]

_BATCH: Final = 64
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "tensor(float16)": np.dtype("float16"),
    "tensor(float)": np.dtype("float32"),
    "tensor(double)": np.dtype("float64"),
    "tensor(bool)": np.dtype("bool"),
    **{f"tensor({name})": np.dtype(name) for name in ("int8", "int16", "int32", "int64")},
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True)
class Session:
    """A model loaded into onnxruntime, with what a caller must know about its input."""

    name: str
    """File name, or `<bytes>` for a model that was never a file."""
    ort: Any
    """The `onnxruntime.InferenceSession`."""
    input_name: str
    """Name of the one input."""
    input_shape: tuple[int | str | None, ...]
    """Its shape, batch first; names or None where dynamic, empty where the model does not tell the rank."""
    input_dtype: np.dtype[Any]
    """Its dtype; `run` casts to it."""
    output_names: tuple[str, ...]
    """Names of the outputs, in the model's order."""
    provider: str
    """`cpu`, `cuda` or `tensorrt`: what is really in use."""
    threads: int
    """Threads within one operator; 0 means all physical cores."""
    exact: bool
    """Whether quantised layers run in exact integer arithmetic, see `open_session`."""
    load_ms: float
    """Milliseconds that opening took, file reading and graph optimisation included."""
    source: Path | bytes = field(repr=False)
    """What it was opened from."""

    @property
    def fixed_batch(self) -> int | None:
        """The batch size written into the model, or None where it is dynamic."""
        first = self.input_shape[0] if self.input_shape else None
        return first if isinstance(first, int) and first > 0 else None

    def run(self, x: Array, *, batch: int = _BATCH) -> tuple[Array, ...]:
        """Run all samples, in chunks of the model's own batch or of `batch` where that is dynamic.

        Args:
            x: (N, ...) samples; cast to the input's dtype (rounded and clipped where that is an integer).
            batch: chunk size for a dynamic batch; bounds the memory. A fixed batch is padded at the end.

        Returns:
            One array (N, ...) per output, in the model's dtypes.

        Raises:
            DataError: no samples, or a shape that the input does not take.
            ModelError: onnxruntime fails on it, or an output without a leading batch axis cannot be joined.
        """
        ready = self.prepare(x)
        parts = [self._chunk(chunk, len(ready)) for chunk in _chunks(ready, self.fixed_batch or batch)]
        return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))

    def again(self) -> "Session":
        """The same model opened once more, from its file or bytes. Raises what `open_session` does."""
        return open_session(self.source, cast(Provider, self.provider), self.threads, exact=self.exact)

    def prepare(self, x: Array) -> Array:
        """`x` (N, ...) as a contiguous array of the input's dtype.

        Raises:
            DataError: no samples, or a shape that the input does not take.
        """
        what = f"{self.name}, input {self.input_name}"
        if x.ndim == 0 or len(x) == 0:
            raise DataError(what, "no samples to run", "pass at least one")
        if self.input_shape and not _fits(x.shape, self.input_shape):
            wanted = " x ".join(str(dim or "?") for dim in ("batch", *self.input_shape[1:]))
            why = f"takes {wanted}, the data are {' x '.join(map(str, x.shape))}"
            raise DataError(what, why, "change the data's size or layout")
        return np.ascontiguousarray(_cast(x, self.input_dtype))

    def _chunk(self, chunk: Array, total: int) -> tuple[Array, ...]:
        """Outputs of one chunk; a fixed batch is filled up with copies of the last sample, cut off again."""
        wanted = self.fixed_batch or len(chunk)
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], wanted - len(chunk), axis=0)])
        outputs = self._call(padded)
        if len(chunk) == total == wanted:
            return outputs
        named = zip(self.output_names, outputs, strict=True)
        return tuple(self._cut(output, name, wanted, len(chunk)) for name, output in named)

    def _cut(self, output: Array, name: str, batch: int, count: int) -> Array:
        if output.ndim == 0 or len(output) != batch:
            why = f"shape {output.shape} for a batch of {batch}: it has no batch axis first"
            raise ModelError(f"{self.name}, output {name}", why, "export the model with the batch on axis 0")
        return output[:count]

    def _call(self, x: Array) -> tuple[Array, ...]:
        try:
            return tuple(self.ort.run(list(self.output_names), {self.input_name: x}))
        except Exception as error:  # onnxruntime's exceptions share no base class
            why = f"onnxruntime fails on a batch of {len(x)}: {one_line(error)}"
            raise ModelError(self.name, why, "try a batch of 1, or export the model again") from error


def open_session(model: Path | bytes, provider: Provider = "cpu", threads: int = 1, *, exact: bool = False) -> Session:
    """Load a model into onnxruntime, silently.

    Args:
        model: a path (needed above 2 GiB and for external data), or the bytes of a model file.
        provider: `cpu`, `cuda`, `tensorrt`, or `auto` (CUDA where it loads, else the CPU).
        threads: threads within one operator; 0 lets onnxruntime take all physical cores.
        exact: quantised layers in exact integer arithmetic, as the ONNX specification has them, on every processor: for
            proofs. Off, they run as they would where the model is used, which x64 without VNNI does faster and clipped.

    Raises:
        PathError: no such file.
        UsageError: a provider asked for by name does not load; negative threads.
        ModelError: onnxruntime refuses the model, or it is not one numeric input and numeric outputs.
    """
    name = "<bytes>" if isinstance(model, bytes) else model.name
    source = model if isinstance(model, bytes) else str(_existing(model))
    started = create(source, name, provider, threads, exact)
    session = started.ort
    node = _only_input(session, name)
    return Session(
        name=name,
        ort=session,
        input_name=node.name,
        input_shape=tuple(node.shape),
        input_dtype=_dtype(node, name),
        output_names=_output_names(session, name),
        provider=short_name(session),
        threads=threads,
        exact=exact,
        load_ms=started.load_ms,
        source=model,
    )


def provider_name(session: Session) -> str:
    """onnxruntime's own name of the provider in use, e.g. `CPUExecutionProvider`."""
    return str(session.ort.get_providers()[0])


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise PathError(path, "is a folder" if path.is_dir() else "no such file", "check the model's path")
    return path.resolve()


def _only_input(session: Any, name: str) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise ModelError(name, f"has {len(inputs)} inputs ({names})", "pass a model with one, the images")
    return inputs[0]


def _output_names(session: Any, name: str) -> tuple[str, ...]:
    nodes = session.get_outputs()
    for node in nodes:
        _dtype(node, name)
    return tuple(node.name for node in nodes)


def _dtype(node: Any, name: str) -> np.dtype[Any]:
    if node.type not in _DTYPES:
        why = f"is a {node.type}, not a tensor of numbers that numpy knows"
        raise ModelError(f"{name}, value {node.name}", why, "export the model with float tensors")
    return _DTYPES[node.type]


def _fits(have: Sequence[int], want: Sequence[int | str | None]) -> bool:
    """Whether a shape agrees with the model's on every axis but the batch."""
    if len(have) != len(want):
        return False
    open_or_equal = (not isinstance(w, int) or w <= 0 or w == h for h, w in zip(have, want, strict=True))
    return all(list(open_or_equal)[1:])


def _cast(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "iu" and x.dtype.kind == "f":
        limits = np.iinfo(dtype)
        x = np.clip(np.rint(x), limits.min, limits.max)
    with np.errstate(over="ignore"):
        return x.astype(dtype, copy=False)


def _chunks(x: Array, size: int) -> Iterator[Array]:
    return (x[start : start + size] for start in range(0, len(x), size))
