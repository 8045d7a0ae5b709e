"""Constant folding: what can be computed from initializers alone becomes an initializer.

Exporters leave weights behind Transpose, Reshape, Cast or arithmetic; channel analysis and lowering want to see them as
plain initializers. Quantised weights are left alone: DequantizeLinear is the format, not an accident.
"""

import numpy as np
import onnx_ir as ir

from seam_onnx.evaluate import evaluate

__all__ = ["fold_constants", "set_initializer"]

NEVER = {
    "DequantizeLinear", "QuantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Bernoulli", "Multinomial", "Dropout", "If", "Loop", "Scan", "SequenceEmpty", "SequenceConstruct", "Optional",
}  # fmt: skip
GROWTH = 4
"""A folded node may be this many times larger than what it was computed from (and always a mebibyte)."""


def fold_constants(proto: ir.Model) -> None:
    """Fold, in place and in one pass over the sorted graph. Cost: the folded nodes run once, in numpy."""
    opset = proto.opset_imports[""]
    outputs = set(proto.graph.outputs)
    for node in list(proto.graph):
        if foldable(node) and not outputs & set(node.outputs):
            fold(proto.graph, node, opset)


def foldable(node: ir.Node) -> bool:
    """Is the node a deterministic function of initializers alone?"""
    if node.op_type in NEVER or node.domain not in ("", "ai.onnx"):
        return False
    return all(value is None or value.const_value is not None for value in node.inputs)


def fold(graph: ir.Graph, node: ir.Node, opset: int) -> None:
    """Replace one node by initializers that carry its outputs' names, unless that would bloat the file."""
    arrays = [None if value is None or value.const_value is None else value.const_value.numpy() for value in node.inputs]
    results = evaluate(node, opset, arrays)
    if results is None or any(r.dtype == object for r in results):
        return
    before = sum(a.nbytes for a in arrays if a is not None)
    if sum(r.nbytes for r in results) > max(1 << 20, GROWTH * before):
        return
    named = [value for value in node.outputs if value.name]
    replacements = [ir.Value(name=f"{value.name}", type=value.type) for value in named]
    for value, new, result in zip(named, replacements, results, strict=True):
        value.replace_all_uses_with(new)
        new.const_value = ir.tensor(result, name=new.name)
        new.shape, new.dtype = ir.Shape(result.shape), new.const_value.dtype
    graph.remove(node, safe=True)
    for new in replacements:
        graph.register_initializer(new)


def set_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Give initializer `name` (made if need be) these contents; its type and shape follow."""
    value = graph.initializers.get(name)
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    if value is None:
        value = ir.Value(name=name, const_value=tensor)
        graph.register_initializer(value)
    value.const_value, value.shape, value.dtype = tensor, ir.Shape(array.shape), tensor.dtype
    return value
