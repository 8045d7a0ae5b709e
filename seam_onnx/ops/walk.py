"""What an op's rules see of the graph while it is walked.

The same rules run in two worlds. In the *original* world they hand out labels, tie and bind them; in the *small* world,
with the dead labels gone from the fresh ones, they say where each surviving label arrives, which is how weights are
gathered and shape constants rewritten. A rule therefore never asks which world it is in: `dims`, `position` and `fresh`
answer for the world, `tie` and `pin` do nothing in the small one, `operand` and `attribute` nothing in the original.

A **label tensor** is an int64 array that broadcasts to the value's shape: 1 on every axis along which the label does not
vary, the batch among them. Label 0 means "no channel here".
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.quantized import stored

__all__ = ["Array", "Labels", "Role", "Walk", "compress", "none"]

Array = NDArray[Any]
Labels = NDArray[np.int64]
Role = Literal["read", "write", "affine", "carry"]
"""How an initializer axis relates to its labels. `read`: contracted against arriving channels, so zeros there remove
the channel's influence. `write`: makes the channel. `affine`: scales or shifts it, zeros there make it zero. `carry`:
goes with it but must keep its values (a variance, a divisor)."""


def compress(array: Array) -> Array:
    """The same array with size 1 along every axis on which nothing varies (NaN equals NaN)."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            first = array.take([0], axis)
            same = (array == first) | ((array != array) & (first != first))
            if same.all():
                array = first
    return array


def none(rank: int) -> Labels:
    """The label tensor of a value without channels."""
    return np.zeros((1,) * rank, np.int64)


