"""What exporters compute from shapes at run time, made plain where it is always the same.

torch's default exporter writes the end of some networks as `as_strided`: the tensor is flattened and gathered by indices
that are computed from the batch size. Where they name every element in order, that is a Reshape. The legacy exporter
computes attention's scale from the shape of the queries: it must not change when these lose channels, so it is frozen.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import new_initializer
from seam_onnx.shapes import Shapes, infer_shapes

__all__ = ["straighten"]


def straighten(proto: ir.Model) -> None:
    """Do both, in place. Cost: two shape inferences, only where something is computed from a shape."""
    if any(node.op_type in ("Shape", "Size") for node in proto.graph):
        found = [infer_shapes(proto, sizes) for sizes in two_sizes(proto)]
        for node in list(proto.graph):
            if flat_gather(node) and (sizes := straight(node, found)) is not None:
                reshape(proto.graph, node, sizes)
        for value, array in frozen(proto, found):
            value.replace_all_uses_with(new_initializer(proto.graph, f"{value.name}.frozen", array))


def two_sizes(proto: ir.Model) -> list[dict[str, int]]:
    """Two sets of sizes for the symbolic dimensions: a batch of 1 and of 2, anything else 32 and 48 long."""
    names = {
        str(dim.value): k for v in proto.graph.inputs for k, dim in enumerate(v.shape or ()) if not isinstance(dim, int)
    }
    return [
        {name: (1 if axis == 0 else 32) for name, axis in names.items()},
        {name: (2 if axis == 0 else 48) for name, axis in names.items()},
    ]


def frozen(proto: ir.Model, found: Sequence[Shapes]) -> Iterator[tuple[ir.Value, np.ndarray]]:
    """Numbers (not sizes) computed from shapes that other nodes read, where both sizes give the same."""
    for node in list(proto.graph):
        for value in node.outputs:
            one, two = (shapes.known.get(str(value.name)) for shapes in found)
            read = any(str(v.name) not in found[0].known for user, _ in value.uses() for v in user.outputs)
            if read and one is not None and two is not None and one.dtype.kind == "f" and np.array_equal(one, two):
                yield value, one


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
