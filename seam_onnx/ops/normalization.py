"""Normalisation with stored statistics: an affine map channel by channel.

y = scale (x - mean) / sqrt(var + epsilon) + bias (https://onnx.ai/onnx/operators/onnx__BatchNormalization.html)
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.contraction import channel_constants
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Walk, compress

__all__ = ["BATCH_NORM"]


def couple_batch_norm(walk: Walk, node: ir.Node) -> None:
    """Scale and bias go with the channels and make them zero; mean and variance only go with them."""
    x = node.inputs[0]
    assert x is not None
    arriving = walk.vector(x, 1)
    for k, value in enumerate(node.inputs[1:5]):
        assert value is not None
        if not walk.constant(value):
            walk.pin(node, arriving, "its parameters are computed at run time")
        else:
            walk.bind(node, value, 0, arriving, "affine" if k < 2 else "carry")
    walk.set(node.outputs[0], walk.labels(x))


def zero_batch_norm(constants: Constants, node: ir.Node) -> None:
    """A constant channel c becomes scale (c - mean) / sqrt(var + epsilon) + bias; scale 0 makes any channel `bias`."""
    x = node.inputs[0]
    assert x is not None
    parameters = [constants.walk.array(v) for v in node.inputs[1:5]]
    if any(p is None for p in parameters):
        return
    scale, bias, mean, var = (np.asarray(p, np.float64) for p in parameters)
    arriving = channel_constants(constants, x, 1, len(scale))
    values = scale * (arriving - mean) / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5)) + bias
    values = np.where(scale == 0, bias, values)
    rank = len(constants.walk.dims(x))
    constants.set(node.outputs[0], compress(values.reshape([-1 if k == 1 else 1 for k in range(rank)])))


BATCH_NORM = Family("normalisation", couple_batch_norm, zero_batch_norm, "channels pass, parameters go with them")


@op("BatchNormalization", BATCH_NORM, since=7)
def batch_norm(torch: Any, node: ir.Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    """Inference form: the stored statistics are used and never changed."""
    return torch.nn.functional.batch_norm(x, mean, var, scale, bias, False, 0.0, node.attributes.get_float("epsilon", 1e-5))
