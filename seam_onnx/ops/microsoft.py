"""Ops of onnxruntime (com.microsoft): what its optimiser fuses.

Those that are one known op with an extra are followed as that op. Larger ones (attention, a sum and its normalisation)
have weights in layouts of their own and are pinned: the file from before the optimiser says the same and can be pruned,
and onnxruntime fuses it again when it loads it.
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.contraction import conv, couple_conv, family
from seam_onnx.ops.elementwise import couple_elementwise
from seam_onnx.ops.matmul import couple_matmul
from seam_onnx.ops.reduction import zero_nothing
from seam_onnx.ops.registry import Constants, Family, OpSpec, add, op
from seam_onnx.ops.walk import Walk, compress, none

__all__ = ["opaque"]

DOMAIN = "com.microsoft"
UNFUSED = "prune the file from before onnxruntime's optimiser, which fuses it again when it loads it"


def opaque(reason: str, instead: str) -> Callable[[Walk, ir.Node], None]:
    """A label rule that follows nothing: what arrives is pinned, and so is what the first weight would make."""

    def couple(walk: Walk, node: ir.Node) -> None:
        weights = [v for v in node.inputs if v is not None and v.const_value is not None and v.const_value.size > 1]
        if weights:
            out = 0 if "Conv" in node.op_type else -1
            walk.pin(node, walk.fresh(node, walk.original_dims(weights[0])[out]), reason, instead)
        for value in node.inputs:
            if value is not None and not walk.constant(value):
                walk.pin(node, walk.labels(value), reason, instead)
        for value in node.outputs:
            if value.name:
                walk.set(value, none(len(walk.dims(value))))

    return couple


def zero_at_zero(constants: Constants, node: ir.Node) -> None:
    """The activation of 0 is 0."""
    x = node.inputs[0]
    assert x is not None
    array = constants.get(x)
    if len(node.inputs) == 1 or node.inputs[1] is None:
        constants.set(node.outputs[0], compress(np.where(array == 0, array, np.nan)))


def couple_fused_conv(walk: Walk, node: ir.Node) -> None:
    """As Conv; what is added (the fourth operand) is tied to what is made."""
    couple_conv(walk, node)
    added = node.inputs[3] if len(node.inputs) > 3 else None
    if added is not None:
        made, labels = walk.labels(node.outputs[0]), walk.labels(added)
        if not labels.any():
            walk.pin(
                node, made, "meets data without channels of its own", "let a layer with a weight make that operand"
            )
        elif made.any():
            walk.tie(made, labels)


def couple_fused_matmul(walk: Walk, node: ir.Node) -> None:
    """As MatMul, where nothing is transposed."""
    if any(node.attributes.get_int(name, 0) for name in ("transA", "transB", "transBatchA", "transBatchB")):
        opaque("transposes within a matrix product", UNFUSED)(walk, node)
    else:
        couple_matmul(walk, node)


ACTIVATION = Family("elementwise", couple_elementwise, zero_at_zero, "channels pass; operands are tied")
FUSED_CONV = Family("contraction", couple_fused_conv, zero_nothing, family(couple_conv).prunable)
FUSED_MATMUL = Family("contraction", couple_fused_matmul, zero_nothing, "input and output channels")
FUSED = Family("fused", opaque("is several ops in one", UNFUSED), zero_nothing, "nothing: prune before fusing", UNFUSED)


@op("Gelu", ACTIVATION, domain=DOMAIN)
def gelu(torch: Any, node: ir.Node, x: Any) -> Any:
    """X times the normal distribution function of x."""
    return torch.nn.functional.gelu(x)


@op("BiasGelu", ACTIVATION, domain=DOMAIN)
def bias_gelu(torch: Any, node: ir.Node, x: Any, bias: Any) -> Any:
    """Gelu of x + bias."""
    return torch.nn.functional.gelu(x + bias)


@op("FastGelu", ACTIVATION, domain=DOMAIN)
def fast_gelu(torch: Any, node: ir.Node, x: Any, bias: Any = None) -> Any:
    """Gelu by tanh, of x or of x + bias."""
    return torch.nn.functional.gelu(x if bias is None else x + bias, approximate="tanh")


@op("QuickGelu", ACTIVATION, domain=DOMAIN)
def quick_gelu(torch: Any, node: ir.Node, x: Any) -> Any:
    """X times the sigmoid of alpha x."""
    return x * torch.sigmoid(node.attributes.get_float("alpha", 1.702) * x)


@op("FusedMatMul", FUSED_MATMUL, domain=DOMAIN)
def fused_matmul(torch: Any, node: ir.Node, a: Any, b: Any) -> Any:
    """Alpha A B, either of them transposed."""
    if node.attributes.get_int("transBatchA", 0) or node.attributes.get_int("transBatchB", 0):
        raise NotImplementedError("FusedMatMul with transposed batches")
    a = a.transpose(-1, -2) if node.attributes.get_int("transA", 0) else a
    b = b.transpose(-1, -2) if node.attributes.get_int("transB", 0) else b
    return node.attributes.get_float("alpha", 1.0) * torch.matmul(a, b)


@op("FusedConv", FUSED_CONV, domain=DOMAIN)
def fused_conv(torch: Any, node: ir.Node, x: Any, weight: Any, bias: Any = None, added: Any = None) -> Any:
    """Convolution, a sum, an activation."""
    y = conv(torch, node, x, weight, bias)
    y = y if added is None else y + added
    name = node.attributes.get_string("activation", "")
    numbers = list(node.attributes.get_floats("activation_params", ()) or ())
    if name == "LeakyRelu":
        return torch.nn.functional.leaky_relu(y, *numbers)
    if name == "Clip":
        return torch.clamp(y, *numbers)
    if name == "HardSigmoid":
        return (numbers[0] * y + numbers[1]).clamp(0, 1)
    return y if not name else getattr(torch, name.lower())(y)


for name in (
    "Attention", "MultiHeadAttention", "GroupQueryAttention", "PackedAttention", "DecoderMaskedMultiHeadAttention",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "FusedGemm", "SkipGroupNorm",
    "GroupNorm", "NhwcConv", "NhwcFusedConv", "RotaryEmbedding", "BiasSplitGelu", "BiasAdd",
):  # fmt: skip
    add(OpSpec(name, 1, 10_000, DOMAIN, FUSED, None, ""))
