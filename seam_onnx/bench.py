"""Models against each other: latency by interleaved runs, and what having each of them costs.

    found = bench(BenchRequest((Path("model.onnx"), Path("small.onnx")), batches=(1, 8)))

1. The first model is the reference. All must take the same samples; batch sizes are the only freedom.
2. Samples are random with a seed, or the first ones of a data set: a latency may depend on them.
3. Loading and memory are measured after the latency, one model after the other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from seam_onnx.data import Preprocess, PreprocessFlags, read, resolve
from seam_onnx.data.decode import decode
from seam_onnx.errors import ModelError, UsageError
from seam_onnx.gates import GateResult
from seam_onnx.progress import Event, Observer, silent
from seam_onnx.validate import (
    Latency,
    LatencyProgress,
    ModelCost,
    Provider,
    Session,
    environment,
    measure,
    model_cost,
    open_session,
    provider_name,
    to_json,
)  # fmt: skip
from seam_onnx.values import Count, Natural, NotNegative

__all__ = ["Bench", "BenchModel", "BenchRequest", "bench"]

SCHEMA_VERSION: Final = 1
"""Rises when a field changes its meaning or goes."""
Item = tuple[int, ...]
"""Shape of one sample."""


@dataclass(frozen=True)
class BenchRequest:
    """Everything that a measurement depends on."""

    models: tuple[Path, ...]
    """ONNX files, the reference first."""
    provider: Provider = "cpu"
    """Execution provider."""
    batches: tuple[Natural, ...] = (1,)
    """Batch sizes."""
    threads: Count = 1
    """Of onnxruntime; 0 lets it take all physical cores."""
    rounds: Natural = 50
    """Samples a model and batch size, at least."""
    min_seconds: NotNegative = 1.0
    """Shortest measurement of a batch size."""
    max_seconds: NotNegative = 60.0
    """Longest one, but for 10 rounds."""
    seed: Count = 0
    """Of the input and the order of turns."""
    data: Path | None = None
    """.npz, image folder or CSV to take the input from; None: random."""
    preprocess: Path | None = None
    """preprocess.json or preprocessor_config.json for it."""
    sizes: Mapping[str, Natural] = field(default_factory=dict)
    """Symbolic dimensions of the input other than the batch."""
    command: str = field(default="", metadata={"key": False})
    """As it was typed, for the record."""


@dataclass(frozen=True)
class BenchModel:
    """One of the models."""

    name: str
    """In the timings: the file's name, with as much of the path as tells it from the others."""
    path: str
    """As given."""
    input: str
    """Shape and type of its input."""
    provider: str
    """onnxruntime's name of what really ran it."""
    cost: ModelCost
    """Time to load, size on disk, peak memory."""


@dataclass(frozen=True)
class Bench:
    """What a measurement found."""

    schema_version: int
    """Of this structure."""
    version: str
    """Of seam-onnx."""
    command: str
    """That made it."""
    models: tuple[BenchModel, ...]
    """The reference first."""
    latency: Latency
    """With every sample."""
    options: dict[str, str]
    """What was asked for, and what the input was."""
    environment: dict[str, str]
    """Machine and versions."""
    gates: tuple[GateResult, ...] = ()
    """What became of --require."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        plain: dict[str, Any] = to_json(self)
        return plain


def bench(request: BenchRequest, observer: Observer = silent) -> Bench:
    """Measure models against each other.

    Raises:
        UsageError: a provider that does not load, an input of unknown size; DataError: data that do not fit.
        PathError, ModelError: no such file, not a model, or one that takes other samples than the first.
    """
    names = _named(request.models)
    sessions = {
        name: open_session(path, request.provider, request.threads)
        for name, path in zip(names, request.models, strict=True)
    }
    item = _item(sessions, request.sizes)
    x, source = _input(request, next(iter(sessions.values())), item)

    def told(p: LatencyProgress) -> None:
        observer(Event(f"batch {p.batch}", p.round, p.rounds))

    latency = measure(
        sessions, x, batches=request.batches, rounds=request.rounds, min_seconds=request.min_seconds,
        max_seconds=request.max_seconds, seed=request.seed, progress=told,
    )  # fmt: skip
    models = tuple(
        _model(name, path, sessions[name], request, item) for name, path in zip(names, request.models, strict=True)
    )
    return Bench(
        SCHEMA_VERSION, version("seam-onnx"), request.command, models, latency, _options(request, source, latency),
        environment(),
    )  # fmt: skip


def _named(paths: Sequence[Path]) -> list[str]:
    """A name a model: the file's, the whole path where files are called alike, numbered where they are the same."""
    alike = Counter(path.name for path in paths)
    names = [path.name if alike[path.name] == 1 else str(path) for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: k + 1].count(name)})" for k, name in enumerate(names)
    ]


