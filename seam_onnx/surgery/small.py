"""The walk in the small world: the same rules, with the dead channels gone from where they were made.

What comes out is pure data: which indices every bound initializer axis keeps, in the order in which the channels now
arrive, and what every shape constant has to read.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.channels import Alive, Channels, Detour
from seam_onnx.errors import ModelError
from seam_onnx.evaluate import evaluate
from seam_onnx.model import Model
from seam_onnx.ops import Array, Labels, Role, Walk, find, none
from seam_onnx.quantized import is_weight, weight_array
from seam_onnx.shapes import listed

__all__ = ["Small", "walk_small"]

Indices = NDArray[np.int64]


@dataclass
class Small(Walk):
    """State of the walk, and its result."""

    model: Model
    channels: Channels
    alive: Alive
    order: Mapping[str, Indices]
    """For the channels made by a node: which to keep, in which order (default: the alive ones as they were)."""
    values: dict[str, Labels] = field(default_factory=dict)
    gathers: dict[tuple[str, int], Indices] = field(default_factory=dict)
    operands: dict[tuple[str, int], dict[int, int]] = field(default_factory=dict)
    attributes: dict[tuple[str, str], int | float | list[int]] = field(default_factory=dict)
    replaced: dict[tuple[str, int], Array] = field(default_factory=dict)
    reroutes: dict[str, tuple[str, int, Indices]] = field(default_factory=dict)
    numbers: dict[str, Array] = field(default_factory=dict)
    """What values calculated from sizes hold here, where that is not what they hold in the original world."""

    def __post_init__(self) -> None:
        self.opset, self.whole_heads = self.model.opset, self.channels.whole_heads
        self.bound = {(b.node, b.initializer, b.axis): b.labels for b in self.channels.bindings}

    def original(self, value: ir.Value) -> Labels:
        """The value's labels in the original world."""
        found = self.channels.labels.get(str(value.name))
        return none(len(self.model.shapes[value])) if found is None else found

    def counts(self, value: ir.Value, axis: int, stop: int | None = None) -> int:
        """How many of the first `stop` indices along an axis stay."""
        keep = self.alive[self.original(value)]
        index = [slice(None)] * keep.ndim
        index[axis] = slice(stop)
        return int(keep[tuple(index)].sum(axis).max())

    def dims(self, value: ir.Value) -> tuple[int, ...]:
        labels, dims = self.original(value), self.model.shapes[value]
        return tuple(self.counts(value, k) if labels.shape[k] > 1 else dims[k] for k in range(len(dims)))

    def original_dims(self, value: ir.Value) -> tuple[int, ...]:
        return self.model.shapes[value]

    def extent(self, value: ir.Value) -> tuple[int, ...]:
        return self.original(value).shape

    def array(self, value: ir.Value | None) -> Array | None:
        if value is None:
            return None
        return weight_array(value) if is_weight(value) else self.model.shapes.known.get(str(value.name))

    def computed(self, value: ir.Value | None) -> Array | None:
        if value is None:
            return None
        return self.numbers.get(str(value.name), self.model.shapes.known.get(str(value.name)))

    def compute(self, node: ir.Node) -> None:
        """Calculate with the sizes of this world, where those are others."""
        x = node.inputs[0] if node.op_type in ("Shape", "Size") else None
        if x is not None and x in self.model.shapes:
            results: list[Array] | None = [listed(node, self.dims(x))]
        elif any(v is not None and str(v.name) in self.numbers for v in node.inputs):
            contents = [v.const_value.numpy() if v and v.const_value else self.computed(v) for v in node.inputs]
            results = evaluate(node, self.opset, contents)
        else:
            return
        for value, result in zip([v for v in node.outputs if v.name], results or (), strict=False):
            if not np.array_equal(result, self.model.shapes.known[str(value.name)]):
                self.numbers[str(value.name)] = result

    def constant(self, value: ir.Value | None) -> bool:
        known = value is None or is_weight(value) or value.name in self.model.shapes.known
        return known and (value is None or str(value.name) not in self.channels.labels)

    def labels(self, value: ir.Value) -> Labels:
        found = self.values.get(str(value.name))
        return none(len(self.model.shapes[value])) if found is None else found

    def same(self, labels: Labels) -> Labels:
        return self.channels.roots[labels]

    def renormalises(self, node: ir.Node) -> bool:
        return any(value.is_graph_output() for value in node.outputs)

    def set(self, value: ir.Value, labels: Labels) -> None:
        """Note labels, with no more axes than in the original; what had no channels there has none here."""
        original = self.original(value)
        for axis in range(labels.ndim):
            if original.shape[axis] == 1 < labels.shape[axis]:
                labels = labels.take([0], axis)
        self.values[str(value.name)] = labels if original.any() else labels * 0

    def keep(self, value: ir.Value) -> None:
        """Label a value by its original labels, dead ones gone: for what is not made by a rule."""
        labels = self.original(value)
        for axis in range(labels.ndim):
            if labels.shape[axis] > 1:
                rows = self.alive[np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)].any(1)
                labels = labels.compress(rows, axis)
        self.set(value, labels)

    def sources(self, node: ir.Node) -> None:
        """Label the weights that the node moves."""
        for index, value in enumerate(node.inputs):
            if value is not None and (str(node.name), f"source{index}") in self.channels.made:
                labels = self.original(value)
                (axis,) = [k for k, n in enumerate(labels.shape) if n > 1]
                made = self.fresh(node, labels.size, f"source{index}")
                self.bind(node, value, axis, made, "write")
                self.set(value, made.reshape([-1 if k == axis else 1 for k in range(labels.ndim)]))

    def fresh(self, node: ir.Node, count: int, slot: str = "") -> Labels:
        made = self.channels.made[str(node.name), slot]
        chosen = self.order.get(str(node.name))
        return made[self.alive[made]] if chosen is None else made[chosen]

    def bind(self, node: ir.Node, value: ir.Value, axis: int, labels: Labels, role: Role) -> None:
        for reader, part, dim, _ in self.parts(node, value, axis, role):
            before = self.bound.get((str(reader.name), str(part.name), dim))
            if before is not None:  # what is not bound is pinned
                self.gathers[str(part.name), dim] = match(self.same(labels), self.same(before), str(node.name))

    def reroute(self, end: ir.Value, detour: Detour) -> None:
        """Survivors of a detour arrive as they did, by one Gather from its start."""
        stays = self.alive[detour.after]
        rank = len(self.model.shapes[end])
        self.set(end, detour.after[stays].reshape([-1 if k == detour.axis else 1 for k in range(rank)]))
        places = np.cumsum(self.alive[detour.before]) - 1
        self.reroutes[str(end.name)] = (detour.source, detour.axis, places[detour.order[stays]])

    def tie(self, a: Labels, b: Labels) -> None:
        if not (self.same(a) == self.same(b)).all():
            raise ModelError(
                "surgery", "channels that belong together arrive in different orders", "please report this model"
            )

    def pin(self, node: ir.Node, labels: Labels, reason: str, unblock: str) -> None:
        pass

    def mix(self, node: ir.Node, axis: int, labels: Labels) -> None:
        pass

    def meet(self, node: ir.Node, labels: Labels, *places: tuple[int, int]) -> None:
        pass

    def work(self, node: ir.Node, unit: float, *axes: Labels) -> None:
        pass

    def position(self, value: ir.Value, axis: int, index: int) -> int:
        return self.counts(value, axis, min(index, self.model.shapes[value][axis]))

    def contents(self, node: ir.Node, index: int, array: Array) -> None:
        self.replaced[str(node.name), index] = array

    def survivors(self, value: ir.Value, axis: int) -> Array:
        labels = self.original(value)
        return np.asarray(self.alive[np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)].any(1))

    def operand(self, node: ir.Node, index: int, entries: Mapping[int, int]) -> None:
        if entries:
            self.operands[str(node.name), index] = dict(entries)

    def attribute(self, node: ir.Node, name: str, number: int | float | Sequence[int]) -> None:
        self.attributes[str(node.name), name] = number if isinstance(number, int | float) else list(number)


