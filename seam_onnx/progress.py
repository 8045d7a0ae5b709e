"""How long work tells whoever watches: the library never prints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Event", "Observer", "Point", "silent"]


@dataclass(frozen=True)
class Event:
    """One sign of life."""

    stage: str
    """What is being done: 'data', 'search', 'recover', 'latency', ..."""
    done: float
    """Units of work done."""
    total: float
    """Units of work in this stage; 0 where unknown."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Loss, accuracy, kept ratio, ... as they stand."""


@dataclass(frozen=True)
class Point:
    """Where the search stood."""

    epoch: float
    """Passes over the data so far."""
    stage: str
    """'search' or 'recover'."""
    loss: float
    """Running loss."""
    train: float
    """Running accuracy on training batches."""
    val: float
    """Accuracy on validation, NaN where it was not read."""
    kept: float
    """The target's figure, of the original's."""


Observer = Callable[[Event], None]
"""Called often, from the thread that works; must be quick."""


def silent(event: Event) -> None:
    """An observer that looks away."""
