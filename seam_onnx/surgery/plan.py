"""What to remove, as pure data: computed here, carried out by `remove`."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.blockers import Blocker
from seam_onnx.channels import Alive, Channels
from seam_onnx.channels.liveness import Constants, Site, carrier, combined, constants_of, needed, sites, summands
from seam_onnx.model import Model
from seam_onnx.ops import Array, Labels, find
from seam_onnx.ops.constants import added
from seam_onnx.surgery.small import Indices, Small, walk_small

__all__ = ["Merge", "PrunePlan", "plan_channels", "plan_removal"]


@dataclass(frozen=True)
class Merge:
    """A weight's slice `into` becomes the sum of all its slices along the axis, each times its share."""

    axis: int
    """The weight's input axis."""
    into: int
    """Index of the slice that stays for all."""
    shares: Array
    """float64 (group, I / group): the constant of each channel over that of `into`, 0 for those that live on."""


@dataclass(frozen=True)
class PrunePlan:
    """Edits that make the smaller graph. Applying it to any other model than the one it was made for is an error."""

    gathers: Mapping[tuple[str, int], Indices]
    """(initializer, axis): the kept indices, in the order of the small graph."""
    operands: Mapping[tuple[str, int], Mapping[int, int]]
    """(node, input): entries of an integer operand that change, and to what."""
    attributes: Mapping[tuple[str, str], int | float | list[int]]
    """(node, attribute): what it reads in the small graph."""
    contents: Mapping[tuple[str, int], Array]
    """(node, input): an integer operand that is replaced as a whole."""
    reroutes: Mapping[str, tuple[str, int, Indices]]
    """Value: (source, axis, indices) of the Gather that makes it now."""
    folded: Mapping[str, Array]
    """Node: what constant channels added to each of its (kept) outputs, float64 (O,)."""
    merged: Mapping[str, "Merge"]
    """Initializer: how the weights of constants that zero padding interrupts are summed up in one channel."""
    replaced: Mapping[str, Array]
    """Value: its contents, where it does not depend on data; what only it needs goes."""
    dims: Mapping[str, tuple[int, ...]]
    """Value: its shape in the small graph at batch 1, where it changes."""
    widths: Mapping[str, tuple[int, int]]
    """Node that makes channels: how many before and after."""
    blockers: tuple[Blocker, ...]
    """What could not go, and why."""

    def to_json(self) -> dict[str, Any]:
        """Everything but the contents of constants, in JSON's types."""
        return {
            "axes": [{"initializer": n, "dim": k, "kept": kept.tolist()} for (n, k), kept in self.gathers.items()],
            "operands": [{"node": n, "input": i, "entries": dict(e)} for (n, i), e in self.operands.items()],
            "attributes": [{"node": n, "attribute": a, "value": v} for (n, a), v in self.attributes.items()],
            "contents": [{"node": n, "input": i, "value": a.tolist()} for (n, i), a in self.contents.items()],
            "reroutes": [{"value": v, "source": s, "axis": k} for v, (s, k, _) in self.reroutes.items()],
            "folded": sorted(self.folded),
            "merged": [{"initializer": n, "dim": m.axis, "into": m.into} for n, m in self.merged.items()],
            "replaced": sorted(self.replaced),
            "widths": {name: list(pair) for name, pair in self.widths.items()},
            "blockers": [str(b) for b in self.blockers],
        }


def plan_removal(model: Model, channels: Channels, step: int = 1, pattern: Model | None = None) -> PrunePlan:
    """Everything that can go without changing an output: of a masked model, all that its masks silenced.

    With a `step` above 1 a group that does not go as a whole keeps a multiple of it (or all it has): runtimes are slower on
    odd widths than on the next larger even ones. With a `pattern`, the same graph with other weights, what goes is what
    its zeros silence: the plan's shape then does not depend on weights that are zero by accident (see `pattern_of`). Cost:
    one pass over the weights.
    """
    given = model if pattern is None else pattern
    constants = constants_of(given)
    replaced = replaceable(given, constants)
    live = live_nodes(given, replaced)
    places = list(sites(given, channels, constants, live))
    used = [*combined(channels, live), *summands(given, channels, constants, live)]
    alive = at_least_one(given, channels, live, multiples(channels, needed(channels, places, used), step))
    if pattern is not None:
        constants = constants_of(model)
        replaced = {name: constants.values[name] for name in replaced}
        places = list(sites(model, channels, constants, live))
    contents = {name: compacted(channels, alive, name, array, model) for name, array in replaced.items()}
    walk = walk_small(model, channels, alive, live, {})
    folded = {str(p.node.name): f for p in places if p.folds and (f := folded_into(channels, alive, p)).any()}
    merged = {p.read.initializer: m for p in places if (m := merged_at(channels, alive, p)) is not None}
    return assemble(channels, alive, walk, folded, merged, contents)


def plan_channels(
    model: Model, channels: Channels, alive: Alive, order: Mapping[str, Indices] | None = None
) -> PrunePlan:
    """Removal of given channels, whether that changes outputs or not: how a head is cut."""
    live = live_nodes(model, {})
    return assemble(channels, alive, walk_small(model, channels, alive, live, order or {}), {}, {}, {})


