"""A classifier as onnxruntime sees it, whoever made it: its scores, and which column is which wanted label.

Scores are logits; probabilities become their logarithms, which is the same up to a constant a sample, sigmoids the
logarithms of their odds. The columns of a smaller model are told by

1. its `seam.index_map`,
2. the names in its metadata, where every wanted label is among them,
3. being as many as the original's classes: those, in their order,
4. being as many as the wanted outputs: those, in the order of `--labels`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seam_onnx.data import Dataset, Preprocess
from seam_onnx.errors import LabelError, ModelError
from seam_onnx.labels import Wanted, names_from_metadata
from seam_onnx.validate import Provider, Session, as_logits, open_session

__all__ = ["Classifier", "open_classifier", "over_wanted"]

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Classifier:
    """A model with one score a class."""

    path: Path
    """Its file."""
    session: Session
    """In onnxruntime."""
    output: int
    """Which of the outputs holds the scores."""
    classes: int
    """How many scores."""
    metadata: Mapping[str, str]
    """As the file says it."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the classes, where the metadata has as many."""
        names = names_from_metadata(self.metadata)
        return names if names is not None and len(names) == self.classes else None

    @property
    def indices(self) -> tuple[int | None, ...] | None:
        """Per column the class of the original that it is, None for a rest; None where the file does not say."""
        try:
            labels, index = (json.loads(self.metadata[f"seam.{key}"]) for key in ("labels", "index_map"))
            found = tuple(index.get(label) for label in labels)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None
        return found if len(found) == self.classes else None

    def logits(self, data: Dataset, preprocess: Preprocess, after: Callable[[int], None], batch: int = 64) -> Scores:
        """Scores (N, classes) of all samples; `after` is told how many are done."""
        parts = []
        for start in range(0, len(data), batch):
            x = preprocess.normalize(data.x[start : start + batch])
            parts.append(self.session.run(x)[self.output].reshape(len(x), -1).astype(np.float64))
            after(start + len(x))
        scores = np.concatenate(parts)
        return np.asarray(as_logits(scores), np.float64)


def open_classifier(path: Path, provider: Provider = "cpu", threads: int = 1) -> Classifier:
    """Open a classifier in onnxruntime.

    Raises:
        PathError, UsageError, ModelError: as for `open_session`; ModelError where no output has one score a class.
    """
    session = open_session(path, provider, threads)
    nodes = session.ort.get_outputs()
    counts = [_class_count(node, shape) for node, shape in zip(nodes, _shapes(session), strict=True)]
    wide = [k for k, count in enumerate(counts) if count > 1]
    if len(wide) != 1:
        why = f"has {len(wide)} outputs with one score a class (outputs {', '.join(session.output_names)})"
        raise ModelError(path, why, "give a classifier whose one such output has a fixed number of columns")
    metadata = dict(session.ort.get_modelmeta().custom_metadata_map)
    return Classifier(path, session, wide[0], counts[wide[0]], metadata)


def over_wanted(pruned: Classifier, scores: Scores, wanted: Wanted) -> tuple[Scores, str]:
    """A model's logits as logits over the wanted outputs, and in words where they came from.

    Args:
        pruned: the model.
        scores: its logits (N, its classes).
        wanted: what is asked for, by the original's classes.

    Returns:
        (N, outputs of `wanted`), and a sentence for the reader.

    Raises:
        LabelError: a wanted class that it does not have; ModelError: a number of outputs that means nothing.
    """
    if pruned.indices is not None:
        return _gathered(pruned, pruned.indices, scores, wanted), "columns taken by the model's seam.index_map"
    if pruned.names is not None and set(wanted.names) <= set(pruned.names):
        known = {name: index for name, index in wanted.index_map().items() if pruned.names.count(name) == 1}
        columns = tuple(known.get(name) for name in pruned.names)
        return _gathered(pruned, columns, scores, wanted), "columns taken by the names in the model's metadata"
    if pruned.classes == wanted.classes:
        restricted = np.asarray(wanted.restrict(scores), np.float64)
        return restricted, "columns taken to be all classes of the original, in its order"
    if pruned.classes == len(wanted.outputs):
        return scores, "columns taken to be the wanted labels in the order of --labels"
    why = (
        f"has {pruned.classes} outputs, neither the original's {wanted.classes} nor the {len(wanted.outputs)} "
        f"that are wanted ({', '.join(wanted.outputs)})"
    )
    raise ModelError(pruned.path, why, "give the --labels that it was made for")


def _gathered(pruned: Classifier, columns: tuple[int | None, ...], scores: Scores, wanted: Wanted) -> Scores:
    """The wanted columns by the classes they are; a rest is the logsumexp of all the others."""
    place = {index: k for k, index in enumerate(columns) if index is not None}
    missing = [name for name, index in zip(wanted.names, wanted.indices, strict=True) if index not in place]
    if missing:
        have = ", ".join(map(str, place))
        why = f"{pruned.path.name} was made for the classes {have} of its original"
        raise LabelError(f"label {missing[0]!r}", why, "give --labels that it has")
    mine = [place[index] for index in wanted.indices]
    others = [k for k in range(len(columns)) if k not in mine]
    if not wanted.rest:
        return scores[:, mine]
    if not others:
        why = f"{pruned.path.name} has no output for any other class"
        raise LabelError("rest output", why, "give the --labels that it was made for, without --other")
    return np.concatenate([scores[:, mine], _logsumexp(scores[:, others])], axis=1)


def _logsumexp(scores: Scores) -> Scores:
    return np.asarray(np.logaddexp.reduce(scores, axis=1, keepdims=True))


def _shapes(session: Session) -> list[tuple[object, ...]]:
    """Shapes of the outputs, batch first; of one run on zeros where the file leaves them open."""
    said = [tuple(node.shape or ()) for node in session.ort.get_outputs()]
    item = session.input_shape[1:]
    sizes = tuple(dim for dim in item if isinstance(dim, int) and dim > 0)
    if all(_is_known(shape) for shape in said) or len(sizes) < len(item) or not session.input_shape:
        return said
    return [output.shape for output in session.run(np.zeros((session.fixed_batch or 1, *sizes), np.float32))]


def _is_known(shape: tuple[object, ...]) -> bool:
    return len(shape) > 0 and all(isinstance(dim, int) for dim in shape[1:])


def _class_count(node: Any, shape: tuple[object, ...]) -> int:
    """Scores a sample of an onnxruntime output; 0 where it has no single class axis of known size."""
    wide = [dim for dim in shape[1:] if isinstance(dim, int) and dim > 1]
    real = node.type in ("tensor(float)", "tensor(float16)", "tensor(double)")
    return wide[0] if real and _is_known(shape) and len(wide) == 1 else 0
