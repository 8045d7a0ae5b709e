"""Ops that change the spatial grid, and those that trade channels for it.

DepthToSpace and SpaceToDepth move elements, so they are layout: their labels move with the data. Resize leaves channels
alone; where its sizes name the channel axis, the count follows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.errors import ShapeError
from seam_onnx.ops.layout import layout
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Walk, compress, none

__all__ = ["RESIZE"]


def resized_axes(walk: Walk, node: ir.Node) -> list[int]:
    """Axes along which the size changes, or the entries may move."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    before, after = walk.original_dims(x), walk.original_dims(y)
    return [k for k in range(len(before)) if before[k] != after[k]]


def couple_resize(walk: Walk, node: ir.Node) -> None:
    """Channels pass; a size given for their axis follows."""
    x = node.inputs[0]
    assert x is not None
    labels, extent = walk.labels(x), walk.extent(x)
    if any(extent[k] > 1 for k in resized_axes(walk, node)):
        walk.pin(node, labels, "interpolates between channels", "resize the spatial axes alone")
        labels = none(labels.ndim)
    elif len(node.inputs) > 3 and node.inputs[3] is not None:
        given = node.attributes.get_ints("axes", None) or range(labels.ndim)
        dims = walk.dims(x)
        order = {axis % labels.ndim: k for k, axis in enumerate(given)}
        walk.operand(node, 3, {order[k]: dims[k] for k in range(labels.ndim) if extent[k] > 1 and k in order})
    walk.set(node.outputs[0], labels)


def zero_resize(constants: Constants, node: ir.Node) -> None:
    """Interpolation between equal numbers gives that number, but where the grid reaches outside the input."""
    x = node.inputs[0]
    assert x is not None
    outside = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    array = constants.get(x)
    if not outside and all(array.shape[k] == 1 for k in resized_axes(constants.walk, node)):
        constants.set(node.outputs[0], compress(array))


def rearranged(array: Array, dims: Sequence[int], node: ir.Node) -> tuple[Array, int]:
    """The tensor (1 or N, C, H, W) at full size along channels and space, and the block size."""
    return np.broadcast_to(array, (array.shape[0], *dims[1:])), node.attributes.get_int("blocksize")