def assemble(
    channels: Channels,
    alive: Alive,
    walk: Small,
    folded: Mapping[str, Array],
    merged: Mapping[str, Merge],
    replaced: Mapping[str, Array],
) -> PrunePlan:
    """Put a plan together, leaving out what does not change."""
    before = walk.model.shapes.dims
    gathers = {k: g for k, g in walk.gathers.items() if not np.array_equal(g, np.arange(before[k[0]][k[1]]))}
    dims = {n: walk.dims(v) for n, v in values(walk.model).items() if n in channels.labels and n in before}
    return PrunePlan(
        gathers=gathers,
        operands=walk.operands,
        attributes=walk.attributes,
        contents=walk.replaced,
        reroutes=walk.reroutes,
        folded=folded,
        merged=merged,
        replaced=replaced,
        dims={name: d for name, d in dims.items() if d != before[name]},
        widths=channels.widths(alive),
        blockers=channels.blockers,
    )


def values(model: Model) -> dict[str, ir.Value]:
    """Every node output by name."""
    return {str(v.name): v for node in model.graph for v in node.outputs if v.name}


def replaceable(model: Model, constants: Constants) -> dict[str, Array]:
    """Values that do not depend on data and whose readers can take a broadcast constant instead."""
    wholly = constants.wholly()
    chosen: dict[str, Array] = {}
    for node in reversed(model.graph):
        for value in node.outputs:
            name = str(value.name)
            if (
                name in wholly
                and not value.is_graph_output()
                and all(takes_constant(u, value, chosen, model) for u, _ in value.uses())
            ):
                chosen[name] = wholly[name]
    return chosen


def takes_constant(user: ir.Node, value: ir.Value, chosen: Mapping[str, Array], model: Model) -> bool:
    """Is the reader itself replaced, or elementwise with another operand that alone gives the output its shape?"""
    if all(str(v.name) in chosen for v in user.outputs):
        return True
    spec = find(user, model.opset)
    if spec is None or spec.family.name != "elementwise" or not all(v in model.shapes for v in user.outputs):
        return False
    others = [
        v for v in user.inputs if v is not None and v is not value and v.const_value is None and v.name not in chosen
    ]
    return any(model.shapes[v] == model.shapes[user.outputs[0]] for v in others)


def live_nodes(model: Model, replaced: Mapping[str, Array]) -> set[str]:
    """Names of the nodes that the outputs depend on once the replaced values are constants."""
    wanted = {str(v.name) for v in model.graph.outputs}
    live: set[str] = set()
    for node in reversed(model.graph):
        if any(str(v.name) in wanted and str(v.name) not in replaced for v in node.outputs):
            live.add(str(node.name))
            wanted |= {str(v.name) for v in node.inputs if v is not None}
            for graph in [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]:
                inner = ir.traversal.RecursiveGraphIterator(graph)
                wanted |= {str(v.name) for n in inner for v in n.inputs if v is not None}
    return live


def multiples(channels: Channels, alive: Alive, step: int) -> Alive:
    """Let as many dead channels of each group stay as make its width a multiple of `step`; one more is never wrong."""
    if step == 1:
        return alive
    stays = alive.copy()
    for group in channels.groups:
        count = int(alive[group.channels].sum())
        dead = group.channels[~alive[group.channels]]
        stays[dead[: -count % step]] = True
    return stays[channels.roots]


def at_least_one(model: Model, channels: Channels, live: Set[str], alive: Alive) -> Alive:
    """No operand of a live node may lose its last channel, nor a value the only one it has: then the first stays.

    A Concat is spared, it can do without an operand. A label tensor of size 1 has no axis along which it could shrink.
    """
    alive = alive.copy()
    nodes = [node for node in reversed(model.graph) if node.name in live]
    while True:
        before = alive.sum()
        for node in nodes:
            made, read = labels_of(channels, node.outputs), labels_of(channels, node.inputs)
            stays = any(alive[labels].any() for labels in made)
            empty = [labels for labels in read if stays and node.op_type != "Concat" and not alive[labels].any()]
            for labels in [*empty, *(labels for labels in made if labels.size == 1)]:
                alive |= channels.roots == channels.roots[labels.flat[0]]
        if alive.sum() == before:
            return alive


def labels_of(channels: Channels, values: Sequence[ir.Value | None]) -> list[Labels]:
    """The label tensors of those values that have any."""
    found = [channels.labels.get(str(value.name)) for value in values if value is not None]
    return [labels for labels in found if labels is not None and labels.size]


def compacted(channels: Channels, alive: Alive, name: str, array: Array, model: Model) -> Array:
    """A replaced value's contents, expanded along the axes on which channels vary, dead ones gone."""
    labels = channels.labels.get(name)
    if labels is None:
        return array
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            rows = alive[np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)].any(1)
            full = [model.shapes.dims[name][axis] if k == axis else n for k, n in enumerate(array.shape)]
            array = np.broadcast_to(array, full).compress(rows, axis)
    return array


def folded_into(channels: Channels, alive: Alive, place: Site) -> Array:
    """What the dead constant channels added to each kept output of a reading place, (O,)."""
    dead = ~alive[place.read.labels]
    share = np.where(dead & ~np.isnan(place.arriving), place.arriving, 0.0)  # (group, I / group)
    return added(place.node, place.weight(), share, np.flatnonzero(alive[place.rows]))


def merged_at(channels: Channels, alive: Alive, place: Site) -> Merge | None:
    """How the dead constants of a place that zero padding interrupts live on in one that stays, if there are any."""
    dead, into = ~alive[place.read.labels], carrier(channels, place, alive)
    lost = place.reached(alive[place.rows])[1] & dead
    if into is None or not lost.any():
        return None
    shares = np.where(lost, np.nan_to_num(place.arriving), 0.0) / place.arriving[:, into : into + 1]
    shares[:, into] = 1.0
    return Merge(place.read.axis, into, shares)
