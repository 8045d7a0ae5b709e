"""Shapes that onnx cannot infer: of onnxruntime's own ops (com.microsoft), which its optimiser and quantiser write.

Only what later nodes need is said: the shape of the first output, whose element type is that of the first input.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

__all__ = ["contrib_shape"]

Dims = tuple[int, ...]
AS_FIRST = {
    "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    "SimplifiedLayerNormalization", "RotaryEmbedding", "BiasAdd", "GroupNorm", "QLinearSigmoid", "QLinearLeakyRelu",
    "QLinearSoftmax", "Attention", "MultiHeadAttention", "GroupQueryAttention",
}  # fmt: skip
PAIRS = {"QLinearAdd": 3, "QLinearMul": 3}
"""Ops that broadcast their first operand with another one: which."""


def contrib_shape(node: ir.Node, known: Mapping[str, Dims]) -> Dims | None:
    """Shape of the first output, None where it is not known here or the operands do not fit."""
    try:
        return shape_of(node, known)
    except (ValueError, TypeError, IndexError):
        return None


def shape_of(node: ir.Node, known: Mapping[str, Dims]) -> Dims | None:
    """The same; raises where the operands do not fit each other."""
    shapes = [None if value is None else known.get(str(value.name)) for value in node.inputs]
    x = shapes[0] if shapes else None
    if node.domain != "com.microsoft" or x is None:
        return None
    if node.op_type in AS_FIRST:
        return attended(node, x, shapes) if "Attention" in node.op_type else x
    if node.op_type in PAIRS and (other := shapes[PAIRS[node.op_type]]) is not None:
        return np.broadcast_shapes(x, other)
    if node.op_type == "QLinearGlobalAveragePool":
        return (*x[:2], *(1 for _ in x[2:]))
    if node.op_type in ("QGemm", "FusedMatMul", "EmbedLayerNormalization"):
        return product(node, x, shapes)
    return None


def attended(node: ir.Node, x: Dims, shapes: list[Dims | None]) -> Dims | None:
    """(N, S, width of the values): of one packed weight a third; packed queries, keys and values are not followed."""
    weight = shapes[1] if len(shapes) > 1 else None
    if node.op_type == "Attention":
        sizes = node.attributes.get_ints("qkv_hidden_sizes", None)
        return None if weight is None else (*x[:-1], sizes[2] if sizes else weight[-1] // 3)
    values = shapes[2] if len(shapes) > 2 else None
    return (*x[:-1], values[-1]) if len(x) == 3 and values is not None and len(values) == 3 else None


def product(node: ir.Node, x: Dims, shapes: list[Dims | None]) -> Dims | None:
    """Of a matrix product with the transpositions that its attributes ask for; of looked-up words, one row each."""
    place = {"QGemm": 3, "FusedMatMul": 1, "EmbedLayerNormalization": 2}[node.op_type]
    other = shapes[place]
    if other is None:
        return None
    if node.op_type == "EmbedLayerNormalization":
        return (*x, other[-1])
    if node.attributes.get_int("transBatchA", 0) or node.attributes.get_int("transBatchB", 0):
        return None
    rows = x[-1] if node.attributes.get_int("transA", 0) else x[-2]
    columns = other[-2] if node.attributes.get_int("transB", 0) else other[-1]
    return (*np.broadcast_shapes(x[:-2], other[:-2]), rows, columns)
