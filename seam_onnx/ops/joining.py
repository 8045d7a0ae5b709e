"""Concat and Pad: tensors put beside each other, or beside constants.

Along the axis on which they are put together labels stand one after the other; along all others the operands are one.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.layout import expanded
from seam_onnx.ops.registry import Constants, Family, op, tensors
from seam_onnx.ops.walk import Array, Walk, compress, none

__all__ = ["CONCAT", "PAD"]


def couple_concat(walk: Walk, node: ir.Node) -> None:
    """Concat: labels one after the other; along the other axes the operands are one. Constants are bound there.

    Where channels stand along both, those along the other axes are tied: the result stays a box.
    """
    dims = walk.dims(node.outputs[0])
    axis = node.attributes.get_int("axis", 1) % len(dims)
    parts = [(value, walk.full(value, axis)) for value in node.inputs if value is not None]
    along = any(walk.extent(v)[axis] > 1 for v, _ in parts)
    beside = {k for v, _ in parts for k, n in enumerate(walk.extent(v)) if k != axis and n > 1}
    shape = [max(part.shape[k] for _, part in parts) for k in range(len(dims))]
    guides = [p.take([0], axis) for v, p in parts if not walk.constant(v) and p.shape[axis]]
    guide = next((g for g in guides if g.any()), none(len(dims)))
    pieces = []
    for value, part in parts:
        size = [part.shape[k] if k == axis else shape[k] for k in range(len(dims))]
        if walk.constant(value) and beside and not along:
            bind_beside(walk, node, value, guide, beside)
            part = guide
        elif beside and not along:
            walk.tie(np.broadcast_to(guide, size), np.broadcast_to(part, size))
        pieces.append(np.broadcast_to(part, size))
    labels = np.concatenate(pieces, axis)
    walk.box(labels)
    walk.set(node.outputs[0], labels)


def bind_beside(walk: Walk, node: ir.Node, value: ir.Value, labels: Array, axes: set[int]) -> None:
    """Bind a concatenated constant along the axes on which the others' channels vary."""
    for k in axes:
        walk.bind(node, value, k, np.moveaxis(labels, k, 0).reshape(labels.shape[k], -1)[:, 0], "affine")


def zero_concat(constants: Constants, node: ir.Node) -> None:
    """Constants one after the other."""
    walk = constants.walk
    axis = node.attributes.get_int("axis", 1) % len(walk.dims(node.outputs[0]))
    parts = [expanded(constants.get(v), walk.dims(v), axis) for v in node.inputs if v is not None]
    shape = [max(p.shape[k] for p in parts) for k in range(parts[0].ndim)]
    pieces = [np.broadcast_to(p, [p.shape[k] if k == axis else n for k, n in enumerate(shape)]) for p in parts]
    constants.set(node.outputs[0], compress(np.concatenate(pieces, axis)))