def _item(sessions: Mapping[str, Session], sizes: Mapping[str, int]) -> Item:
    """Shape of one sample, the same for all models.

    Raises:
        ModelError: models that take different samples. UsageError: a size that no model and no --shape tells.
    """
    shapes = {name: _sized(session, sizes) for name, session in sessions.items()}
    (first, shape), *others = shapes.items()
    for name, other in others:
        if len(other) != len(shape) or any(None not in (a, b) and a != b for a, b in zip(shape, other, strict=True)):
            why = f"takes samples of {_text(other)}, {first} of {_text(shape)}"
            raise ModelError(name, why, "measure models that take the same samples")
        shape = tuple(b if a is None else a for a, b in zip(shape, other, strict=True))
    known = tuple(dim for dim in shape if dim is not None)
    if len(known) < len(shape):
        open_names = [str(dim) for dim in next(iter(sessions.values())).input_shape[1:] if not isinstance(dim, int)]
        why = f"leaves the size of a sample open ({_text(shape)})"
        raise UsageError(first, why, f"give --shape {open_names[0] if open_names else 'name'}=SIZE")
    return known


def _sized(session: Session, sizes: Mapping[str, int]) -> tuple[int | None, ...]:
    """Shape of a sample as a model and --shape tell it, None where neither does."""
    return tuple(dim if isinstance(dim, int) and dim > 0 else sizes.get(str(dim)) for dim in session.input_shape[1:])


def _input(request: BenchRequest, session: Session, item: Item) -> tuple[NDArray[Any], str]:
    """Samples (N, *item), and where they came from."""
    count = max(request.batches, default=1)
    if request.data is not None:
        return _from_data(request, item, min(count, 64)), f"first samples of {request.data}"
    rng = np.random.default_rng(request.seed)
    if session.input_dtype.kind == "f":
        return rng.standard_normal((count, *item), dtype=np.float32), f"normal, seed {request.seed}"
    high = 256 if session.input_dtype == np.uint8 else 2
    what = f"integers below {high}, seed {request.seed}"
    return rng.integers(high, size=(count, *item)).astype(session.input_dtype), what


def _from_data(request: BenchRequest, item: Item, count: int) -> NDArray[np.float32]:
    assert request.data is not None
    beside = (request.data if request.data.is_dir() else request.data.parent) / "preprocess.json"
    file = request.preprocess or (beside if beside.is_file() else None)
    preprocess: Preprocess = resolve((None, *item), file, PreprocessFlags())
    images = read(request.data).train.images
    if isinstance(images, tuple):
        return preprocess.normalize(decode(images[:count], preprocess))
    return preprocess(images[:count])


def _model(name: str, path: Path, session: Session, request: BenchRequest, item: Item) -> BenchModel:
    shape = _text(tuple(dim if isinstance(dim, int) else None for dim in session.input_shape))
    cost = model_cost(path, provider=request.provider, threads=request.threads, item=item)
    return BenchModel(name, str(path), f"{session.input_dtype} {shape}", provider_name(session), cost)


def _options(request: BenchRequest, source: str, latency: Latency) -> dict[str, str]:
    return {
        "provider": request.provider,
        "threads": str(request.threads) if request.threads else "all cores",
        "batches": ", ".join(map(str, request.batches)),
        "rounds": f"at least {request.rounds}, {request.min_seconds:g} to {request.max_seconds:g} s a batch size",
        "sessions": f"{', '.join(str(one) for one in _openings(latency))} of each model, one after the other",
        "input": source,
        "seed": str(request.seed),
    }


def _openings(latency: Latency) -> list[int]:
    """How often the models were opened, batch size by batch size."""
    return list({timing.batch: timing.openings for timing in latency.timings}.values())


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "a single number"