class Walk(ABC):
    """One pass over the sorted graph; see the module's docstring."""

    opset: int
    whole_heads: bool = False
    """Do attention heads go as a whole, or does every head lose the same positions?"""

    @abstractmethod
    def dims(self, value: ir.Value) -> tuple[int, ...]:
        """Shape of the value in this world; raises ShapeError where it is unknown."""

    @abstractmethod
    def array(self, value: ir.Value | None) -> Array | None:
        """Contents of an initializer or of a value known before data arrives, else None."""

    @abstractmethod
    def computed(self, value: ir.Value | None) -> Array | None:
        """What a value that is calculated from sizes holds in this world at batch 1, None for any other value."""

    @abstractmethod
    def constant(self, value: ir.Value | None) -> bool:
        """Does the value not depend on data (or is it omitted)?"""

    @abstractmethod
    def labels(self, value: ir.Value) -> Labels:
        """Label tensor of a value already visited; all 0 for constants."""

    @abstractmethod
    def set(self, value: ir.Value, labels: Labels) -> None:
        """Give an output its labels."""

    @abstractmethod
    def fresh(self, node: ir.Node, count: int, slot: str = "") -> Labels:
        """New labels (count,) made by `node`; `slot` tells several of one node apart."""

    @abstractmethod
    def bind(self, node: ir.Node, value: ir.Value, axis: int, labels: Labels, role: Role) -> None:
        """Initializer `value` varies along `axis` with `labels` (one for each index there)."""

    def parts(self, node: ir.Node, value: ir.Value, axis: int, role: Role) -> list[tuple[ir.Node, ir.Value, int, Role]]:
        """What binding a weight means, as (node, initializer, axis, role): of a quantised one its scales as well."""
        form = stored(value)
        if form is None:
            return [(node, value, axis, role)]
        scales = [v for v in (form.scale, form.zero) if v is not None] if form.axis == axis else []
        return [(node, form.tensor, axis, role), *((form.node, scale, 0, "carry") for scale in scales)]

    @abstractmethod
    def tie(self, a: Labels, b: Labels) -> None:
        """Make channels one, element by element after broadcasting."""

    @abstractmethod
    def pin(self, node: ir.Node, labels: Labels, reason: str, unblock: str) -> None:
        """Forbid removal of these channels, with the reason and the next step that would lift it."""

    @abstractmethod
    def mix(self, node: ir.Node, axis: int, labels: Labels) -> None:
        """`node` combines the channels along an axis of its first operand, and means \"the kept ones only\"."""

    @abstractmethod
    def meet(self, node: ir.Node, labels: Labels, *places: tuple[int, int]) -> None:
        """`node` multiplies channels of two activations and sums over them; places are (operand, axis)."""

    @abstractmethod
    def work(self, node: ir.Node, unit: float, *axes: Labels) -> None:
        """`node` costs `unit` multiply-adds for each combination of one label from each of `axes`, at batch 1."""

    @abstractmethod
    def position(self, value: ir.Value, axis: int, index: int) -> int:
        """Where a boundary at `index` along an axis of the original lies in this world."""

    @abstractmethod
    def operand(self, node: ir.Node, index: int, entries: Mapping[int, int]) -> None:
        """Entry `k` of the node's integer operand `index` has to read `entries[k]` in this world."""

    @abstractmethod
    def attribute(self, node: ir.Node, name: str, number: int | float | Sequence[int]) -> None:
        """The node's attribute has to read `number` in this world."""

    @abstractmethod
    def contents(self, node: ir.Node, index: int, array: Array) -> None:
        """The node's integer operand `index` has to be `array` in this world."""

    @abstractmethod
    def survivors(self, value: ir.Value, axis: int) -> Array:
        """For each index along an axis of the original: is it still there in this world?"""

    @abstractmethod
    def original_dims(self, value: ir.Value) -> tuple[int, ...]:
        """Shape of the value in the original world, to which the node's own numbers refer."""

    @abstractmethod
    def extent(self, value: ir.Value) -> tuple[int, ...]:
        """Shape of the value's label tensor in the original world: which axes carry channels, also when one is left."""

    @abstractmethod
    def renormalises(self, node: ir.Node) -> bool:
        """May a Softmax over channels be taken to mean \"over the kept channels\"? Only where a head is cut."""

    @abstractmethod
    def same(self, labels: Labels) -> Labels:
        """The labels with ties applied: equal numbers for equal channels."""

    def full(self, value: ir.Value, *axes: int) -> Labels:
        """Labels expanded to the value's size along `axes` (all axes where none are named)."""
        dims, labels = self.dims(value), self.labels(value)
        target = [dims[k] if not axes or k in axes else labels.shape[k] for k in range(len(dims))]
        return np.broadcast_to(labels, target)

    def vector(self, value: ir.Value, axis: int) -> Labels:
        """Labels (dims[axis],) along one axis; where they also vary along others, those are tied."""
        axis %= len(self.dims(value))
        rows = np.moveaxis(self.full(value, axis), axis, 0).reshape(self.dims(value)[axis], -1)
        if rows.shape[1] > 1:
            self.tie(np.broadcast_to(rows[:, :1], rows.shape), rows)
        return rows[:, 0]

    def varying(self, labels: Labels) -> list[int]:
        """Axes along which there is more than one channel."""
        return [k for k, n in enumerate(compress(self.same(labels)).shape) if n > 1]

    def box(self, labels: Labels) -> None:
        """Make labels a box: tie along all varying axes but the one that leaves the most channels."""
        while len(axes := self.varying(labels)) > 1:
            self.unite(labels, min(axes, key=lambda k: (self.count(labels, k), k)))

    def count(self, labels: Labels, axis: int) -> int:
        """How many different channels stand along one line of an axis."""
        line = np.moveaxis(self.same(labels), axis, 0).reshape(labels.shape[axis], -1)[:, 0]
        return len(np.unique(line))

    def prefer(self, labels: Labels, axes: Sequence[int], heads: Sequence[int]) -> int:
        """Of the axes of a box that something reads, the one along which channels are kept apart."""
        return max(heads if self.whole_heads and heads else axes, key=lambda k: (self.count(labels, k), k))

    def unite(self, labels: Labels, axis: int) -> None:
        """Tie the channels that stand along one axis, for each place on the others."""
        self.tie(np.broadcast_to(labels.take([0], axis), labels.shape), labels)

    def ints(self, node: ir.Node, name: str, index: int) -> list[int] | None:
        """Integers given as an attribute in old opsets, as an operand in new ones; None where absent or unknown."""
        if name in node.attributes:
            return [int(i) for i in node.attributes.get_ints(name) or ()]
        if index < len(node.inputs) and node.inputs[index] is not None:
            array = self.array(node.inputs[index])
            return None if array is None else [int(i) for i in array.reshape(-1)]
        return None
