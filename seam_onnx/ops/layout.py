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
from seam_onnx.ops.registry import Constants, Family, op, tensors
from seam_onnx.ops.walk import Array, Walk, compress, none

__all__ = ["reshape"]

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
            raise ShapeError("reshape", f"{list(before)} and {list(after)} hold different numbers", "check the model's shapes")
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
        walk.operand(node, 1, new_sizes(walk, y))
    return [reshape(array, walk.dims(x), after)]


def new_sizes(walk: Walk, value: ir.Value) -> dict[int, int]:
    """Sizes by axis where they differ from the original world's: the others may be computed, from the batch say."""
    pairs = zip(walk.dims(value), walk.original_dims(value), strict=True)
    return {axis: size for axis, (size, original) in enumerate(pairs) if size != original}


def move_transpose(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Transpose: axes in another order, reversed where none is given."""
    return [array.transpose(node.attributes.get_ints("perm", range(array.ndim)[::-1]))]


def move_split(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Split: consecutive pieces along an axis."""
    x = node.inputs[0]
    assert x is not None
    axis = (node.attributes.get_int("axis", 0) or 0) % array.ndim
    sizes = [walk.dims(y)[axis] for y in node.outputs]
    if array.shape[axis] == walk.extent(x)[axis] == 1:
        return [array] * len(sizes)
    array = expanded(array, walk.dims(x), axis)
    if sizes == [walk.original_dims(y)[axis] for y in node.outputs]:
        pass
    elif walk.opset < 13:
        walk.attribute(node, "split", sizes)
    else:
        walk.operand(node, 1, dict(enumerate(sizes)))
    return np.split(array, np.cumsum(sizes)[:-1], axis)


def bounds(walk: Walk, node: ir.Node) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps of a Slice, of any opset."""
    starts, ends = walk.ints(node, "starts", 1), walk.ints(node, "ends", 2)
    if starts is None or ends is None:
        raise ShapeError(f"node {node.name!r} (Slice)", "its bounds depend on data", "export with fixed bounds")
    axes = walk.ints(node, "axes", 3) or list(range(len(starts)))
    return starts, ends, axes, walk.ints(node, "steps", 4) or [1] * len(starts)


def move_slice(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Slice: where channels vary along a sliced axis its bounds count the surviving ones; steps other than 1 pin."""
    x = node.inputs[0]
    assert x is not None
    starts, ends, axes, steps = bounds(walk, node)
    new_starts, new_ends = {}, {}
    for k, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        axis %= array.ndim
        if array.shape[axis] == walk.extent(x)[axis] == 1:
            continue
        if step != 1:
            raise ShapeError(f"node {node.name!r} (Slice)", "steps over channels", "nothing to do")
        array = expanded(array, walk.dims(x), axis)
        size = walk.position(x, axis, 1 << 62)
        low, high, _ = slice(start, end).indices(walk.original_dims(x)[axis])
        new_starts[k], new_ends[k] = walk.position(x, axis, low), walk.position(x, axis, high)
        index = [slice(None)] * array.ndim
        index[axis] = slice(new_starts[k], min(new_ends[k], size))
        array = array[tuple(index)]
    rewrite_bounds(walk, node, 1, "starts", starts, new_starts)
    rewrite_bounds(walk, node, 2, "ends", ends, new_ends)
    return [array]


def rewrite_bounds(walk: Walk, node: ir.Node, index: int, name: str, bounds: list[int], changed: dict[int, int]) -> None:
    """Put changed bounds where the opset has them: in an attribute before 10, in an operand since."""
    if name in node.attributes:
        walk.attribute(node, name, [changed.get(k, bound) for k, bound in enumerate(bounds)])
    else:
        walk.operand(node, index, changed)


def move_expand(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Expand: broadcasting; labels broadcast by themselves, only the target shape has to follow."""
    y = node.outputs[0]
    after, shape = walk.dims(y), node.inputs[1]
    assert shape is not None
    ahead = len(after) - walk.dims(shape)[0]
    walk.operand(node, 1, {axis - ahead: size for axis, size in new_sizes(walk, y).items() if axis >= ahead})
    return [array.reshape((1,) * (len(after) - array.ndim) + array.shape)]


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
    guide = next((g for g in guides if g.any()), guides[0])
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
        walk.pin(node, labels, "padding depends on data, or crops channels")
        walk.set(y, none(labels.ndim))
        return
    changed: dict[int, int] = {}
    axes = walk.ints(node, "", 3) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    order = [a % labels.ndim for a in axes] if axes is not None else list(range(labels.ndim))
    constant_mode = node.attributes.get_string("mode", "constant") == "constant"
    for axis in range(labels.ndim):
        if extent[axis] > 1 and (pads[0][axis] or pads[1][axis]):
            if not constant_mode:
                walk.pin(node, labels, "pads channels with copies of channels")
            before, after = walk.fresh(node, pads[0][axis], f"begin{axis}"), walk.fresh(node, pads[1][axis], f"end{axis}")
            changed |= {order.index(axis): len(before), order.index(axis) + len(order): len(after)}
            view = [-1 if k == axis else 1 for k in range(labels.ndim)]
            labels = expanded(labels, walk.dims(x), axis)
            sides = [np.broadcast_to(v.reshape(view), [len(v) if k == axis else n for k, n in enumerate(labels.shape)]) for v in (before, after)]
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
    if pads is None or node.attributes.get_string("mode", "constant") != "constant":
        return
    fill_value = node.inputs[2] if len(node.inputs) > 2 else None
    content = constants.walk.array(fill_value) if fill_value is not None else None
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


RESHAPE = layout(move_reshape)
CONCAT = Family("layout", couple_concat, zero_concat, "channels of every operand")
PAD = Family("layout", couple_pad, zero_pad, "padded channels are channels of their own")


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


@op("Transpose", layout(move_transpose), example="t = Transpose <perm: ints = [0, 2, 3, 1]> (x)\n y = Transpose <perm: ints = [0, 3, 1, 2]> (t)")
def transpose(torch: Any, node: ir.Node, x: Any) -> Any:
    """Axes in the order `perm`."""
    x = torch.as_tensor(x)
    return x.permute(list(node.attributes.get_ints("perm", range(x.ndim)[::-1])))


@op("Split", layout(move_split), since=2, example="s, t = Split <axis: int = 1, num_outputs: int = 2> (x)\n y = Concat <axis: int = 1> (t, s)")
def split(torch: Any, node: ir.Node, x: Any, sizes: Any = None) -> Any:
    """Consecutive pieces: of given sizes, or as equal as `num_outputs` allows (the last may be smaller)."""
    axis = node.attributes.get_int("axis", 0)
    given = node.attributes.get_ints("split", None) if sizes is None else sizes.tolist()
    if given is None:
        return torch.split(x, -(-x.shape[axis] // len(node.outputs)), axis)
    return torch.split(x, [int(s) for s in given], axis)


@op("Slice", layout(move_slice), example="a = Constant <value_ints: ints = [2]> ()\n b = Constant <value_ints: ints = [7]> ()\n c = Constant <value_ints: ints = [1]> ()\n y = Slice(x, a, b, c)")
def lower_slice(torch: Any, node: ir.Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    """Ranges along axes; a negative step flips."""
    first = list(node.attributes.get_ints("starts", ()) if starts is None else starts.tolist())
    last = list(node.attributes.get_ints("ends", ()) if ends is None else ends.tolist())
    along = node.attributes.get_ints("axes", range(len(first))) if axes is None else axes.tolist()
    by = [1] * len(first) if steps is None else steps.tolist()
    x = torch.as_tensor(x)
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        low, high, _ = slice(int(start), int(end), int(step)).indices(x.shape[int(axis)])
        if step > 0:
            x = x.narrow(int(axis), low, max(0, high - low))
            x = x if step == 1 else x[(slice(None),) * (int(axis) % x.ndim) + (slice(None, None, int(step)),)]
        else:
            x = x.index_select(int(axis), torch.arange(low, high, int(step), device=x.device))
    return x


@op("Expand", layout(move_expand), since=8, example="s = Constant <value_ints: ints = [1, 8, 1, 1]> ()\n y = Expand(x, s)")
def expand(torch: Any, node: ir.Node, x: Any, shape: Any) -> Any:
    """Broadcast with a shape, in both directions."""
    x = torch.as_tensor(x)
    return x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(int(s) for s in shape.tolist())))


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
