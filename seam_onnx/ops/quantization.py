"""Quantised networks. QuantizeLinear and DequantizeLinear act element by element: channels pass, scales go with them.

    q = clip(round(x / scale) + zero point),   x = (q - zero point) scale

DequantizeLinear over initializers is a weight (`seam_onnx.quantized`), not a node that channels pass. What computes on
integers itself is not followed. In torch integers are kept as float32, which holds them exactly, and the gradient of
rounding is taken to be 1 (straight through, https://arxiv.org/abs/1308.3432).
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.microsoft import opaque
from seam_onnx.ops.reduction import zero_nothing
from seam_onnx.ops.registry import Constants, Family, OpSpec, add, op
from seam_onnx.ops.walk import Array, Walk, compress

__all__ = ["QUANTIZE"]

INTEGERS = "computes on integers"
INSTEAD = "quantise in QDQ format, or after pruning"
RANGES = {"UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767),
          "UINT4": (0, 15), "INT4": (-8, 7)}  # fmt: skip
"""Least and largest number of the types that QuantizeLinear makes."""


def couple_quantize(walk: Walk, node: ir.Node) -> None:
    """Channels pass; a scale and zero point an index go with them, those computed at run time pin them."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if walk.constant(x):
        return
    for value in node.inputs[1:]:
        if value is None or len(walk.dims(value)) == 0 or walk.dims(value) == (1,):
            continue
        axis = node.attributes.get_int("axis", 1) % len(walk.dims(x))
        if len(walk.dims(value)) > 1:
            walk.pin(node, walk.labels(x), "has a scale for each block of channels", "quantise by tensor or by channel")
        elif not walk.constant(value):
            walk.pin(node, walk.labels(x), "its scale is computed at run time", "make it an initializer")
        elif walk.extent(x)[axis] > 1:
            walk.bind(node, value, 0, walk.vector(x, axis), "carry")
        else:
            walk.pin(node, walk.labels(x), "has a scale for each index of another axis", "quantise by tensor")
    walk.set(y, walk.labels(x))


def zero_quantize(constants: Constants, node: ir.Node) -> None:
    """A constant becomes the constant that it is rounded to."""
    x = node.inputs[0]
    assert x is not None
    if constants.walk.constant(x) or any(v is not None and constants.walk.array(v) is None for v in node.inputs[1:]):
        return
    scale, zero = (along(constants, node, index) for index in (1, 2))
    array = constants.get(x)
    if node.op_type == "DequantizeLinear":
        constants.set(node.outputs[0], compress((array - zero) * scale))
    elif (bounds := range_of(node)) is not None:
        constants.set(node.outputs[0], compress(np.clip(np.rint(array / scale) + zero, *bounds)))


def along(constants: Constants, node: ir.Node, index: int) -> Array:
    """Scale or zero point, float64, so that it broadcasts to the node's first operand."""
    x = node.inputs[0]
    assert x is not None
    value = node.inputs[index] if index < len(node.inputs) else None
    array = None if value is None else constants.walk.array(value)
    if array is None:
        return np.zeros(())
    rank = len(constants.walk.dims(x))
    if array.size == 1:
        return array.astype(np.float64).reshape(())
    axis = node.attributes.get_int("axis", 1) % rank
    return array.astype(np.float64).reshape([-1 if k == axis else 1 for k in range(rank)])


def range_of(node: ir.Node) -> tuple[int, int] | None:
    """Least and largest number of the type that a QuantizeLinear makes, None for floating-point ones."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    wanted = node.attributes.get_int("output_dtype", 0)
    dtype = ir.DataType(wanted) if wanted else (zero.dtype if zero is not None else ir.DataType.UINT8)
    return RANGES.get(dtype.name if dtype is not None else "")


QUANTIZE = Family("quantisation", couple_quantize, zero_quantize, "channels pass; scales and zero points go with them")
ON_INTEGERS = Family(
    "quantisation", opaque(INTEGERS, INSTEAD), zero_nothing, "nothing: quantise in QDQ format instead", INSTEAD
)


def view(torch: Any, node: ir.Node, x: Any, array: Any) -> Any:
    """A scale or zero point as a tensor that broadcasts to x."""
    array = torch.as_tensor(array, device=x.device).float()
    if array.ndim == 0 or array.numel() == 1:
        return array.reshape(())
    if array.ndim > 1:
        raise NotImplementedError("a scale for each block")
    axis = node.attributes.get_int("axis", 1) % x.ndim
    return array.reshape([-1 if k == axis else 1 for k in range(x.ndim)])


@op("QuantizeLinear", QUANTIZE, since=10)
def quantize(torch: Any, node: ir.Node, x: Any, scale: Any, zero: Any = None) -> Any:
    """Integers as float32, rounded half to even; the gradient passes where nothing is clipped."""
    bounds = range_of(node)
    if bounds is None:
        raise NotImplementedError("QuantizeLinear to this type")
    scaled = x / view(torch, node, x, scale)
    rounded = scaled + (scaled.round() - scaled).detach()
    return (rounded if zero is None else rounded + view(torch, node, x, zero)).clamp(*bounds)


@op("DequantizeLinear", QUANTIZE, since=10)
def dequantize(torch: Any, node: ir.Node, x: Any, scale: Any, zero: Any = None) -> Any:
    """(x - zero point) scale."""
    x = torch.as_tensor(x).float()
    return (x if zero is None else x - view(torch, node, x, zero)) * view(torch, node, x, scale)


for name in ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"):
    add(OpSpec(name, 10, 10_000, "", ON_INTEGERS, None, ""))
for name in ("QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearGlobalAveragePool", "QLinearAveragePool",
             "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QAttention", "DynamicQuantizeMatMul",
             "MatMulIntegerToFloat", "MatMulNBits"):  # fmt: skip
    add(OpSpec(name, 1, 10_000, "com.microsoft", ON_INTEGERS, None, ""))
