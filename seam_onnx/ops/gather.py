"""Gather, embedding look-up, and their kin.

With constant indices along an axis with channels the survivors are picked and the indices re-based. With indices that
depend on data a weight is a table: its rows stay, the columns are channels.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.errors import SeamError
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Walk, compress, none

__all__ = ["GATHER"]


def gather_axis(node: ir.Node, rank: int) -> int:
    """The axis from which a Gather takes."""
    return int(node.attributes.get_int("axis", 0) or 0) % rank


def couple_gather(walk: Walk, node: ir.Node) -> None:
    """Table look-up, picking of channels, or picking along an axis without channels."""
    x, index = node.inputs
    assert x is not None
    assert index is not None
    axis = gather_axis(node, len(walk.dims(x)))
    if walk.constant(x):
        look_up(walk, node, x, axis)
        return
    labels, chosen = walk.labels(x), walk.array(index)
    if walk.extent(x)[axis] == 1:
        spread = [*labels.shape[:axis], *(1,) * len(walk.dims(index)), *labels.shape[axis + 1 :]]
        walk.set(node.outputs[0], labels.reshape(spread))
        return
    if chosen is None or index.const_value is None:
        raise SeamError(node.op_type, "picks channels by indices that are computed at run time", "export fixed indices")
    chosen = rebased(walk.survivors(x, axis), chosen)
    walk.contents(node, 1, chosen)
    dims = walk.dims(x)
    full = np.broadcast_to(labels, [dims[k] if k == axis else n for k, n in enumerate(labels.shape)])
    walk.set(node.outputs[0], compress(full.take(chosen, axis)))


def look_up(walk: Walk, node: ir.Node, table: ir.Value, axis: int) -> None:
    """Rows of a table (..., C) by index: fresh channels along its last axis."""
    dims, rank = walk.dims(table), len(walk.dims(node.outputs[0]))
    if axis == len(dims) - 1 or table.const_value is None or not table.const_value.dtype.is_floating_point():
        walk.set(node.outputs[0], none(rank))
        return
    made = walk.fresh(node, walk.original_dims(table)[-1])
    walk.bind(node, table, len(dims) - 1, made, "write")
    walk.set(node.outputs[0], made.reshape([-1 if k == rank - 1 else 1 for k in range(rank)]))


def rebased(survives: Array, chosen: Array) -> Array:
    """Indices among the survivors, those of the others left out (of an array of indices, whole lines)."""
    chosen = np.where(chosen < 0, chosen + len(survives), chosen)
    there = survives[chosen]
    for axis in range(chosen.ndim):
        lines = np.moveaxis(there, axis, 0).reshape(there.shape[axis], -1).any(1)
        chosen, there = chosen.compress(lines, axis), there.compress(lines, axis)
    return np.asarray((np.cumsum(survives) - 1)[chosen], np.int64)


def zero_gather(constants: Constants, node: ir.Node) -> None:
    """What is picked stays what it is."""
    x, index = node.inputs
    assert x is not None
    if constants.walk.constant(x) or index is None:
        return
    array, chosen, dims = constants.get(x), constants.walk.array(index), constants.walk.dims(x)
    axis = gather_axis(node, len(dims))
    if array.shape[axis] == 1:
        view = [*array.shape[:axis], *(1,) * len(constants.walk.dims(index)), *array.shape[axis + 1 :]]
        constants.set(node.outputs[0], array.reshape(view))
    elif chosen is not None:
        constants.set(node.outputs[0], compress(array.take(chosen, axis)))


def couple_refused(walk: Walk, node: ir.Node) -> None:
    """Elements are chosen one by one: the channels of every operand stay."""
    for value in node.inputs:
        if value is not None and not walk.constant(value):
            walk.pin(
                node, walk.labels(value), "chooses or orders single elements", "choose along an axis without channels"
            )
    for value in node.outputs:
        walk.set(value, none(len(walk.dims(value))))


def zero_refused(constants: Constants, node: ir.Node) -> None:
    """Nothing is known of the outputs."""


GATHER = Family("layout", couple_gather, zero_gather, "channels are picked; columns of an embedding table")
REFUSED = Family("selection", couple_refused, zero_refused, "nothing: single elements are chosen")


def indices(torch: Any, index: Any, x: Any, axis: int) -> Any:
    """Indices as a tensor beside x, counted from the front."""
    index = torch.as_tensor(index, device=x.device).long()
    return torch.where(index < 0, index + x.shape[axis], index)


@op("Gather", GATHER, example="i = Constant <value_ints: ints = [5, 0, 3]> ()\n y = Gather <axis: int = 1> (x, i)")
def gather(torch: Any, node: ir.Node, x: Any, index: Any) -> Any:
    """Slices of x along `axis`; the indices' own axes take its place."""
    x = torch.as_tensor(x)
    axis = gather_axis(node, x.ndim)
    index = indices(torch, index, x, axis)
    picked = torch.index_select(x, axis, index.reshape(-1))
    return picked.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


@op("GatherElements", REFUSED, since=11)
def gather_elements(torch: Any, node: ir.Node, x: Any, index: Any) -> Any:
    """Element by element along `axis`."""
    x = torch.as_tensor(x)
    axis = gather_axis(node, x.ndim)
    return torch.gather(x, axis, indices(torch, index, x, axis))


@op("CumSum", REFUSED, since=11)
def cum_sum(torch: Any, node: ir.Node, x: Any, axis: Any) -> Any:
    """Running sum, from the end where `reverse`, without the element itself where `exclusive`."""
    k = int(axis)
    x = x.flip(k) if node.attributes.get_int("reverse", 0) else x
    total = torch.cumsum(x, k, dtype=x.dtype)
    total = total - x if node.attributes.get_int("exclusive", 0) else total
    return total.flip(k) if node.attributes.get_int("reverse", 0) else total


@op("TopK", REFUSED, since=10)
def top_k(torch: Any, node: ir.Node, x: Any, k: Any) -> Any:
    """The k largest (or smallest) along an axis, and where they were; of equal ones the first."""
    axis, largest = node.attributes.get_int("axis", -1), bool(node.attributes.get_int("largest", 1))
    ordered = torch.sort(x, dim=axis, descending=largest, stable=True)
    return tuple(part.narrow(axis, 0, int(k.reshape(-1)[0])) for part in ordered)


def extreme(name: str) -> Any:
    """A lowering for the index of the largest or smallest element."""

    def lower(torch: Any, node: ir.Node, x: Any) -> Any:
        axis = node.attributes.get_int("axis", 0)
        last = node.attributes.get_int("select_last_index", 0)
        found = getattr(torch, name)(x.flip(axis) if last else x, axis, bool(node.attributes.get_int("keepdims", 1)))
        return x.shape[axis] - 1 - found if last else found

    return lower


op("ArgMax", REFUSED)(extreme("argmax"))
op("ArgMin", REFUSED)(extreme("argmin"))
