"""Which channels are constant, and which are needed: two walks that read the weights.

**Constant.** Forwards: per value an array that broadcasts to its shape, a number where the value is that number for
every input and at every position, NaN where it depends on data. Each op's constant rule says what it does to them.

**Needed.** Backwards, the least set that contains what is pinned, and, with every needed row of a weight, each channel
that reaches it through a weight that is not zero and is not a foldable constant. Everything else can go without
changing any output.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.channels.analyze import Alive, Channels
from seam_onnx.channels.records import Binding
from seam_onnx.channels.trace import Trace
from seam_onnx.errors import SeamError
from seam_onnx.model import Model
from seam_onnx.ops import Array, Labels, Walk, find
from seam_onnx.ops.constants import channel_constants, contracted, fold_site, kind, read_axis
from seam_onnx.quantized import is_weight, weight_array

__all__ = ["Constants", "Site", "carrier", "combined", "constants_of", "needed", "sites", "summands"]


class Constants:
    """Constants of every value, by one walk in graph order."""

    def __init__(self, model: Model) -> None:
        self.walk: Walk = Trace(model)
        self.values: dict[str, Array] = {}
        for node in model.graph:
            spec = find(node, model.opset)
            named = [value for value in node.outputs if value.name]
            if spec is not None and all(v in model.shapes and v.name not in model.shapes.known for v in named):
                try:
                    spec.family.zero(self, node)
                except (
                    SeamError,
                    ValueError,
                    TypeError,
                    IndexError,
                    AssertionError,
                ):  # a rule that cannot say leaves them unknown
                    continue

    def get(self, value: ir.Value | None) -> Array:
        assert value is not None
        if is_weight(value):  # what is merely known, from shapes, may change with the batch
            return weight_array(value).astype(np.float64)
        found = self.values.get(str(value.name))
        return np.full((1,) * len(self.walk.dims(value)), np.nan) if found is None else found

    def set(self, value: ir.Value, array: Array) -> None:
        self.values[str(value.name)] = array

    def wholly(self) -> dict[str, Array]:
        """The values that do not depend on data at all, with their contents."""
        return {name: array for name, array in self.values.items() if not np.isnan(array).any()}


def constants_of(model: Model) -> Constants:
    """Constants of a model. Cost: one reduction over every weight and half a millisecond an elementwise node."""
    return Constants(model)


@dataclass(frozen=True)
class Site:
    """A place where channels are read through a weight."""

    node: ir.Node
    """Conv, Gemm or MatMul."""
    read: Binding
    """Its weight's input axis."""
    rows: NDArray[np.int64]
    """Label of each output row (O,)."""
    read_by: NDArray[np.uint8]
    """(group, O / group, I / 8 group): bits, through which weights a row reads what arrives."""
    arriving: Array
    """Constants (group, I / group) of the channels that arrive, NaN = depends on data."""
    folds: bool
    """Can constants that arrive become part of what the node adds?"""
    carriers: NDArray[np.bool_]
    """(I / group,): the constants, not zero, that may stand for others."""

    def reached(self, rows: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What needed rows (O,) need: (I / group,) as it arrives, and as a constant for which another may stand."""
        kept = np.where(rows.reshape(*self.read_by.shape[:2], 1), self.read_by, 0)
        bits = np.unpackbits(np.bitwise_or.reduce(kept, axis=1), axis=1, count=self.arriving.shape[1]).astype(bool)
        steady = ~np.isnan(self.arriving)
        heard = bits & (self.arriving != 0) & ~(steady & self.folds)
        merging = steady.all(0) & self.carriers.any()
        return heard.any(0) & ~merging, heard.any(0) & merging

    def weight(self) -> Array:
        """The weight (O, I / group, K) as it is stored, read anew: together they may not fit into memory."""
        value = self.node.inputs[1]
        assert value is not None
        return contracted(self.node, weight_array(value))


def sites(model: Model, channels: Channels, constants: Constants, live: Set[str]) -> Iterator[Site]:
    """Every reading place among the nodes (by name) that the outputs still depend on."""
    nodes = {str(n.name): n for n in model.graph}
    writes = {(b.node, b.initializer): b.labels for b in channels.bindings if b.role == "write"}
    for binding in channels.bindings:
        node = nodes[binding.node]
        if binding.role == "read" and binding.node in live:
            yield site(node, binding, writes[binding.node, binding.initializer], constants)


def site(node: ir.Node, read: Binding, rows: NDArray[np.int64], constants: Constants) -> Site:
    """Look at one place: what it reads, and what of that is silent.

    A constant that cannot be folded because zero padding interrupts it is c times a picture of the padding, the same
    picture for every constant: one carrier with the sum of all their weights, scaled, does for all of them.
    """
    value, x = node.inputs[1], node.inputs[0]
    assert value is not None
    assert x is not None
    present = (contracted(node, weight_array(value)) != 0).any(2)
    group = len(rows) // max(1, len(rows) // (node.attributes.get_int("group", 1) or 1)) if kind(node) == "Conv" else 1
    arriving = channel_constants(constants, x, read_axis(node), present.shape[1] * group).reshape(group, -1)
    folds, steady = fold_site(node), ~np.isnan(arriving).any(0)
    carriers = (
        steady & (arriving != 0).all(0) & (not folds and value.const_value is not None and len(value.uses()) == 1)
    )
    read_by = np.packbits(present, axis=1).reshape(group, len(present) // group, -1)
    return Site(node, read, rows, read_by, arriving, folds, carriers)


def summands(model: Model, channels: Channels, constants: Constants, live: Set[str]) -> Iterator[Labels]:
    """The labels that a live node sums products of and that are not zero on either side."""
    nodes = {str(n.name): n for n in model.graph}
    for meeting in channels.meetings:
        if meeting.node in live:
            zero = np.zeros(len(meeting.labels), bool)
            for index, axis in meeting.places:
                value = nodes[meeting.node].inputs[index]
                assert value is not None
                zero |= channel_constants(constants, value, axis, len(zero)) == 0
            yield meeting.labels[~zero]


def combined(channels: Channels, live: Set[str]) -> Iterator[Labels]:
    """The labels that a live node combines: leaving one out would change the others."""
    yield from (mix.labels for mix in channels.mixes if mix.node in live)


def needed(channels: Channels, places: list[Site], used: Iterable[Labels]) -> Alive:
    """The least set of channels that has to stay; every label of one channel alike. Cost: a few passes over the sites.

    Args:
        channels: of the model.
        places: where channels are read through weights.
        used: labels that are read otherwise.
    """
    alive = np.zeros(len(channels.roots), bool)
    alive[0] = True
    for labels in used:
        alive[channels.roots[labels]] = True
    while True:
        before = alive.sum()
        for place in reversed(places):
            wanted, _ = place.reached(alive[channels.roots[place.rows]])
            alive[channels.roots[place.read.labels[wanted]]] = True
        if alive.sum() == before and not add_carriers(channels, places, alive):
            return alive[channels.roots]


def add_carriers(channels: Channels, places: list[Site], alive: Alive) -> bool:
    """Wherever constants have to be stood for and no carrier is alive yet, let one live; was there such a place?"""
    before = alive.sum()
    for place in places:
        _, carried = place.reached(alive[channels.roots[place.rows]])
        if carried.any() and carrier(channels, place, alive) is None:
            alive[channels.roots[place.read.labels[strongest(place, place.carriers)]]] = True
    return bool(alive.sum() > before)


def carrier(channels: Channels, place: Site, alive: Alive) -> int | None:
    """The channel, by its position along the weight's input axis, that stands for the dead constants of a place."""
    living = place.carriers & alive[channels.roots[place.read.labels]]
    return strongest(place, living) if living.any() else None


def strongest(place: Site, among: NDArray[np.bool_]) -> int:
    """Of some carriers the one that the others' weights have to be scaled up least for."""
    return int(np.argmax(np.where(among, np.abs(place.arriving).min(0), -1.0)))