def match(arriving: Labels, before: Labels, where: str) -> Indices:
    """Where each arriving label sits in `before`: the k-th occurrence of a label is its k-th there."""
    order = np.argsort(before, kind="stable")
    starts = np.searchsorted(before[order], arriving)
    rank = occurrence(arriving)
    places = starts + rank
    if len(arriving) and (places.max() >= len(order) or (before[order[places]] != arriving).any()):
        raise ModelError(
            f"node {where!r}", "a channel arrives that its weight does not know", "please report this model"
        )
    return np.asarray(order[places], np.int64)


def occurrence(labels: Labels) -> Indices:
    """How many equal labels stand before each."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - first
    return rank


def walk_small(model: Model, channels: Channels, alive: Alive, live: Set[str], order: Mapping[str, Indices]) -> Small:
    """Run every rule again. What is not live, known, refused or left without a channel is not visited, it only shrinks."""
    walk = Small(model, channels, alive, order)
    detours = {end: d for end, d in channels.detours.items() if not alive[d.before].all()}
    passed = {name for detour in detours.values() for name in detour.passed}
    for node in model.graph:
        named = [value for value in node.outputs if value.name and value in model.shapes]
        spec = find(node, model.opset)
        known = any(v.name in model.shapes.known and v.name not in channels.labels for v in named)
        gone = (
            known
            or any(v.name in passed for v in named)
            or node.name not in live
            or all(0 in walk.dims(v) for v in named)
        )
        if spec is None or gone or str(node.name) in channels.refused:
            for value in named:
                walk.keep(value)
            if known:
                walk.compute(node)
        elif (detour := detours.get(str(node.outputs[0].name))) is not None:
            walk.reroute(node.outputs[0], detour)
        else:
            walk.sources(node)
            spec.family.couple(walk, node)
    return walk
