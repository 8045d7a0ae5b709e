"""Normalisation. With stored statistics it is an affine map channel by channel:

    y = scale (x - mean) / sqrt(var + epsilon) + bias   (https://onnx.ai/onnx/operators/onnx__BatchNormalization.html)

With statistics of the input it may combine channels (LayerNormalization, RMSNormalization, GroupNormalization with more
than one channel a group, InstanceNormalization of a reshaped tensor): then it means the kept ones only, see `mixing`.
Groups go as a whole or lose the same positions, whichever leaves more channels to choose from.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.constants import channel_constants
from seam_onnx.ops.mixing import mix_axes
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Labels, Walk, compress, none
from seam_onnx.quantized import stored

__all__ = ["BATCH_NORM"]


def couple_batch_norm(walk: Walk, node: ir.Node) -> None:
    """Scale and bias go with the channels and make them zero; mean and variance only go with them."""
    x = node.inputs[0]
    assert x is not None
    arriving = walk.vector(x, 1)
    for k in range(1, 5):
        bind_parameter(walk, node, k, 0, arriving, "affine" if k < 3 else "carry")
    walk.set(node.outputs[0], walk.labels(x))


def bind_parameter(walk: Walk, node: ir.Node, index: int, axis: int, labels: Labels, role: Any = "affine") -> None:
    """Bind an optional operand; one that is computed at run time pins the channels."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        return
    if not walk.constant(value):
        walk.pin(node, labels, "its parameters are computed at run time", "make them initializers")
    elif stored(value) is not None and node.op_type != "BatchNormalization":
        walk.pin(node, labels, "its parameters are quantised", "leave normalisations in floating point")
    elif walk.original_dims(value)[axis] > 1:
        walk.bind(node, value, axis, labels, role)


def couple_layer_norm(walk: Walk, node: ir.Node) -> None:
    """Statistics over the last axes; scale and bias extend along some of those."""
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    first = node.attributes.get_int("axis", -1) % labels.ndim
    mix_axes(walk, node, range(first, labels.ndim))
    for index, value in enumerate(node.inputs[1:], 1):
        shift = labels.ndim - (len(walk.dims(value)) if value is not None else 0)
        for axis in range(shift, labels.ndim):
            if walk.extent(x)[axis] > 1:
                bind_parameter(walk, node, index, axis - shift, walk.vector(x, axis))
    walk.set(node.outputs[0], labels)
    for extra in node.outputs[1:]:
        walk.set(extra, none(labels.ndim))


def couple_instance_norm(walk: Walk, node: ir.Node) -> None:
    """Statistics over the axes behind the second one; scale and bias extend along the second."""
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    mix_axes(walk, node, range(2, labels.ndim))
    if walk.extent(x)[1] > 1:
        for index in (1, 2):
            bind_parameter(walk, node, index, 0, walk.vector(x, 1))
    walk.set(node.outputs[0], labels)


def couple_group_norm(walk: Walk, node: ir.Node) -> None:
    """Statistics over the channels of a group; scale and bias a channel (a group before opset 21)."""
    x = node.inputs[0]
    assert x is not None
    arriving, groups = walk.vector(x, 1), node.attributes.get_int("num_groups", 1)
    size = walk.original_dims(x)[1] // groups
    blocks = arriving.reshape(groups, -1) if size > groups else arriving.reshape(-1, size)
    if size > groups:
        walk.unite(blocks, 0)
        walk.mix(node, 1, arriving)
    else:
        walk.unite(blocks, 1)
        walk.attribute(node, "num_groups", len(blocks))
    for index in (1, 2):
        if walk.opset >= 21 or size <= groups:
            bind_parameter(walk, node, index, 0, arriving if walk.opset >= 21 else blocks[:, 0])
    walk.set(node.outputs[0], walk.labels(x))


