"""One node on numpy arrays, by onnx's own reference implementation."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

__all__ = ["evaluate"]

RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


def evaluate(node: ir.Node, opset: int, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
    """The outputs of `node`, None where the reference implementation cannot say, or not the same thing twice.

    Args:
        node: a node of the default domain without subgraphs.
        opset: version of the default operator set.
        inputs: one array an input, None for an omitted one.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM:
        return None
    proto = ir.to_proto(node)
    feeds = {str(value.name): array for value, array in zip(node.inputs, inputs, strict=True) if value is not None}
    outputs = [value.name for value in node.outputs if value.name]
    empty = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [proto],
        "node",
        [onnx.helper.make_value_info(str(name), empty) for name in feeds],
        [onnx.helper.make_value_info(name, empty) for name in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, dict(feeds))]
    except Exception:
        return None
