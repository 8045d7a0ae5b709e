"""Constants that arrive at a contraction: how it reads its weight, and what they make of its outputs."""

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.registry import Constants
from seam_onnx.ops.walk import Array, compress
from seam_onnx.quantized import is_weight, weight_array

__all__ = ["added", "channel_constants", "contracted", "fold_site", "kind", "letters", "read_axis", "zero_contraction"]

PIECE = 1 << 20
"""Weights that are widened to float64 at a time."""


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
