"""Constant folding: what can be computed from initializers alone becomes an initializer.

Exporters leave weights behind Transpose, Reshape, Cast or arithmetic; channel analysis and lowering want to see them as
plain initializers. Quantised weights are left alone: DequantizeLinear is the format, not an accident.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from seam_onnx.evaluate import Evaluator, evaluator
from seam_onnx.ondisk import deferred, waits

__all__ = [
    "fold_constants", "free_name", "new_initializer", "rewrite", "set_initializer", "store", "unshare_constants",
]  # fmt: skip

NEVER = {
    "DequantizeLinear", "QuantizeLinear", "Dropout", "If", "Loop", "Scan", "SequenceEmpty", "SequenceConstruct",
    "Optional",
}  # fmt: skip
SMALL = 1 << 16
"""Elements up to which a constant is copied for each of its readers."""
BESIDE = {"Add", "Sub", "Mul", "Div", "Pow", "LayerNormalization", "RMSNormalization", "InstanceNormalization"}
"""Ops whose constants act on channels one by one."""
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
    sources = [None if value is None else value.const_value for value in node.inputs]
    run = evaluator(node, opset)
    results = computed(run, sources)
    if not results or any(r.dtype == object for r in results):
        return
    before = sum(tensor.nbytes for tensor in sources if tensor is not None)
    if sum(r.nbytes for r in results) > max(1 << 20, GROWTH * before):
        return
    named = [value for value in node.outputs if value.name]
    replacements = [ir.Value(name=f"{value.name}", type=value.type) for value in named]
    for k, (value, new, result) in enumerate(zip(named, replacements, results, strict=True)):
        value.replace_all_uses_with(new)
        tensor = ir.tensor(result, name=new.name)
        if waits(sources, tensor.nbytes):
            tensor = deferred(str(new.name), result.shape, tensor.dtype, partial(recomputed, run, sources, k))
        new.const_value, new.shape, new.dtype = tensor, ir.Shape(result.shape), tensor.dtype
    operands = [value for value in node.inputs if value is not None]
    graph.remove(node, safe=True)
    for value in operands:
        if not value.uses() and value.name in graph.initializers and not value.is_graph_output():
            del graph.initializers[str(value.name)]
    for new in replacements:
        graph.register_initializer(new)


def computed(run: Evaluator, sources: Sequence[ir.TensorProtocol | None]) -> list[np.ndarray]:
    """What a node gives for these operands; empty where that cannot be said."""
    return run([None if tensor is None else tensor.numpy() for tensor in sources]) or []


def recomputed(run: Evaluator, sources: Sequence[ir.TensorProtocol | None], index: int) -> np.ndarray:
    """One of a node's outputs, computed again."""
    return computed(run, sources)[index]


def unshare_constants(proto: ir.Model) -> None:
    """Give each reader its own copy of a small constant, in place.

    Exporters merge equal constants, and rotary embeddings share one table over all layers. Shared, it would tie the
    channels of layers that have nothing to do with each other. Weights (read by a contraction or a look-up) stay
    shared: there it is meant.
    """
    graph = proto.graph
    for name, value in list(graph.initializers.items()):
        tensor, uses = value.const_value, list(value.uses())
        small = tensor is not None and tensor.dtype.is_floating_point() and 1 < tensor.size <= SMALL
        if small and len(uses) > 1 and all(node.op_type in BESIDE for node, _ in uses):
            for number, (node, index) in enumerate(uses[1:], 1):
                node.replace_input_with(index, copy_of(graph, value, f"{name}.copy{number}"))


def copy_of(graph: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    """A new initializer with the contents of another."""
    assert value.const_value is not None
    return store(graph, free_name(graph, name), value.const_value.numpy(), value.const_value.dtype)


def new_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """An initializer with these contents, named so, or with a number behind it where the name is taken."""
    return set_initializer(graph, free_name(graph, name), array)


def free_name(graph: ir.Graph, name: str) -> str:
    """The name, or the first of `name.1`, `name.2`, ... that no value and no node of the graph has."""
    taken = {value.name for value in [*graph.inputs, *graph.initializers.values()]}
    for node in graph:
        taken |= {node.name, *(value.name for value in node.outputs)}
    candidates = (f"{name}.{k}" for k in itertools.count(1))
    return name if name not in taken else next(c for c in candidates if c not in taken)


def set_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Give initializer `name` (made if need be) these contents; its type and shape follow."""
    return set_tensor(graph, name, ir.tensor(np.asarray(array, order="C"), name=name))


def set_tensor(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    """The same, of a tensor."""
    value = graph.initializers.get(name)
    if value is None:
        value = ir.Value(name=name, const_value=tensor)
        graph.register_initializer(value)
    value.const_value, value.shape, value.dtype = tensor, ir.Shape(tensor.shape.numpy()), tensor.dtype
    return value


def rewrite(
    graph: ir.Graph, name: str, shape: Sequence[int], change: Callable[[ir.TensorProtocol], np.ndarray]
) -> ir.Value:
    """Put what `change` makes of an initializer, an array of this shape, in its place; the type stays.

    Where a large initializer is on disk this is done whenever it is read.
    """
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    if waits([tensor], tensor.nbytes):
        return set_tensor(graph, name, deferred(name, shape, tensor.dtype, lambda: change(tensor)))
    return store(graph, name, change(tensor), tensor.dtype)


def store(graph: ir.Graph, name: str, array: np.ndarray, dtype: ir.DataType) -> ir.Value:
    """Put an array back under its name and type."""
    value = set_initializer(graph, name, array)
    if value.dtype != dtype:
        value.const_value = ir.tensor(array, dtype=dtype, name=name)
        value.dtype = dtype
    return value
