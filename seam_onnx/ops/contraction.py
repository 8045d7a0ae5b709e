"""Ops that contract channels against a weight: Conv, Gemm (and MatMul, see there). Here new channels are born.

The weight's input axis is bound to the channels that arrive (`read`), its output axis and the bias to fresh ones
(`write`). A grouped convolution reads a box: either whole blocks go (`group=` falls; a depthwise convolution is the case
of blocks of one channel) or the same positions in every block, whichever leaves more channels to choose from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.mixing import mix_axes
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Labels, Walk, compress, none
from seam_onnx.quantized import is_weight, weight_array

__all__ = ["added", "contracted", "family", "finish", "fold_site", "kind", "letters", "read_axis", "weight_of"]

PIECE = 1 << 20
"""Weights that are widened to float64 at a time."""


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


def letters(node: ir.Node) -> tuple[str, str, str] | None:
    """Letters of the operands and the output of an Einsum of two operands that names them all, None of another."""
    terms, _, out = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    operands = terms.split(",")
    named = len(operands) == 2 and out and "." not in terms
    return (operands[0], operands[1], out) if named else None


def read_axis(node: ir.Node) -> int:
    """The axis of a node's first operand that it contracts against its weight."""
    if (found := letters(node) if node.op_type == "Einsum" else None) is not None:
        return found[0].index(next(c for c in found[0] if c in found[1] and c not in found[2]))
    return -1 if kind(node) == "MatMul" else 1


def kind(node: ir.Node) -> str:
    """Conv, ConvTranspose, Gemm or MatMul, also of a node that does more than that behind it."""
    return node.op_type.removeprefix("Fused")


# ---- constants ------------------------------------------------------------------------------------------------------
def contracted(node: ir.Node, array: Array) -> Array:
    """The stored weight as (O, I / group, K), without a copy; see `factor`."""
    if kind(node) in ("Conv", "ConvTranspose"):
        array = array if kind(node) == "Conv" else np.moveaxis(array, 0, 1)
        return array.reshape(array.shape[0], array.shape[1], -1)
    if (found := letters(node) if node.op_type == "Einsum" else None) is not None:
        return (array if found[1][0] in found[2] else array.T)[:, :, None]
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    return (array if turned else array.T)[:, :, None]


def factor(node: ir.Node) -> float:
    """What the node multiplies its weight by."""
    return (node.attributes.get_float("alpha", 1.0) or 0.0) if kind(node) in ("Gemm", "MatMul") else 1.0


def added(node: ir.Node, weight: Array, arriving: Array, rows: Array) -> Array:
    """What constants that arrive add to some of the outputs, float64. Cost: the weights that read one, in pieces.

    Args:
        node: the contraction.
        weight: (O, I / group, K), as `contracted` gives it.
        arriving: (group, I / group), 0 where nothing is to be added.
        rows: positions of the outputs, int.
    """
    columns = np.flatnonzero((arriving != 0).any(0))
    share, block = arriving[:, columns], len(weight) // len(arriving)
    total = np.zeros(len(rows))
    step = max(1, PIECE // max(1, len(columns) * weight.shape[2]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        sums = weight[np.ix_(some, columns)].astype(np.float64).sum(2) * factor(node)
        total[start : start + step] = (sums * share[some // block]).sum(1)
    return total


def fold_site(node: ir.Node) -> bool:
    """May a constant that arrives be folded into what the node adds? Not where zero padding interrupts it, or
    data does, or where what is added would have to be rounded."""
    if any(value is not None and value.const_value is None for value in node.inputs[1:]):
        return False
    if kind(node) != "Conv":
        return kind(node) in ("Gemm", "MatMul")
    same = (node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET") not in ("NOTSET", "VALID")
    return not same and not any(node.attributes.get_ints("pads", ()) or ())


def zero_contraction(constants: Constants, node: ir.Node) -> None:
    """An output channel is constant where every input channel it reads has zero weight or is a foldable constant."""
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None or not is_weight(weight) or constants.walk.constant(x):
        return
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) != 1:
        return
    axis = -1 if node.op_type == "MatMul" else 1
    array = contracted(node, weight_array(weight))
    group = node.attributes.get_int("group", 1) or 1 if node.op_type == "Conv" else 1
    arriving = channel_constants(constants, x, axis, array.shape[1] * group).reshape(group, -1)
    heard = (arriving != 0) & ~(~np.isnan(arriving) & fold_site(node))
    read = (array != 0).any(2).reshape(group, -1, array.shape[1]) & heard[:, None]
    silent = np.flatnonzero(~read.any(2))
    value = np.full(array.shape[0], np.nan)
    value[silent] = added(node, array, np.nan_to_num(arriving), silent) + bias_of(constants, node, len(value))[silent]
    rank = len(constants.walk.dims(node.outputs[0]))
    constants.set(node.outputs[0], compress(value.reshape([-1 if k == axis % rank else 1 for k in range(rank)])))


def channel_constants(constants: Constants, value: ir.Value, axis: int, count: int) -> Array:
    """Constants (count,) along the channel axis; NaN where they differ along another."""
    array = constants.get(value)
    rank = len(constants.walk.dims(value))
    keep = axis % rank
    array = np.broadcast_to(array, [count if k == keep else n for k, n in enumerate(array.shape)])
    rows = np.moveaxis(array, keep, 0).reshape(count, -1)
    return np.where((rows == rows[:, :1]).all(1), rows[:, 0], np.nan)


def bias_of(constants: Constants, node: ir.Node, count: int) -> Array:
    """What the node adds to each output channel (count,), NaN where it depends on data."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return np.zeros(count)
    array = constants.walk.array(bias)
    if array is None or array.size not in (1, count):
        return np.full(count, np.nan)
    beta = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    return np.broadcast_to(array.reshape(-1).astype(np.float64) * beta, (count,))


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
