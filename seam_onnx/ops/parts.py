"""Ops that take parts of an axis: Split and Slice. Their sizes and bounds count the channels that are left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.errors import ShapeError
from seam_onnx.ops.layout import expanded, layout
from seam_onnx.ops.registry import op
from seam_onnx.ops.walk import Array, Walk

__all__: list[str] = []


def bounds(walk: Walk, node: ir.Node) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps of a Slice, of any opset."""
    starts, ends = walk.ints(node, "starts", 1), walk.ints(node, "ends", 2)
    if starts is None or ends is None:
        raise ShapeError(f"node {node.name!r} (Slice)", "its bounds depend on data", "export with fixed bounds")
    axes = walk.ints(node, "axes", 3) or list(range(len(starts)))
    return starts, ends, axes, walk.ints(node, "steps", 4) or [1] * len(starts)


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


def rewrite_bounds(
    walk: Walk, node: ir.Node, index: int, name: str, bounds: list[int], changed: dict[int, int]
) -> None:
    """Put changed bounds where the opset has them: in an attribute before 10, in an operand since."""
    if name in node.attributes:
        walk.attribute(node, name, [changed.get(k, bound) for k, bound in enumerate(bounds)])
    else:
        walk.operand(node, index, changed)


@op(
    "Split",
    layout(move_split),
    since=2,
    example="s, t = Split <axis: int = 1, num_outputs: int = 2> (x)\n y = Concat <axis: int = 1> (t, s)",
)
def split(torch: Any, node: ir.Node, x: Any, sizes: Any = None) -> Any:
    """Consecutive pieces: of given sizes, or as equal as `num_outputs` allows (the last may be smaller)."""
    axis = node.attributes.get_int("axis", 0)
    given = node.attributes.get_ints("split", None) if sizes is None else sizes.tolist()
    if given is None:
        return torch.split(x, -(-x.shape[axis] // len(node.outputs)), axis)
    return torch.split(x, [int(s) for s in given], axis)


@op(
    "Slice",
    layout(move_slice),
    example="a = Constant <value_ints: ints = [2]> ()\n b = Constant <value_ints: ints = [7]> ()\n"
    " c = Constant <value_ints: ints = [1]> ()\n y = Slice(x, a, b, c)",
)
def lower_slice(
    torch: Any, node: ir.Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Any:
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
