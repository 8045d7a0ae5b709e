"""What a removal leaves that does nothing any more: operands without channels, a Gather of everything, a Relu of a Relu."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from seam_onnx.model import Model

__all__ = ["bypass_neutral", "drop_leftovers"]

Dims = Mapping[str, tuple[int, ...]]


def drop_leftovers(graph: ir.Graph, before: Dims, planned: Dims) -> None:
    """Let nothing read what has become empty or does nothing; shapes of values by name, as they were and as planned."""
    drop_empty(graph, planned)
    drop_identities(graph, {**before, **planned})
    drop_repeats(graph)


def drop_empty(graph: ir.Graph, dims: Dims) -> None:
    """A Concat no longer reads operands that lost their last channel."""
    for node in graph:
        if node.op_type == "Concat":
            kept = [v for v in node.inputs if v is None or 0 not in dims.get(str(v.name), ())]
            if len(kept) < len(node.inputs):
                for index, value in enumerate(kept):
                    node.replace_input_with(index, value)
                node.resize_inputs(len(kept))


def drop_identities(graph: ir.Graph, dims: Dims) -> None:
    """Let the readers of a Gather of everything in order, and of a Pad of nothing, read its operand."""
    for node in graph:
        x = node.inputs[0] if node.inputs else None
        operand = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
        if x is None or operand is None or node.op_type not in ("Gather", "Pad") or node.outputs[0].is_graph_output():
            continue
        array = operand.numpy()
        size = dims.get(str(x.name), (0,))[node.attributes.get_int("axis", 0) if node.op_type == "Gather" else 0]
        if np.array_equal(array, np.arange(size)) if node.op_type == "Gather" else not array.any():
            node.outputs[0].replace_all_uses_with(x)


def drop_repeats(graph: ir.Graph) -> None:
    """Let the readers of a Relu of a Relu read the first: what is left where a branch between two has gone."""
    for node in graph:
        x = node.inputs[0] if node.op_type == "Relu" else None
        before = x.producer() if x is not None else None
        if x is not None and before is not None and before.op_type == "Relu" and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(x)


def bypass_neutral(node: ir.Node, constant: ir.Value, model: Model) -> None:
    """Let the readers of x + 0 or x * 1 read x, unless that is an output of the model."""
    neutral = {"Add": 0.0, "Mul": 1.0}.get(node.op_type)
    tensor = constant.const_value
    if neutral is None or tensor is None or node.outputs[0].is_graph_output() or not (tensor.numpy() == neutral).all():
        return
    (other,) = [v for v in node.inputs if v is not constant]
    if other is not None and model.shapes.dims.get(str(other.name)) == model.shapes[node.outputs[0]]:
        node.outputs[0].replace_all_uses_with(other)
