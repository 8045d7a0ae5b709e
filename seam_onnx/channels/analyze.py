"""Channels of a model: which indices of which tensors are one and the same, what they cost, and what pins them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seam_onnx.blockers import Blocker
from seam_onnx.channels.trace import Binding, Trace, Work, trace
from seam_onnx.model import Model
from seam_onnx.ops import Labels

__all__ = ["Alive", "Axis", "Channels", "Cost", "Group", "analyze"]

Alive = NDArray[np.bool_]
"""One bool a label: does the channel stay? Index 0, and every label of one channel alike, is True."""


@dataclass(frozen=True)
class Axis:
    """An axis of an initializer."""

    initializer: str
    """Name."""
    dim: int
    """Position, from the front."""


@dataclass(frozen=True)
class Group:
    """Channels that vary along the same axes."""

    name: str
    """Of the first node that makes them."""
    channels: Labels
    """Representative label of each, int64, ascending."""
    axes: tuple[Axis, ...]
    """Every initializer axis that is bound to one of them."""


@dataclass(frozen=True)
class Cost:
    """What a network costs at batch 1."""

    macs: float
    """Multiply-adds of contractions."""
    params: float
    """Elements of the initializers that carry channels, and of the other floating-point ones."""


@dataclass(frozen=True)
class Channels:
    """Result of one walk; reads no weights, changes nothing."""

    labels: Mapping[str, Labels]
    """Label tensor by value name, as handed out (ties are in `roots`)."""
    roots: Labels
    """Representative of every label; 0 for pinned ones."""
    bindings: tuple[Binding, ...]
    """Initializer axes that carry channels."""
    works: tuple[Work, ...]
    """What nodes cost."""
    made: Mapping[tuple[str, str], Labels]
    """Labels by (node, slot) that made them."""
    blockers: tuple[Blocker, ...]
    """Why pinned channels are pinned, in graph order."""
    refused: frozenset[str]
    """Names of nodes that no rule could follow: what reaches them is pinned."""
    elements: Mapping[str, tuple[int, ...]]
    """Shape of each floating-point initializer."""

    @cached_property
    def free(self) -> Labels:
        """Representatives (n,) of all channels that may be removed."""
        unique = np.unique(self.roots)
        return unique[unique > 0]

    def everything(self) -> Alive:
        """All channels alive."""
        return np.ones(len(self.roots), bool)

    def without(self, dead: Labels) -> Alive:
        """All alive but these channels (representatives)."""
        gone = np.zeros(len(self.roots), bool)
        gone[dead] = True
        gone[0] = False
        return ~gone[self.roots]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Free channels by the axes they share: those made together are together. Cost: linear in labels."""
        leader: dict[int, int] = {}
        for labels in self.made.values():
            roots = [int(r) for r in np.unique(self.roots[labels]) if r > 0]
            heads = {head(leader, r) for r in roots}
            for other in heads:
                leader[other] = min(heads)
        members: dict[int, list[int]] = {}
        for channel in self.free:
            members.setdefault(head(leader, int(channel)), []).append(int(channel))
        return tuple(self.group(np.array(m, np.int64)) for m in members.values())

    def group(self, channels: Labels) -> Group:
        """The group of these channels."""
        chosen = np.zeros(len(self.roots), bool)
        chosen[channels] = True
        axes = {Axis(b.initializer, b.axis): None for b in self.bindings if chosen[self.roots[b.labels]].any()}
        name = next((n for (n, _), made in self.made.items() if chosen[self.roots[made]].any()), "")
        return Group(name, channels, tuple(axes))

    def cost(self, alive: Alive) -> Cost:
        """MACs and parameters when only these channels stay. Cost: linear in the number of bindings."""
        macs = sum(w.unit * float(np.prod([alive[a].sum() for a in w.axes])) for w in self.works)
        kept = {name: list(shape) for name, shape in self.elements.items()}
        for b in self.bindings:
            if b.initializer in kept:
                kept[b.initializer][b.axis] = int(alive[b.labels].sum())
        return Cost(macs, float(sum(np.prod(shape) for shape in kept.values())))

    def widths(self, alive: Alive) -> dict[str, tuple[int, int]]:
        """Channels before and after, for each node that makes some."""
        return {n: (len(made), int(alive[made].sum())) for (n, slot), made in self.made.items() if not slot}


def head(leader: dict[int, int], item: int) -> int:
    """The representative of an item in a small union-find."""
    while leader.get(item, item) != item:
        item = leader[item]
    return item


def analyze(model: Model) -> Channels:
    """Find the channels of a model. Reads no weights. Cost: about a millisecond a node."""
    return channels_of(trace(model), model)


def channels_of(walk: Trace, model: Model) -> Channels:
    """The immutable result of a finished walk."""
    elements = {
        name: tuple(value.const_value.shape.numpy())
        for name, value in model.initializers.items()
        if value.const_value is not None and value.const_value.dtype.is_floating_point()
    }
    return Channels(
        labels=walk.values,
        roots=walk.sets.roots(),
        bindings=tuple(walk.bindings.values()),
        works=tuple(walk.works),
        made=walk.made,
        blockers=tuple(walk.blockers),
        refused=frozenset(walk.refused),
        elements=elements,
    )
