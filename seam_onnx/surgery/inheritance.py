"""What became of the original's floating-point initializers: changed, held, or gone."""

from collections.abc import Container
from dataclasses import dataclass

from seam_onnx.model import Model

__all__ = ["Inheritance", "inheritance"]


@dataclass(frozen=True)
class Inheritance:
    """Names of floating-point initializers, each list in alphabetical order."""

    changed: tuple[str, ...]
    """Of the pruned model: refitted, trained, or of a new head."""
    held: tuple[str, ...]
    """Of the pruned model: what is left of the original's, bit for bit, less what was masked and removed."""
    made: tuple[str, ...]
    """Of the pruned model alone: constants that stand for what was removed."""
    gone: tuple[str, ...]
    """Of the original alone."""


def inheritance(original: Model, pruned: Model, changed: Container[str]) -> Inheritance:
    """What became of the original's weights.

    Args:
        original: as it was loaded.
        pruned: what is delivered.
        changed: which of its initializers hold other values than a removal from the original leaves, see
            `seam_onnx.solution.Solution.values`.
    """
    before, now = floating(original), floating(pruned)
    return Inheritance(
        changed=tuple(name for name in now if name in changed),
        held=tuple(name for name in now if name not in changed and name in before),
        made=tuple(name for name in now if name not in changed and name not in before),
        gone=tuple(name for name in before if name not in now),
    )


def floating(model: Model) -> list[str]:
    """Names of the floating-point initializers."""
    found = ((name, value.const_value) for name, value in model.initializers.items())
    return sorted(name for name, tensor in found if tensor is not None and tensor.dtype.is_floating_point())
