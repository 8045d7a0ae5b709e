"""Two classifiers on the same test samples, judged by onnxruntime: the original, and any smaller one.

    found = compare_models(ComparisonRequest(Path("model.onnx"), Path("small.onnx"), Path("data.npz"), "cat,dog"))

1. The original is scored free (any of its classes) and restricted to the wanted outputs; the second counts.
2. The smaller model may be this tool's or anybody's (outputs.py tells which column is which label).
3. Neither torch nor the ONNX graph is read: what is judged is the file that ships.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seam_onnx.data import Dataset, Preprocess, PreprocessFlags, Splits, beside, load_splits, resolve
from seam_onnx.errors import LabelError, UsageError
from seam_onnx.labels import Wanted, read_names, wanted
from seam_onnx.outputs import Classifier, open_classifier, over_wanted
from seam_onnx.progress import Event, Observer, silent
from seam_onnx.report import COMPARISON_VERSION, ModelComparison
from seam_onnx.task import make_task
from seam_onnx.validate import Parity, Provider, environment, file_bytes, open_session, paired, parity
from seam_onnx.values import Count, Labels

__all__ = ["SPLITS", "ComparisonRequest", "ModelComparison", "compare_models"]

SPLITS: Final = ("test", "all")
"""What may be judged."""
PROBE: Final = 64
"""Samples for parity."""


@dataclass(frozen=True)
class ComparisonRequest:
    """Everything that a comparison depends on."""

    original: Path
    """ONNX classifier."""
    pruned: Path
    """ONNX classifier of its labels, or of some of them."""
    data: Path
    """.npz, image folder or CSV."""
    labels: Labels | None = None
    """Wanted labels; None: the pruned model's own, or all classes."""
    names: Path | None = None
    """Labels file, where the original's metadata has no names."""
    other: bool = False
    """A rest output beside several labels."""
    masked: Path | None = None
    """Masked form of the pruned model, for parity."""
    preprocess: Path | None = None
    """preprocess.json or preprocessor_config.json."""
    flags: PreprocessFlags = field(default_factory=PreprocessFlags)
    """Preprocessing given directly."""
    split: str = "test"
    """'test', or 'all' where no model has seen the data."""
    seed: Count = 0
    """Of splitting data without a test split, and of drawing other samples for a rest output."""
    provider: Provider = "cpu"
    """Execution provider."""
    threads: Count = 1
    """Of onnxruntime."""
    command: str = field(default="", metadata={"key": False})
    """As it was typed, for the record."""


def compare_models(request: ComparisonRequest, observer: Observer = silent) -> ModelComparison:
    """Judge both models on the test split.

    Raises:
        SeamError: anything that `seam_onnx.errors` lists; ParityError never (its figure is in the result).
    """
    original, pruned = (
        open_classifier(path, request.provider, request.threads) for path in (request.original, request.pruned)
    )
    preprocess, splits = _data(request, original, observer)
    chosen = _wanted(request, original, pruned, splits)
    task = make_task(chosen, splits, request.seed)
    scores = [
        model.logits(task.test, preprocess, _watched(observer, name, task.test))
        for name, model in (("original", original), ("pruned", pruned))
    ]
    mine, origin = over_wanted(pruned, scores[1], chosen)
    free = chosen.relabel(scores[0].argmax(1)) == task.test.y
    return ModelComparison(
        COMPARISON_VERSION, version("seam-onnx"), request.command,
        {"original": str(request.original), "pruned": str(request.pruned)},
        {"original": file_bytes(request.original), "pruned": file_bytes(request.pruned)},
        chosen.outputs, chosen.indices, {"original": original.classes, "pruned": pruned.classes}, len(task.test),
        request.split, preprocess.describe(), paired(free, chosen.restrict(scores[0]), mine, task.test.y),
        _parity(request, preprocess.normalize(task.test.x[:PROBE])),
        (origin, *_strange(original, pruned), *task.notes), environment(),
    )  # fmt: skip


def _data(request: ComparisonRequest, original: Classifier, observer: Observer) -> tuple[Preprocess, Splits]:
    """The preprocessing in force and the data by it."""
    shape = tuple(dim if isinstance(dim, int) else None for dim in original.session.input_shape)
    file = request.preprocess or beside(request.data, "preprocess.json")
    preprocess = resolve(shape, file, request.flags)
    splits = load_splits(
        request.data, preprocess, seed=request.seed, names=_names(request, original), classes=original.classes,
        progress=lambda done, total: observer(Event("data", done, total)),
    )  # fmt: skip
    return preprocess, _judged(splits, request.split)


def _judged(splits: Splits, split: str) -> Splits:
    """The same with everything as its test split where that is asked for."""
    if split not in SPLITS:
        raise UsageError(f"split {split!r}", "is unknown", f"use {' or '.join(SPLITS)}")
    if split == "test":
        notes = tuple(note for note in splits.notes if not note.startswith("validation"))  # which is not read here
        return Splits(splits.train, splits.val, splits.test, notes)
    parts = (splits.train, splits.val, splits.test)
    x, y = np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    note = "all samples are judged, those among them too that a model may have been trained on"
    return Splits(splits.train, splits.val, Dataset(x, y, splits.test.names), (note,))


def _wanted(request: ComparisonRequest, original: Classifier, pruned: Classifier, splits: Splits) -> Wanted:
    """The wanted labels: those asked for, else the pruned model's own, else all that both have."""
    names = _names(request, original) or splits.train.names
    if request.labels is not None:
        return wanted(request.labels, original.classes, names, request.other)
    if pruned.indices is None and pruned.classes != original.classes:
        why = f"{request.pruned.name} does not say which of the original's classes its {pruned.classes} outputs are"
        raise LabelError("labels", why, "give --labels in the order of its outputs")
    known = pruned.indices or tuple(range(original.classes))
    text = ",".join(f"{k}-{k}" for k in known if k is not None)
    return wanted(text, original.classes, names, request.other or None in known)


def _names(request: ComparisonRequest, original: Classifier) -> tuple[str, ...] | None:
    return read_names(request.names) if request.names else original.names


def _watched(observer: Observer, stage: str, data: Dataset) -> Callable[[int], None]:
    return lambda done: observer(Event(stage, done, len(data)))


def _strange(original: Classifier, pruned: Classifier) -> tuple[str, ...]:
    """A note where the pruned model says that it was made from another file."""
    source = pruned.metadata.get("seam.source.sha256")
    with original.path.open("rb") as file:
        same = source in (None, hashlib.file_digest(file, "sha256").hexdigest())
    return () if same else (f"{pruned.path.name} was made from another original (sha256 {source})",)


def _parity(request: ComparisonRequest, x: NDArray[np.float32]) -> Parity | None:
    if request.masked is None:
        return None
    masked, pruned = (
        open_session(path, request.provider, request.threads, exact=True) for path in (request.masked, request.pruned)
    )
    return parity(masked, pruned, x)
