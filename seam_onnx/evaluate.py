"""One node on numpy arrays, by onnx's own reference implementation."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

__all__ = ["Evaluator", "evaluate", "evaluator"]

Evaluator = Callable[[Sequence[np.ndarray | None]], list[np.ndarray] | None]
"""A node as a function of its inputs."""

RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


def evaluate(node: ir.Node, opset: int, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
    """The outputs of `node`, None where the reference implementation cannot say, or not the same thing twice.

    Args:
        node: a node of the default domain without subgraphs.
        opset: version of the default operator set.
        inputs: one array an input, None for an omitted one.
    """
    return evaluator(node, opset)(inputs)


def evaluator(node: ir.Node, opset: int) -> Evaluator:
    """`evaluate` of a node as it is now, whatever becomes of it: a function of the inputs."""
    if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM:
        return lambda _: None
    names = [None if value is None else str(value.name) for value in node.inputs]
    outputs = [value.name for value in node.outputs if value.name]
    empty = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [ir.to_proto(node)],
        "node",
        [onnx.helper.make_value_info(name, empty) for name in dict.fromkeys(names) if name is not None],
        [onnx.helper.make_value_info(name, empty) for name in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])

    def run(inputs: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
        feeds = {name: array for name, array in zip(names, inputs, strict=True) if name is not None}
        try:
            return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
        except Exception:
            return None

    return run