def padding(walk: Walk, node: ir.Node, rank: int) -> tuple[list[int], list[int]] | None:
    """Pads of every axis: (begins, ends); None where they depend on data."""
    pads = walk.ints(node, "pads", 1)
    if pads is None:
        return None
    axes = walk.ints(node, "", 3) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    begins, ends = [0] * rank, [0] * rank
    for k, axis in enumerate(range(rank) if axes is None else axes):
        begins[axis % rank], ends[axis % rank] = pads[k], pads[k + len(pads) // 2]
    return begins, ends


def couple_pad(walk: Walk, node: ir.Node) -> None:
    """Pad: along an axis with channels the padding is new channels; they go with what they are added to."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    labels = walk.labels(x)
    pads, extent = padding(walk, node, labels.ndim), walk.extent(x)
    if pads is None or (any(extent[k] > 1 and (pads[0][k] < 0 or pads[1][k] < 0) for k in range(labels.ndim))):
        walk.pin(
            node, labels, "padding depends on data, or crops channels", "export fixed pads, and no crop of channels"
        )
        walk.set(y, none(labels.ndim))
        return
    changed: dict[int, int] = {}
    axes = walk.ints(node, "", 3) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    order = [a % labels.ndim for a in axes] if axes is not None else list(range(labels.ndim))
    constant_mode = node.attributes.get_string("mode", "constant") == "constant"
    for axis in range(labels.ndim):
        if extent[axis] > 1 and (pads[0][axis] or pads[1][axis]):
            before, after = (
                walk.fresh(node, pads[0][axis], f"begin{axis}"),
                walk.fresh(node, pads[1][axis], f"end{axis}"),
            )
            for each in (labels, before, after) if not constant_mode else ():
                walk.pin(node, each, "pads channels with copies of channels", "pad them with a constant")
            changed |= {order.index(axis): len(before), order.index(axis) + len(order): len(after)}
            view = [-1 if k == axis else 1 for k in range(labels.ndim)]
            labels = expanded(labels, walk.dims(x), axis)
            sides = [
                np.broadcast_to(v.reshape(view), [len(v) if k == axis else n for k, n in enumerate(labels.shape)])
                for v in (before, after)
            ]
            labels = np.concatenate([sides[0], labels, sides[1]], axis)
    if "pads" in node.attributes:
        walk.attribute(node, "pads", [changed.get(k, p) for k, p in enumerate(node.attributes.get_ints("pads") or ())])
    else:
        walk.operand(node, 1, changed)
    walk.set(y, labels)


def zero_pad(constants: Constants, node: ir.Node) -> None:
    """Padded channels are the fill value; a channel padded within itself stays constant only if it equals the fill."""
    x = node.inputs[0]
    assert x is not None
    array, dims = constants.get(x), constants.walk.dims(x)
    pads = padding(constants.walk, node, array.ndim)
    fill_value = node.inputs[2] if len(node.inputs) > 2 else None
    content = constants.walk.array(fill_value)
    if pads is None or node.attributes.get_string("mode", "constant") != "constant" or (fill_value and content is None):
        return
    fill = float(node.attributes.get_float("value", 0.0) or 0.0) if content is None else float(content.reshape(-1)[0])
    for axis in range(array.ndim):
        if pads[0][axis] or pads[1][axis]:
            if array.shape[axis] == 1 and (array == fill).all():
                continue
            array = expanded(array, dims, axis)
            width = [(pads[0][axis], pads[1][axis]) if k == axis else (0, 0) for k in range(array.ndim)]
            if min(width[axis]) < 0:
                return
            array = np.pad(array, width, constant_values=fill)
    constants.set(node.outputs[0], compress(array))


CONCAT = Family("layout", couple_concat, zero_concat, "channels of every operand")
PAD = Family("layout", couple_pad, zero_pad, "padded channels are channels of their own")


@op("Concat", CONCAT, since=4, example="y = Concat <axis: int = 1> (x, z)")
def concat(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """One after the other along `axis`."""
    return torch.cat(tensors(torch, inputs), node.attributes.get_int("axis", 1))


@op("Pad", PAD, since=2, example="p = Constant <value_ints: ints = [0, 2, 1, 1, 0, 1, 1, 1]> ()\n y = Pad(x, p)")
def pad(torch: Any, node: ir.Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    """Constant, reflect or edge padding; negative amounts crop."""
    amounts = [int(p) for p in (node.attributes.get_ints("pads", ()) if pads is None else pads.tolist())]
    half = len(amounts) // 2
    where = [int(a) % x.ndim for a in axes.tolist()] if axes is not None else list(range(half))
    pairs = [0] * (2 * x.ndim)
    for k, axis in enumerate(where):
        pairs[2 * (x.ndim - 1 - axis)], pairs[2 * (x.ndim - 1 - axis) + 1] = amounts[k], amounts[k + half]
    mode = node.attributes.get_string("mode", "constant")
    if mode == "constant":
        fill = node.attributes.get_float("value", 0.0) if value is None else float(value)
        return torch.nn.functional.pad(x, pairs, value=fill)
    while len(pairs) > 2 and not pairs[-1] and not pairs[-2]:
        pairs = pairs[:-2]
    return torch.nn.functional.pad(x, pairs, mode={"edge": "replicate", "wrap": "circular"}.get(mode, mode))
