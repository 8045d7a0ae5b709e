"""Ops that contract channels against a weight: Conv, Gemm (and MatMul, see there). Here new channels are born.

The weight's input axis is bound to the channels that arrive (`read`), its output axis and the bias to fresh ones
(`write`). A grouped convolution reads a box: either whole blocks go (`group=` falls; a depthwise convolution is the case
of blocks of one channel) or the same positions in every block, whichever leaves more channels to choose from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.constants import zero_contraction
from seam_onnx.ops.mixing import mix_axes
from seam_onnx.ops.registry import Family, op
from seam_onnx.ops.walk import Labels, Walk, none
from seam_onnx.quantized import is_weight

__all__ = ["conv", "couple_conv", "family", "finish", "padded", "same_padding", "weight_of"]


def along(labels: Labels, axis: int, rank: int) -> Labels:
    """A vector of labels as a label tensor that varies along one axis."""
    return labels.reshape([-1 if k == axis % rank else 1 for k in range(rank)])


def weight_of(walk: Walk, node: ir.Node) -> tuple[int, ...] | None:
    """Shape of the weight operand where it is an initializer; otherwise the inputs are pinned and None."""
    weight = node.inputs[1]
    if weight is not None and is_weight(weight):
        return walk.original_dims(weight)
    for value in node.inputs:
        if value is not None and not walk.constant(value):
            walk.pin(node, walk.labels(value), "its weight is computed at run time", "make it an initializer")
    walk.set(node.outputs[0], none(len(walk.dims(node.outputs[0]))))
    return None


def couple_conv(walk: Walk, node: ir.Node) -> None:
    """Conv: weight (O, I / group, *kernel), input (N, I, *spatial), output (N, O, *spatial)."""
    if (shape := weight_of(walk, node)) is None:
        return
    x, weight, y = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None
    assert weight is not None
    if walk.extent(x)[1] == 1 and any(n > 1 for n in walk.extent(x)[2:]):
        over_channels(walk, node, x)
        return
    group = node.attributes.get_int("group", 1) or 1
    arriving = walk.vector(x, 1)
    unit = float(np.prod(shape[2:]) * np.prod(walk.dims(y)[2:]))
    if group == 1:
        made = walk.fresh(node, shape[0])
        walk.bind(node, weight, 1, arriving, "read")
        walk.work(node, unit, arriving, made)
    elif group >= shape[1]:
        made = whole_blocks(walk, node, arriving, shape, group, unit)
    else:
        made = same_positions(walk, node, arriving, shape, group, unit)
    finish(walk, node, made, axis=1, weight_axis=0)


def over_channels(walk: Walk, node: ir.Node, x: ir.Value) -> None:
    """A filter that slides over channels (as in ECA-Net) slides over the kept ones; one that changes their number pins."""
    y = node.outputs[0]
    before, after = walk.original_dims(x), walk.original_dims(y)
    axes = [k for k in range(2, len(before)) if walk.extent(x)[k] > 1]
    if walk.extent(x)[1] == after[1] == 1 and all(before[k] == after[k] for k in axes):
        mix_axes(walk, node, axes)
        walk.set(y, walk.labels(x))
    else:
        walk.pin(node, walk.labels(x), "slides over channels", "export with channels on the second axis")
        walk.set(y, none(len(after)))


def whole_blocks(
    walk: Walk, node: ir.Node, arriving: Labels, shape: tuple[int, ...], group: int, unit: float
) -> Labels:
    """Blocks go as a whole: all channels of a block, in and out, are one."""
    blocks = arriving.reshape(-1, shape[1])
    walk.tie(np.broadcast_to(blocks[:, :1], blocks.shape), blocks)
    made = np.repeat(blocks[:, 0], shape[0] // group)
    walk.attribute(node, "group", len(blocks))
    walk.work(node, unit * shape[1], made)
    return made


def same_positions(
    walk: Walk, node: ir.Node, arriving: Labels, shape: tuple[int, ...], group: int, unit: float
) -> Labels:
    """Every block keeps the same positions: those are one over the blocks; `group=` stays."""
    blocks = arriving.reshape(group, -1)
    walk.tie(np.broadcast_to(blocks[:1], blocks.shape), blocks)
    made = walk.fresh(node, shape[0] // group)
    weight = node.inputs[1]
    assert weight is not None
    walk.bind(node, weight, 1, blocks[0], "read")
    walk.work(node, unit * group, blocks[0], made)
    return np.tile(made, group)


def finish(walk: Walk, node: ir.Node, made: Labels, axis: int, weight_axis: int) -> None:
    """Bind what is written with the channels made, and label the output."""
    weight, y = node.inputs[1], node.outputs[0]
    assert weight is not None
    walk.bind(node, weight, weight_axis, made, "write")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        bind_bias(walk, node, bias, made)
    walk.set(y, along(made, axis, len(walk.dims(y))))


def bind_bias(walk: Walk, node: ir.Node, bias: ir.Value, made: Labels) -> None:
    """The bias goes with the channels made along its last axis; a computed one pins them."""
    dims = walk.dims(bias)
    if not walk.constant(bias):
        walk.pin(node, made, "its bias is computed at run time", "make it an initializer")
    elif dims and dims[-1] > 1:
        walk.bind(node, bias, len(dims) - 1, made, "write")


def couple_gemm(walk: Walk, node: ir.Node) -> None:
    """Gemm: alpha A B + beta C with A (N, I), B (I, O) or transposed, C broadcast to (N, O)."""
    a = node.inputs[0]
    if (
        (shape := weight_of(walk, node)) is None
        or node.attributes.get_int("transA", 0) == 1
        or a is None
        or walk.constant(a)
    ):
        if a is not None and not walk.constant(a):
            walk.pin(node, walk.labels(a), "its first operand is transposed", "export with transA = 0")
            walk.set(node.outputs[0], none(2))
        return
    out = 0 if node.attributes.get_int("transB", 0) else 1
    arriving, made = walk.vector(a, 1), walk.fresh(node, shape[out])
    assert node.inputs[1] is not None
    walk.bind(node, node.inputs[1], 1 - out, arriving, "read")
    walk.work(node, 1.0, arriving, made)
    finish(walk, node, made, axis=1, weight_axis=out)


def family(couple: Callable[[Walk, ir.Node], None]) -> Family:
    """A contraction with this label rule."""
    return Family("contraction", couple, zero_contraction, "input and output channels; blocks of a grouped convolution")


# ---- torch ----------------------------------------------------------------------------------------------------------
def same_padding(node: ir.Node, size: Any, kernel: list[int], stride: list[int], dilation: list[int]) -> list[int]:
    """The pads (begin..., end...) that `auto_pad` means for spatial sizes `size`."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("NOTSET", None):
        return list(node.attributes.get_ints("pads", [0] * (2 * len(kernel))) or [0] * (2 * len(kernel)))
    if mode == "VALID":
        return [0] * (2 * len(kernel))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    totals = [max(0, (-(-int(n) // s) - 1) * s + e - int(n)) for n, s, e in zip(size, stride, extents, strict=True)]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return less + more if mode == "SAME_UPPER" else more + less


def padded(torch: Any, x: Any, pads: list[int], fill: float = 0.0) -> Any:
    """X with ONNX pads (begin..., end...) on its last axes."""
    half = len(pads) // 2
    pairs = [p for k in reversed(range(half)) for p in (pads[k], pads[half + k])]
    return torch.nn.functional.pad(x, pairs, value=fill) if any(pads) else x


@op("Conv", family(couple_conv), example="y = Conv <pads: ints = [1, 1, 1, 1]> (x, w)")
def conv(torch: Any, node: ir.Node, x: Any, weight: Any, bias: Any = None) -> Any:
    """1-D, 2-D or 3-D convolution; asymmetric pads are made explicit."""
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    stride = list(node.attributes.get_ints("strides", [1] * rank) or [1] * rank)
    dilation = list(node.attributes.get_ints("dilations", [1] * rank) or [1] * rank)
    pads = same_padding(node, x.shape[2:], kernel, stride, dilation)
    symmetric = pads[:rank] == pads[rank:]
    run = (torch.conv1d, torch.conv2d, torch.conv3d)[rank - 1]
    x = x if symmetric else padded(torch, x, pads)
    padding = pads[:rank] if symmetric else [0] * rank
    if kernel == [1, 1] and stride != [1, 1] and not any(padding):
        # the same without what is skipped: torch 2.15's AVX2 kernel for this, given channels-last images of two to seven
        # channels, writes outside its memory in the backward pass
        x, stride = x[:, :, :: stride[0], :: stride[1]], [1, 1]
    return run(x, weight, bias, stride, padding, dilation, node.attributes.get_int("group", 1))


@op("Gemm", family(couple_gemm), since=7)
def gemm(torch: Any, node: ir.Node, a: Any, b: Any, c: Any = None) -> Any:
    """Alpha A' B' + beta C."""
    a = a.transpose(0, 1) if node.attributes.get_int("transA", 0) else a
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    if node.attributes.get_int("transB", 0) and alpha == 1 and beta == 1 and (c is None or c.ndim == 1):
        return torch.nn.functional.linear(a, b, c)
    product = a @ (b.transpose(0, 1) if node.attributes.get_int("transB", 0) else b)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)
