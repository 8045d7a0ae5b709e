"""Do two models give the same outputs, and how far apart are they if not?

The difference is judged relative to the range of the reference's output (max - min over all samples), as an
absolute difference means nothing without the scale of the scores. An output that is constant to within its
dtype's rounding has no range; there the magnitude of the constant stands in, or 1 where it is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seam_onnx.errors import ParityError
from seam_onnx.validate.session import Array, Session, open_session

__all__ = ["PARITY_LIMIT", "Parity", "assert_parity", "compare", "parity"]

PARITY_LIMIT: Final = 1e-4
"""Largest difference of outputs, of their range, between a masked model and its pruned form."""
_ROUNDING: Final = 8  # units in the last place that count as no range


@dataclass(frozen=True)
class Parity:
    """The largest difference between two models, of the output that differs most relative to its range."""

    max_abs: float
    """Largest absolute difference; inf where NaN or Inf stands on one side only."""
    range: float
    """What it is judged against, above 0: max - min of the reference, or a constant output's stand-in."""
    relative: float
    """max_abs / range."""
    samples: int
    """Samples compared."""


def compare(a: Sequence[Array], b: Sequence[Array]) -> Parity:
    """Compare two models' outputs on the same samples.

    Args:
        a: the reference's outputs, each (N, ...) of any numeric dtype.
        b: the other model's, in the same order and shapes.

    Raises:
        ParityError: another number of outputs, other shapes, or nothing to compare.
    """
    if len(a) != len(b) or not a:
        raise ParityError("outputs", f"{len(a)} against {len(b)}", "compare models with the same outputs")
    found = [_compare_one(x, y, index) for index, (x, y) in enumerate(zip(a, b, strict=True))]
    return max(found, key=lambda one: one.relative)


def parity(model_a: Path | bytes | Session, model_b: Path | bytes | Session, x: Array, *, batch: int = 64) -> Parity:
    """Run two models on the same samples and compare all their outputs.

    Args:
        model_a: the reference; paths and bytes are opened on the CPU with one thread, exact, one after the other.
        model_b: the model that should agree.
        x: (N, ...) float32 samples.
        batch: chunk size where the batch is dynamic.

    Raises:
        ParityError: outputs that cannot be compared.
        ModelError, DataError, PathError: as for `open_session` and `Session.run`.
    """
    return compare(_outputs(model_a, x, batch), _outputs(model_b, x, batch))


def assert_parity(p: Parity, limit: float, what: str) -> None:
    """Do nothing where `p.relative <= limit`.

    Raises:
        ParityError: the difference is larger, or not a number; `what` says which step is to blame.
    """
    if not p.relative <= limit:
        why = (
            f"outputs differ by {p.relative:.3g} of their range ({p.max_abs:.3g} of {p.range:.3g}, "
            f"{p.samples} samples), the limit is {limit:.3g}"
        )
        raise ParityError(what, why, "do not use the result; report it with the model")


def _outputs(model: Path | bytes | Session, x: Array, batch: int) -> tuple[Array, ...]:
    session = model if isinstance(model, Session) else open_session(model, exact=True)
    return session.run(x, batch=batch)


def _compare_one(a: Array, b: Array, index: int) -> Parity:
    if a.shape != b.shape or a.size == 0:
        raise ParityError(f"output {index}", f"shape {a.shape} against {b.shape}", "compare the same outputs")
    eps = max((float(np.finfo(x.dtype).eps) for x in (a, b) if x.dtype.kind == "f"), default=0.0)
    max_abs = _max_abs(a.astype(np.float64), b.astype(np.float64))
    scale = _scale(a.astype(np.float64), eps)
    return Parity(max_abs, scale, max_abs / scale, len(a) if a.ndim else 1)


def _max_abs(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Largest |a - b|; equal infinities and NaN on both sides differ by 0, on one side by infinity."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def _scale(a: NDArray[np.float64], eps: float) -> float:
    finite = a[np.isfinite(a)]
    if finite.size == 0:
        return 1.0
    span, magnitude = float(finite.max() - finite.min()), float(np.abs(finite).max())
    if span > _ROUNDING * eps * magnitude:
        return span
    return magnitude if magnitude > 0 else 1.0
