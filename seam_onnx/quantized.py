"""Weights that are stored as integers: DequantizeLinear over initializers alone.

    w = (q - zero point) scale,   q = clip(round(w / scale) + zero point)

with one scale, or one for each index along an axis (https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html). Behind
such a node stands a weight like any other: its channels are axes of q, and the scales go with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["Stored", "is_scale", "is_weight", "readers", "stored", "stored_as", "weight_array"]

Array = NDArray[Any]
DEQUANTIZE, QUANTIZE = "DequantizeLinear", "QuantizeLinear"
SCALED = (QUANTIZE, DEQUANTIZE, "Resize", "Upsample")
"""Ops whose operands behind the first are numbers."""


@dataclass(frozen=True)
class Stored:
    """How a weight is stored."""

    tensor: ir.Value
    """Initializer with the integers."""
    scale: ir.Value
    """Initializer with the scale, or one for each index along `axis`."""
    zero: ir.Value | None
    """Initializer with the zero points, None for 0."""
    axis: int | None
    """Axis along which the scale varies, None for a single one."""
    node: ir.Node
    """The DequantizeLinear."""

    @property
    def blocked(self) -> bool:
        """Has it a scale for each block of several indices? Those cannot be sliced one by one."""
        return self.scale.const_value is not None and self.scale.const_value.shape.rank() > 1

    def along(self, value: ir.Value | None) -> Array:
        """Scale or zero points, float64, so that they broadcast to the integers."""
        tensor = self.tensor.const_value
        assert tensor is not None
        if value is None or value.const_value is None:
            return np.zeros((), np.float64)
        array = value.const_value.numpy().astype(np.float64)
        if self.blocked:
            size = self.node.attributes.get_int("block_size", 1)
            axis = self.node.attributes.get_int("axis", 1) % array.ndim
            return array.repeat(size, axis).take(range(tensor.shape.numpy()[axis]), axis)
        rank = tensor.shape.rank()
        return (
            array.reshape([-1 if k == self.axis else 1 for k in range(rank)]) if array.size > 1 else array.reshape(())
        )

    def floats(self) -> NDArray[np.float32]:
        """The weight."""
        assert self.tensor.const_value is not None
        integers = self.tensor.const_value.numpy().astype(np.float64)
        floats: Array = (integers - self.along(self.zero)) * self.along(self.scale)
        return floats.astype(np.float32)

    def bounds(self) -> tuple[float, float]:
        """Least and largest integer that the tensor's type holds."""
        assert self.tensor.const_value is not None
        dtype = self.tensor.const_value.dtype
        if dtype.numpy().kind in "iu" and dtype.bitwidth >= 8:
            return float(np.iinfo(dtype.numpy()).min), float(np.iinfo(dtype.numpy()).max)
        signed = dtype.name.startswith("INT")
        return (-float(1 << dtype.bitwidth - 1) if signed else 0.0), float((1 << dtype.bitwidth - signed) - 1)

    def integers(self, floats: Array) -> Array:
        """The integers nearest to a weight, rounded half to even as onnxruntime does; scale 0 stores only 0."""
        assert self.tensor.const_value is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.nan_to_num(np.rint(floats / self.along(self.scale)), posinf=0.0, neginf=0.0)
        integers: Array = np.clip(steps + self.along(self.zero), *self.bounds())
        return integers.astype(self.tensor.const_value.dtype.numpy())


def stored(value: ir.Value | None) -> Stored | None:
    """How the weight behind a value is stored, None where it is no dequantised initializer, or its parts do not fit."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != DEQUANTIZE or node.domain not in ("", "ai.onnx"):
        return None
    tensor, scale, zero = (*node.inputs, None)[:3]
    if any(v is not None and v.const_value is None for v in (tensor, scale, zero)) or not tensor or not scale:
        return None
    assert tensor.const_value is not None
    assert scale.const_value is not None
    dims, scales = tensor.const_value.shape.numpy(), scale.const_value.shape.numpy()
    axis = node.attributes.get_int("axis", 1) % max(len(dims), 1) if scale.const_value.size > 1 else None
    fits = axis is None or len(scales) == len(dims) or (len(dims) > axis and scales == (dims[axis],))
    alike = zero is None or zero.const_value is None or zero.const_value.size == scale.const_value.size
    return Stored(tensor, scale, zero, axis, node) if fits and alike else None


def stored_as(initializer: ir.Value) -> Stored | None:
    """The same, asked of the initializer that has the integers."""
    for node, index in initializer.uses():
        if index == 0 and node.op_type == DEQUANTIZE:
            return stored(node.outputs[0])
    return None


def is_weight(value: ir.Value | None) -> bool:
    """Is the value an initializer, as it is or dequantised?"""
    return value is not None and (value.const_value is not None or stored(value) is not None)


def weight_array(value: ir.Value) -> Array:
    """Contents of a weight, as it is or dequantised."""
    form = stored(value)
    if form is not None:
        return form.floats()
    assert value.const_value is not None
    return value.const_value.numpy()


def is_scale(initializer: ir.Value) -> bool:
    """Is the initializer only read as a scale or zero point, or as what a Resize scales by: a number, and no weight?"""
    uses = initializer.uses()
    return bool(uses) and all(index > 0 and node.op_type in SCALED for node, index in uses)


def readers(initializer: ir.Value) -> Iterator[ir.Node]:
    """The nodes that read an initializer, seen through what dequantises it."""
    for node, index in initializer.uses():
        if index == 0 and stored(node.outputs[0]) is not None:
            yield from (reader for reader, _ in node.outputs[0].uses())
        else:
            yield node
