"""What the walk notes about channels: where they are bound, combined, multiplied, and what they cost."""

from dataclasses import dataclass

from seam_onnx.ops import Labels, Role

__all__ = ["Axis", "Binding", "Meeting", "Mix", "Work"]


@dataclass(frozen=True)
class Axis:
    """An axis of an initializer."""

    initializer: str
    """Name."""
    dim: int
    """Position, from the front."""


@dataclass(frozen=True)
class Binding:
    """One axis of an initializer that carries channels."""

    node: str
    """Name of the node that reads the initializer."""
    initializer: str
    """Its name."""
    axis: int
    """The axis, counted from the front."""
    labels: Labels
    """The label of each index along it, int64."""
    role: Role
    """How the axis relates to its labels, see `seam_onnx.ops.walk.Role`."""


@dataclass(frozen=True)
class Mix:
    """A node that combines channels, and means the kept ones only (a normalisation over channels)."""

    node: str
    """Name of the node."""
    axis: int
    """Axis of its first operand along which it does."""
    rank: int
    """Rank of that operand."""
    labels: Labels
    """Label of each index along the axis."""


@dataclass(frozen=True)
class Meeting:
    """A sum over products of channels of two activations (queries and keys)."""

    node: str
    """Name of the node."""
    labels: Labels
    """Label of each summand."""
    places: tuple[tuple[int, int], ...]
    """(operand, axis) at which the factors stand."""


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one node at batch 1: unit times the product of the numbers of labels."""

    node: str
    """Name of the node."""
    unit: float
    """Multiply-adds for each combination of labels."""
    axes: tuple[Labels, ...]
    """One label vector a factor."""