def couple_axes_norm(walk: Walk, node: ir.Node) -> None:
    """MeanVarianceNormalization and LpNormalization, which have no parameters."""
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    axes = node.attributes.get_ints("axes", None) or [0, 2, 3]
    if node.op_type == "LpNormalization":
        axes = [node.attributes.get_int("axis", -1)]
    mix_axes(walk, node, [k % labels.ndim for k in axes])
    walk.set(node.outputs[0], labels)


def couple_local(walk: Walk, node: ir.Node) -> None:
    """LRN divides by what neighbouring channels hold."""
    x = node.inputs[0]
    assert x is not None
    walk.pin(node, walk.labels(x), "normalises over neighbouring channels", "nothing to do: neighbours would change")
    walk.set(node.outputs[0], none(len(walk.dims(x))))


def zero_batch_norm(constants: Constants, node: ir.Node) -> None:
    """A constant channel c becomes scale (c - mean) / sqrt(var + epsilon) + bias; scale 0 makes any channel `bias`."""
    x = node.inputs[0]
    assert x is not None
    parameters = [constants.walk.array(v) for v in node.inputs[1:5]]
    if any(p is None for p in parameters):
        return
    scale, bias, mean, var = (np.asarray(p, np.float64) for p in parameters)
    arriving = channel_constants(constants, x, 1, len(scale))
    with np.errstate(all="ignore"):  # a broken variance makes NaN, which says "unknown"
        values = scale * (arriving - mean) / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5)) + bias
    set_along(constants, node, np.where(scale == 0, bias, values), 1)


def zero_scaled(constants: Constants, node: ir.Node) -> None:
    """Scale 0 makes any channel `bias`."""
    scale, bias = (constants.walk.array(v) for v in (*node.inputs[1:3], None)[:2])
    if scale is None or scale.ndim != 1 or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return
    level = np.zeros(scale.shape) if bias is None else np.asarray(bias, np.float64)
    axis = -1 if node.op_type in ("LayerNormalization", "RMSNormalization") else 1
    dims = constants.walk.dims(node.outputs[0])
    if level.shape == scale.shape and dims[axis] == len(scale):
        set_along(constants, node, np.where(scale == 0, level, np.nan), axis)


def zero_unknown(constants: Constants, node: ir.Node) -> None:
    """Nothing is known of the output."""


def set_along(constants: Constants, node: ir.Node, values: Array, axis: int) -> None:
    """Note constants (C,) along one axis of the first output."""
    rank = len(constants.walk.dims(node.outputs[0]))
    constants.set(node.outputs[0], compress(values.reshape([-1 if k == axis % rank else 1 for k in range(rank)])))


OVER_KEPT = "channels pass; statistics are those of the kept ones"
BATCH_NORM = Family("normalisation", couple_batch_norm, zero_batch_norm, "channels pass, parameters go with them")
LAYER_NORM = Family("normalisation", couple_layer_norm, zero_scaled, OVER_KEPT)
INSTANCE_NORM = Family("normalisation", couple_instance_norm, zero_scaled, "channels pass, parameters go with them")
GROUP_NORM = Family("normalisation", couple_group_norm, zero_scaled, "whole groups, or the same positions in each")
AXES_NORM = Family("normalisation", couple_axes_norm, zero_unknown, OVER_KEPT)
LOCAL = Family("normalisation", couple_local, zero_unknown, "nothing: neighbouring channels are combined")


