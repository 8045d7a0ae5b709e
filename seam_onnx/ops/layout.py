"""Ops that only move elements: what they do to data is what they do to labels and to constants.

Each entry has a *move*: a function from the operand's tensor (labels, or constants) to the outputs' tensors, in numpy.
It reads sizes from the walk, so in the small world it produces the small layout, and it reports the shape constants that
have to change.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.errors import ShapeError
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Walk, compress

__all__ = ["expanded", "layout", "reshape"]

Move = Callable[[Walk, ir.Node, Array], Sequence[Array]]


def layout(move: Move, prunable: str = "channels move with the data") -> Family:
    """The family of an op with one moving operand."""

    def couple(walk: Walk, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None
        if walk.constant(x):
            return
        for value, labels in zip(node.outputs, move(walk, node, walk.labels(x)), strict=False):
            walk.set(value, compress(labels))

    def zero(constants: Constants, node: ir.Node) -> None:
        x = node.inputs[0]
        if x is not None and not constants.walk.constant(x):
            for value, array in zip(node.outputs, move(constants.walk, node, constants.get(x)), strict=False):
                constants.set(value, compress(array))

    return Family("layout", couple, zero, prunable)


def expanded(array: Array, dims: Sequence[int], *axes: int) -> Array:
    """The tensor at full size along some axes."""
    return np.broadcast_to(array, [dims[k] if k in axes else n for k, n in enumerate(array.shape)])


def segments(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Split a reshape into independent pieces: runs of axes before and after with equal products."""
    pieces: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        a, b = [], []
        left = right = 1
        while True:
            if left <= right and i < len(before):
                left *= before[i]
                a.append(i)
                i += 1
            elif j < len(after):
                right *= after[j]
                b.append(j)
                j += 1
            else:
                break
            if left == right and b and a:
                break
        if left != right:
            raise ShapeError(
                "reshape", f"{list(before)} and {list(after)} hold different numbers", "check the model's shapes"
            )
        pieces.append((a, b))
    return pieces


def reshape(array: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """Reshape a broadcastable tensor as data of shape `before` is reshaped to `after`, expanding only where needed."""
    source: list[int] = [1] * len(before)
    target: list[int] = [1] * len(after)
    for a, b in segments(before, after):
        if any(array.shape[k] > 1 for k in a):
            for k in a:
                source[k] = before[k]
            for k in b:
                target[k] = after[k]
    return np.broadcast_to(array, source).reshape(target)


def move_reshape(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same elements in another shape."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    after = walk.dims(y)
    if node.op_type == "Reshape":
        walk.operand(node, 1, reshaped_sizes(walk, node, new_sizes(walk, node)))
    return [reshape(array, walk.dims(x), after)]


def reshaped_sizes(walk: Walk, node: ir.Node, sizes: dict[int, int]) -> dict[int, int]:
    """The changes to a Reshape's operand. Where one is computed and channels stand in the batch, -1 stands for both."""
    given, content = node.inputs[1], walk.array(node.inputs[1])
    if 0 not in sizes or given is None or given.const_value is not None or content is None:
        return sizes
    dims = walk.dims(node.outputs[0])
    return sizes | {k: dims[k] for k, size in enumerate(content) if size == -1} | {0: -1}


def new_sizes(walk: Walk, node: ir.Node) -> dict[int, int]:
    """Sizes by axis of the output that the operand does not say: those that differ from the original world's, or, where
    it is calculated, those that come out differently in this one. All others may depend on the batch, say."""
    y, operand = node.outputs[0], node.inputs[1]
    dims, original, here, there = walk.dims(y), walk.original_dims(y), walk.computed(operand), walk.array(operand)
    if here is None or there is None:
        return {axis: size for axis, size in enumerate(dims) if size != original[axis]}
    said, ahead = (2 if node.op_type == "Expand" else 1), len(dims) - len(here)
    pairs = [(ahead + k, n) for k, n in enumerate(here) if max(n, there[k]) >= said]
    return {axis: dims[axis] for axis, n in pairs if n != dims[axis]}


def move_transpose(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Transpose: axes in another order, reversed where none is given."""
    return [array.transpose(node.attributes.get_ints("perm", range(array.ndim)[::-1]))]


def move_expand(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Expand: broadcasting; labels broadcast by themselves, only the target shape has to follow."""
    y = node.outputs[0]
    after, shape = walk.dims(y), node.inputs[1]
    assert shape is not None
    ahead = len(after) - walk.dims(shape)[0]
    walk.operand(node, 1, {axis - ahead: size for axis, size in new_sizes(walk, node).items() if axis >= ahead})
    return [array.reshape((1,) * (len(after) - array.ndim) + array.shape)]


RESHAPE = layout(move_reshape)


@op("Reshape", RESHAPE, since=5, example="s = Constant <value_ints: ints = [0, -1]> ()\n y = Reshape(x, s)")
def lower_reshape(torch: Any, node: ir.Node, x: Any, shape: Any) -> Any:
    """0 copies the input's size (unless `allowzero`), -1 is inferred."""
    x = torch.as_tensor(x)
    sizes = [int(s) for s in shape.tolist()]
    if not node.attributes.get_int("allowzero", 0):
        sizes = [x.shape[k] if s == 0 else s for k, s in enumerate(sizes)]
    return x.reshape(sizes)


@op("Flatten", RESHAPE, example="y = Flatten(x)")
def flatten(torch: Any, node: ir.Node, x: Any) -> Any:
    """To two axes, split at `axis`."""
    axis = node.attributes.get_int("axis", 1)
    axis += x.ndim if axis < 0 else 0
    rows = 1
    for size in x.shape[:axis]:
        rows = rows * size
    return x.reshape(rows, -1) if axis else x.reshape(1, -1)


@op("Squeeze", RESHAPE, example="")
def squeeze(torch: Any, node: ir.Node, x: Any, axes: Any = None) -> Any:
    """Without some axes of size 1, or without all of them."""
    x = torch.as_tensor(x)
    given = node.attributes.get_ints("axes", None) if axes is None else axes.tolist()
    return x.squeeze() if given is None else x.squeeze(tuple(int(a) for a in given))


@op("Unsqueeze", RESHAPE)
def unsqueeze(torch: Any, node: ir.Node, x: Any, axes: Any = None) -> Any:
    """With new axes of size 1 at these places of the output."""
    given = list(node.attributes.get_ints("axes", ()) if axes is None else axes.tolist())
    x = torch.as_tensor(x)
    rank = x.ndim + len(given)
    for axis in sorted(int(a) % rank for a in given):
        x = x.unsqueeze(axis)
    return x


@op(
    "Transpose",
    layout(move_transpose),
    example="t = Transpose <perm: ints = [0, 2, 3, 1]> (x)\n y = Transpose <perm: ints = [0, 3, 1, 2]> (t)",
)
def transpose(torch: Any, node: ir.Node, x: Any) -> Any:
    """Axes in the order `perm`."""
    x = torch.as_tensor(x)
    return x.permute(list(node.attributes.get_ints("perm", range(x.ndim)[::-1])))


@op(
    "Expand",
    layout(move_expand),
    since=8,
    example="s = Constant <value_ints: ints = [1, 8, 1, 1]> ()\n y = Expand(x, s)",
)
def expand(torch: Any, node: ir.Node, x: Any, shape: Any) -> Any:
    """Broadcast with a shape, in both directions."""
    x = torch.as_tensor(x)
    return x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(int(s) for s in shape.tolist())))
