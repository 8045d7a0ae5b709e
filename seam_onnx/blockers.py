"""Why a channel may not be removed: a refusal is a value with a reason, never a guess and never a crash."""

from dataclasses import dataclass

__all__ = ["Blocker"]


@dataclass(frozen=True)
class Blocker:
    """Channels pinned at one place of the graph."""

    node: str
    """Name of the node (or graph output) that pins them."""
    op: str
    """Its op type, 'output' for a graph output."""
    reason: str
    """What it does with the channels that forbids removing one."""
    channels: int
    """How many channels it pinned that were still free."""
    unblock: str
    """What would lift it; `nothing to do: ...` where nothing can."""

    def __str__(self) -> str:
        return f"{self.channels} channels at {self.op} {self.node!r}: {self.reason} ({self.unblock})"
