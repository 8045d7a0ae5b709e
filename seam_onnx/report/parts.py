"""What pages and cards are made of, in words and rounded figures; nothing here is marked up."""

from dataclasses import dataclass

__all__ = ["Row", "Tile"]


@dataclass(frozen=True)
class Tile:
    """One figure of the headline."""

    name: str
    """What it is."""
    figure: str
    """The pruned model's."""
    details: tuple[str, ...]
    """Its interval, and the original's."""


@dataclass(frozen=True)
class Row:
    """One line of original and pruned."""

    name: str
    """What it is."""
    original: str
    """The original's figure."""
    pruned: str
    """The pruned model's."""
    change: str = ""
    """Ratio or difference, with its interval where there is one."""