@op("BatchNormalization", BATCH_NORM, since=7)
def batch_norm(torch: Any, node: ir.Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    """Inference form: the stored statistics are used and never changed, nor learnt."""
    return torch.nn.functional.batch_norm(x, mean.detach(), var.detach(), scale, bias, False, 0.0, epsilon(node))


def epsilon(node: ir.Node) -> float:
    """What keeps the variance from 0."""
    return float(node.attributes.get_float("epsilon", 1e-5) or 0.0)


@op("LayerNormalization", LAYER_NORM, since=17)
def layer_norm(torch: Any, node: ir.Node, x: Any, scale: Any, bias: Any = None) -> Any:
    """Zero mean and unit variance over the axes from `axis` on."""
    axis = node.attributes.get_int("axis", -1) % x.ndim
    y = torch.nn.functional.layer_norm(x, x.shape[axis:], None, None, epsilon(node)) * scale
    y = y if bias is None else y + bias
    if len(node.outputs) == 1:
        return y
    axes = tuple(range(axis, x.ndim))
    return y, x.mean(axes, True), (x.var(axes, correction=0, keepdim=True) + epsilon(node)).rsqrt()


@op("RMSNormalization", LAYER_NORM, since=23)
def rms_norm(torch: Any, node: ir.Node, x: Any, scale: Any) -> Any:
    """Unit mean square over the axes from `axis` on."""
    axes = tuple(range(node.attributes.get_int("axis", -1) % x.ndim, x.ndim))
    return x * (x.square().mean(axes, True) + epsilon(node)).rsqrt() * scale


@op("InstanceNormalization", INSTANCE_NORM, since=6, example="y = InstanceNormalization(x, c, c)")
def instance_norm(torch: Any, node: ir.Node, x: Any, scale: Any, bias: Any) -> Any:
    """Zero mean and unit variance over space, per sample and channel."""
    view = (1, -1, *(1,) * (x.ndim - 2))
    axes = tuple(range(2, x.ndim))
    spread = (x.var(axes, correction=0, keepdim=True) + epsilon(node)).rsqrt()
    return (x - x.mean(axes, True)) * spread * scale.view(view) + bias.view(view)


@op("GroupNormalization", GROUP_NORM, since=18)
def group_norm(torch: Any, node: ir.Node, x: Any, scale: Any, bias: Any) -> Any:
    """Zero mean and unit variance over space and the channels of a group; parameters a group before opset 21."""
    y = torch.nn.functional.group_norm(x, node.attributes.get_int("num_groups"), None, None, epsilon(node))
    view = (1, -1, *(1,) * (x.ndim - 2))
    scale, bias = (p.repeat_interleave(x.shape[1] // len(p)) for p in (scale, bias))
    return y * scale.view(view) + bias.view(view)


@op("MeanVarianceNormalization", AXES_NORM, since=9, example="y = MeanVarianceNormalization <axes: ints = [2, 3]> (x)")
def mean_variance_norm(torch: Any, node: ir.Node, x: Any) -> Any:
    """Zero mean and unit variance over `axes` (https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html)."""
    axes = tuple(node.attributes.get_ints("axes", (0, 2, 3)) or ())
    return (x - x.mean(axes, True)) / (x.var(axes, correction=0, keepdim=True).sqrt() + 1e-9)


@op("LpNormalization", AXES_NORM, example="y = LpNormalization <axis: int = 2> (x)")
def lp_norm(torch: Any, node: ir.Node, x: Any) -> Any:
    """X over its p-norm along `axis`; 0 where that is 0."""
    axis, p = node.attributes.get_int("axis", -1), node.attributes.get_int("p", 2)
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


@op("LRN", LOCAL)
def local_response_norm(torch: Any, node: ir.Node, x: Any) -> Any:
    """X over a power of the mean square of its neighbours (https://onnx.ai/onnx/operators/onnx__LRN.html)."""
    size = node.attributes.get_int("size")
    alpha, beta = node.attributes.get_float("alpha", 1e-4), node.attributes.get_float("beta", 0.75)
    square = x.square().flatten(2).unsqueeze(1)
    square = torch.nn.functional.pad(square, (0, 0, (size - 1) // 2, size - 1 - (size - 1) // 2))
    sums = sum(square[:, 0, k : k + x.shape[1]] for k in range(size)).view(x.shape)
    return x / (node.attributes.get_float("bias", 1.0) + alpha / size * sums) ** beta
