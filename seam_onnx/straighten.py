"""Roundabout layout made plain.

torch's default exporter writes the end of some networks as `as_strided`: the tensor is flattened and gathered by indices
that are computed from the batch size. Where they name every element in order, that is a Reshape.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import new_initializer
from seam_onnx.shapes import Shapes, infer_shapes

__all__ = ["straighten"]


def straighten(proto: ir.Model) -> None:
    """Replace such Gathers, in place. Cost: two shape inferences, only where there is a candidate."""
    candidates = [node for node in proto.graph if flat_gather(node)]
    names = {str(v.shape[0]) for v in proto.graph.inputs if v.shape is not None and len(v.shape)}
    if candidates:
        found = [infer_shapes(proto, {name: batch for name in names}) for batch in (1, 2)]
        for node in candidates:
            if (sizes := straight(node, found)) is not None:
                reshape(proto.graph, node, sizes)


def flat_gather(node: ir.Node) -> bool:
    """Does the node gather, by computed indices, from something that was just flattened?"""
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0 or node.inputs[0] is None:
        return False
    maker, index = node.inputs[0].producer(), node.inputs[1]
    return maker is not None and maker.op_type == "Reshape" and index is not None and index.const_value is None


def straight(node: ir.Node, found: Sequence[Shapes]) -> list[int] | None:
    """The sizes behind the first axis, if at both batch sizes the indices count up through all elements."""
    data, index = (str(v.name) for v in node.inputs if v is not None)
    arrays = [shapes.known.get(index) for shapes in found]
    for shapes, array in zip(found, arrays, strict=True):
        if array is None or shapes.dims.get(data) != (array.size,):
            return None
        if array.ndim < 2 or not np.array_equal(array.reshape(-1), np.arange(array.size)):
            return None
    one, two = (array.shape for array in arrays if array is not None)
    return list(one[1:]) if one[1:] == two[1:] else None


def reshape(graph: ir.Graph, node: ir.Node, sizes: Sequence[int]) -> None:
    """Put a Reshape of what was flattened in the place of the Gather."""
    data, gathered = node.inputs[0], node.outputs[0]
    assert data is not None
    maker = data.producer()
    assert maker is not None
    target = new_initializer(graph, f"{gathered.name}.shape", np.array([-1, *sizes], np.int64))
    plain = ir.node("Reshape", [maker.inputs[0], target], name=node.name)
    plain.outputs[0].name, plain.outputs[0].type, plain.outputs[0].shape = gathered.name, gathered.type, gathered.shape
    graph.insert_before(node, plain)
    gathered.replace_all_uses_with(plain.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)