def move_depth_to_space(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Blocks of channels become blocks of space (https://onnx.ai/onnx/operators/onnx__DepthToSpace.html)."""
    x = node.inputs[0]
    assert x is not None
    if array.size == 1:
        return [array]
    full, b = rearranged(array, walk.dims(x), node)
    n, c, h, w = full.shape
    if node.attributes.get_string("mode", "DCR") == "DCR":
        split = full.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        split = full.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return [split.reshape(n, c // b**2, h * b, w * b)]


def move_space_to_depth(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Blocks of space become blocks of channels."""
    x = node.inputs[0]
    assert x is not None
    if array.size == 1:
        return [array]
    full, b = rearranged(array, walk.dims(x), node)
    n, c, h, w = full.shape
    order = (0, 1, 3, 5, 2, 4) if node.attributes.get_string("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    split = full.reshape(n, c, h // b, b, w // b, b).transpose(order)
    return [split.reshape(n, c * b**2, h // b, w // b)]


def move_tile(walk: Walk, node: ir.Node, array: Array) -> Sequence[Array]:
    """Copies one after the other; labels repeat along an axis that has some."""
    repeats = walk.array(node.inputs[1])
    x = node.inputs[0]
    assert x is not None
    if repeats is None:
        raise ShapeError(f"node {node.name!r} (Tile)", "its repeats depend on data", "export with fixed repeats")
    varying = [max(pair) > 1 for pair in zip(walk.extent(x), array.shape, strict=True)]
    return [np.tile(array, [int(r) if varies else 1 for r, varies in zip(repeats, varying, strict=True)])]


RESIZE = Family("pooling", couple_resize, zero_resize, "channels pass")


@op("DepthToSpace", layout(move_depth_to_space), since=11, example="y = DepthToSpace <blocksize: int = 2> (x)")
def depth_to_space(torch: Any, node: ir.Node, x: Any) -> Any:
    """Blocks of channels become blocks of space, depth or columns first."""
    b = node.attributes.get_int("blocksize")
    if node.attributes.get_string("mode", "DCR") == "CRD":
        return torch.nn.functional.pixel_shuffle(x, b)
    n, c, h, w = x.shape
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth", layout(move_space_to_depth), example="y = SpaceToDepth <blocksize: int = 2> (x)")
def space_to_depth(torch: Any, node: ir.Node, x: Any) -> Any:
    """Blocks of space become blocks of channels."""
    b = node.attributes.get_int("blocksize")
    n, c, h, w = x.shape
    order = (0, 1, 3, 5, 2, 4) if node.attributes.get_string("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).permute(order).reshape(n, c * b**2, h // b, w // b)


@op("Tile", layout(move_tile), since=6, example="r = Constant <value_ints: ints = [1, 1, 2, 1]> ()\n y = Tile(x, r)")
def tile(torch: Any, node: ir.Node, x: Any, repeats: Any) -> Any:
    """Copies along every axis."""
    return torch.tile(torch.as_tensor(x), tuple(int(r) for r in repeats.tolist()))


@op("Resize", RESIZE, since=11)
def resize(torch: Any, node: ir.Node, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """Nearest or linear interpolation on a grid (https://onnx.ai/onnx/operators/onnx__Resize.html)."""
    for name in ("antialias", "exclude_outside"):
        if node.attributes.get_int(name, 0):
            raise NotImplementedError(f"Resize with {name}")
    if node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotImplementedError("Resize that keeps the aspect ratio")
    mode = node.attributes.get_string("mode", "nearest")
    given = [int(a) % x.ndim for a in node.attributes.get_ints("axes", None) or range(x.ndim)]
    if sizes is not None and len(sizes):
        factors = {axis: int(s) / x.shape[axis] for axis, s in zip(given, sizes.tolist(), strict=True)}
        target = {axis: int(s) for axis, s in zip(given, sizes.tolist(), strict=True)}
    else:
        factors = {axis: float(s) for axis, s in zip(given, scales.tolist(), strict=True)}
        target = {axis: int(x.shape[axis] * f) for axis, f in factors.items()}
    if mode == "cubic":
        if any(abs(x.shape[axis] * factor - target[axis]) > 1e-3 for axis, factor in factors.items()):
            raise NotImplementedError("cubic Resize to no whole number of elements")
        return cubic(torch, node, x, target)
    for axis, size in target.items():
        if size != x.shape[axis] or factors[axis] != 1:
            x = along_axis(torch, node, x, axis, size, factors[axis], mode)
    return x


def cubic(torch: Any, node: ir.Node, x: Any, target: dict[int, int]) -> Any:
    """Cubic interpolation by torch's own, on the last two axes, in the grids that torch has."""
    grid = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    size = tuple(target.get(k, x.shape[k]) for k in range(x.ndim))
    if (
        x.ndim != 4
        or size[:2] != tuple(x.shape[:2])
        or grid not in ("half_pixel", "pytorch_half_pixel", "align_corners")
    ):
        raise NotImplementedError(f"cubic Resize with {grid}")
    return torch.nn.functional.interpolate(x, size[2:], mode="bicubic", align_corners=grid == "align_corners")


def along_axis(torch: Any, node: ir.Node, x: Any, axis: int, size: int, factor: float, mode: str) -> Any:
    """Interpolate one axis: where each output coordinate lies in the input, and what is read there."""
    length = x.shape[axis]
    place = grid(torch, node, size, length, factor).to(x.device)
    if mode == "nearest":
        return x.index_select(axis, rounded(torch, node, place).clamp(0, length - 1).long())
    place = place.clamp(0, length - 1)
    low = place.floor().long().clamp(0, length - 1)
    high = (low + 1).clamp(0, length - 1)
    share = (place - low).to(x.dtype).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share


def plain(node: ir.Node) -> bool:
    """Is it of an opset, up to 10, in which a Resize says nothing of its grid? Those have no operand before scales."""
    return len(node.inputs) < 3


def grid(torch: Any, node: ir.Node, size: int, length: int, factor: float) -> Any:
    """Coordinates in the input of each output coordinate, float64 (size,)."""
    mode = node.attributes.get_string("coordinate_transformation_mode", "asymmetric" if plain(node) else "half_pixel")
    out = torch.arange(size, dtype=torch.float64)
    if mode == "asymmetric":
        return out / factor
    if mode == "align_corners":
        return out * ((length - 1) / (size - 1) if size > 1 else 0.0)
    if mode == "pytorch_half_pixel" and size == 1:
        return out * 0
    if mode == "half_pixel_symmetric":
        adjustment = size / (factor * length)
        return length / 2 * (1 - adjustment) + (out + 0.5) / factor - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (out + 0.5) / factor - 0.5
    raise NotImplementedError(f"Resize with {mode}")


def rounded(torch: Any, node: ir.Node, place: Any) -> Any:
    """Which neighbour `nearest` takes."""
    mode = node.attributes.get_string("nearest_mode", "floor" if plain(node) else "round_prefer_floor")
    if mode == "round_prefer_floor":
        return torch.ceil(place - 0.5)
    if mode == "round_prefer_ceil":
        return torch.floor(place + 0.5)
    return torch.floor(place) if mode == "floor" else torch.ceil(place)


@op("Resize", RESIZE, since=10, until=10)
@op("Upsample", RESIZE, since=7, until=9)
def upsample(torch: Any, node: ir.Node, x: Any, scales: Any = None) -> Any:
    """Resize of old opsets."""
    given = node.attributes.get_floats("scales", None) if scales is None else scales.tolist()
    mode = node.attributes.get_string("mode", "nearest")
    for axis, factor in enumerate(given or ()):
        if factor != 1:
            x = along_axis(torch, node, x, axis, int(x.shape[axis] * factor), float(factor), mode)
    return x
