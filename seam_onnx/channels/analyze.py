"""Channels of a model: which indices of which tensors are one and the same, what they cost, and what pins them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.blockers import Blocker
from seam_onnx.channels.detours import Detour
from seam_onnx.channels.records import Axis, Binding, Meeting, Mix, Work
from seam_onnx.channels.trace import Trace, trace
from seam_onnx.model import Model
from seam_onnx.ops import Labels
from seam_onnx.quantized import is_scale, stored_as

__all__ = ["Alive", "Axis", "Channels", "Cost", "Group", "analyze"]

Alive = NDArray[np.bool_]
"""One bool a label: does the channel stay? Index 0, and every label of one channel alike, is True."""


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
    """Elements of the floating-point initializers, and of the quantised ones."""


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
    mixes: tuple[Mix, ...]
    """Where channels are combined: a mask means "over the kept ones only" there."""
    meetings: tuple[Meeting, ...]
    """Where channels of two activations are multiplied and summed over."""
    detours: Mapping[str, Detour]
    """Chains of layout ops that only permute channels, by the value at their end."""
    made: Mapping[tuple[str, str], Labels]
    """Labels by (node, slot) that made them."""
    blockers: tuple[Blocker, ...]
    """Why pinned channels are pinned, in graph order."""
    refused: frozenset[str]
    """Names of nodes that no rule could follow: what reaches them is pinned."""
    elements: Mapping[str, tuple[int, ...]]
    """Shape of each initializer that holds parameters: floating-point ones, and the integers of quantised ones."""
    whole_heads: bool = False
    """Are attention heads kept or dropped as a whole?"""

    @cached_property
    def free(self) -> Labels:
        """Representatives (n,) of all channels that may be removed."""
        unique = np.unique(self.roots)
        return unique[unique > 0]

    def everything(self) -> Alive:
        """All channels alive."""
        return np.ones(len(self.roots), bool)

    def admissible(self, alive: Alive) -> Alive:
        """The same, with a channel revived wherever a normalisation over channels would be left with none."""
        alive = alive.copy()
        for mix in self.mixes:
            if not alive[mix.labels].any():
                alive |= self.roots == self.roots[mix.labels[0]]
        return alive

    def without(self, dead: Labels) -> Alive:
        """All alive but these channels (representatives)."""
        gone = np.zeros(len(self.roots), bool)
        gone[dead] = True
        gone[0] = False
        return ~gone[self.roots]

    @cached_property
    def member(self) -> Labels:
        """For every label the position of its group in `groups`, -1 for pinned ones. Cost: linear in labels."""
        signature = self.signatures()
        _, first, inverse = np.unique(signature, return_index=True, return_inverse=True)
        places = np.full(len(self.roots), -1)
        places[self.free] = np.argsort(np.argsort(first))[inverse]
        return places[self.roots]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Free channels by signature: those bound to exactly the same axes are together. Cost: linear in labels."""
        place = self.member[self.free]
        order = np.argsort(place, kind="stable")
        channels = np.split(self.free[order], np.flatnonzero(np.diff(place[order])) + 1) if len(order) else []
        axes: list[list[Axis]] = [[] for _ in channels]
        for axis, bound in self.bound():
            for k in self.touched(bound):
                axes[k].append(axis)
        names: dict[int, str] = {}
        for (node, _), made in self.made.items():
            for k in self.touched(made):
                names.setdefault(k, node)
        return tuple(Group(names.get(k, ""), each, tuple(axes[k])) for k, each in enumerate(channels))

    def touched(self, labels: Labels) -> list[int]:
        """The groups, by position, that some labels belong to."""
        found: list[int] = np.unique(self.member[labels]).tolist()
        return [k for k in found if k >= 0]

    def signatures(self) -> NDArray[np.uint64]:
        """A hash (n,) of the set of bound axes of each free channel: the sum of one random number an axis."""
        rng = np.random.default_rng(0)
        sums = np.zeros(len(self.roots), np.uint64)
        for _, channels in self.bound():
            sums[channels] += rng.integers(1, 1 << 63, dtype=np.uint64)
        return sums[self.free]

    def bound(self) -> Iterator[tuple[Axis, Labels]]:
        """For each initializer axis the channels (representatives, each once) that are bound to it."""
        labels: dict[Axis, list[Labels]] = {}
        for b in self.bindings:
            labels.setdefault(Axis(b.initializer, b.axis), []).append(b.labels)
        for axis, several in labels.items():
            yield axis, np.unique(self.roots[np.concatenate(several)])

    def savings(self) -> tuple[Cost, ...]:
        """For each group what goes with it when it goes alone. Cost: linear in labels."""
        macs, params = np.zeros(len(self.groups)), np.zeros(len(self.groups))
        for w in self.works:
            self.add_saving(macs, w.unit, w.axes, [len(a) for a in w.axes])
        bound: dict[str, dict[int, Labels]] = {}
        for b in self.bindings:
            bound.setdefault(b.initializer, {})[b.axis] = b.labels
        for name, axes in bound.items():
            if name in self.elements:
                shape = self.elements[name]
                rest = float(np.prod([n for k, n in enumerate(shape) if k not in axes]))
                self.add_saving(params, rest, tuple(axes.values()), [shape[k] for k in axes])
        return tuple(map(Cost, macs.tolist(), params.tolist()))

    def add_saving(self, sums: NDArray[np.float64], unit: float, axes: tuple[Labels, ...], sizes: list[int]) -> None:
        """Add, for each group, how much of unit times the product of the sizes it takes with it."""
        for k in {k for labels in axes for k in self.touched(labels)}:
            left = [n - int((self.member[a] == k).sum()) for a, n in zip(axes, sizes, strict=True)]
            sums[k] += unit * (float(np.prod(sizes)) - float(np.prod(left)))

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


def analyze(model: Model, *, whole_heads: bool = False) -> Channels:
    """Find the channels of a model. Reads no weights. Cost: about a millisecond a node.

    Args:
        model: to look at.
        whole_heads: whether attention loses whole heads, rather than the same positions in every head.
    """
    return channels_of(trace(model, whole_heads=whole_heads), model)


def is_parameter(value: ir.Value) -> bool:
    """Is the initializer a floating-point one, or the integers of a quantised weight?"""
    floating = value.const_value is not None and value.const_value.dtype.is_floating_point()
    return stored_as(value) is not None or (floating and not is_scale(value))


def channels_of(walk: Trace, model: Model) -> Channels:
    """The immutable result of a finished walk."""
    elements = {
        name: tuple(value.const_value.shape.numpy())
        for name, value in model.initializers.items()
        if value.const_value is not None and is_parameter(value)
    }
    return Channels(
        labels=walk.values,
        roots=walk.sets.roots(),
        bindings=tuple(walk.bindings.values()),
        works=tuple(walk.works),
        mixes=tuple(walk.mixes),
        meetings=tuple(walk.meetings),
        detours=walk.detours,
        made=walk.made,
        blockers=tuple(walk.blockers),
        refused=frozenset(walk.refused),
        elements=elements,
        whole_heads=walk.whole_heads,
    )
