"""Carrying out a plan: slice initializers, rewrite shape constants, fold constants, drop what nothing reads."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seam_onnx.fold import set_initializer
from seam_onnx.model import Model
from seam_onnx.ops import Array
from seam_onnx.surgery.masking import store
from seam_onnx.surgery.plan import PrunePlan
from seam_onnx.surgery.small import Indices

__all__ = ["remove_channels"]


def remove_channels(model: Model, plan: PrunePlan) -> Model:
    """The smaller model that a plan made for `model` describes. Cost: a copy of the tensors that change."""
    proto = model.edit()
    graph = proto.graph
    nodes = {str(node.name): node for node in graph}
    gather(graph, plan.gathers)
    for (name, index), entries in plan.operands.items():
        rewrite_operand(graph, nodes[name], index, entries)
    for (name, attribute), number in plan.attributes.items():
        kind = ir.AttrInt64 if isinstance(number, int) else ir.AttrInt64s
        nodes[name].attributes[attribute] = kind(attribute, number)  # type: ignore[arg-type]
    for name, addition in plan.folded.items():
        add_to_output(graph, nodes[name], addition)
    replace(graph, plan.replaced, model)
    drop_empty(graph, plan)
    tidy(proto, plan)
    return model.edited(proto)


def gather(graph: ir.Graph, gathers: Mapping[tuple[str, int], Indices]) -> None:
    """Keep the planned indices of each planned axis."""
    arrays: dict[str, Array] = {}
    for (name, axis), kept in gathers.items():
        value = graph.initializers[name]
        assert value.const_value is not None
        arrays[name] = arrays.get(name, value.const_value.numpy()).take(kept, axis)
    for name, array in arrays.items():
        tensor = graph.initializers[name].const_value
        assert tensor is not None
        store(graph, name, array, tensor.dtype)


def rewrite_operand(graph: ir.Graph, node: ir.Node, index: int, entries: Mapping[int, int]) -> None:
    """Give a node its own copy of an integer operand with some entries changed; 0 and -1 keep their meaning.

    A shape that is computed at run time keeps its computation: `Where` puts the changed entries over it.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    name = f"{node.name}.{index}"
    if value is None:
        node.resize_inputs(max(len(node.inputs), index + 1))
        size = max(entries) + 1
        node.replace_input_with(index, set_initializer(graph, name, np.array([entries[k] for k in range(size)], np.int64)))
    elif value.const_value is not None:
        array = value.const_value.numpy().copy()
        changed = rewritten(node, array, entries)
        if not np.array_equal(changed, array):
            node.replace_input_with(index, set_initializer(graph, name, changed))
    else:
        put_over(graph, node, index, value, entries)


def rewritten(node: ir.Node, array: Array, entries: Mapping[int, int]) -> Array:
    """The operand with its new entries; of a Reshape's, those that say 0 or -1 stay."""
    changed = array.copy()
    for k, size in entries.items():
        if node.op_type != "Reshape" or array[k] > 0:
            changed[k] = size
    return changed


def put_over(graph: ir.Graph, node: ir.Node, index: int, value: ir.Value, entries: Mapping[int, int]) -> None:
    """Insert `Where(chosen, new entries, computed)` in front of the operand."""
    size = max(entries) + 1
    chosen = np.zeros(size, bool)
    chosen[list(entries)] = True
    new = np.array([entries.get(k, 0) for k in range(size)], np.int64)
    inputs = [set_initializer(graph, f"{node.name}.{index}.chosen", chosen), set_initializer(graph, f"{node.name}.{index}", new), value]
    where = ir.node("Where", inputs, name=f"{node.name}.{index}.where")
    where.outputs[0].name = f"{node.name}.{index}.sizes"
    graph.insert_before(node, where)
    node.replace_input_with(index, where.outputs[0])


def add_to_output(graph: ir.Graph, node: ir.Node, addition: Array) -> None:
    """Fold constants into a node's bias, given one of its own; MatMul, which has none, is followed by an Add."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    dtype = weight.const_value.dtype
    if node.op_type == "MatMul":
        follow_by_add(graph, node, addition.astype(dtype.numpy()))
        return
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    beta = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    before = 0.0 if bias is None or bias.const_value is None else bias.const_value.numpy()
    node.resize_inputs(3)
    total = (before + addition / (beta or 1.0)).astype(dtype.numpy())
    node.replace_input_with(2, set_initializer(graph, f"{node.name}.bias", total))


def follow_by_add(graph: ir.Graph, node: ir.Node, addition: Array) -> None:
    """Insert an Add behind a node."""
    output = node.outputs[0]
    add = ir.node("Add", [output, set_initializer(graph, f"{node.name}.bias", addition)], name=f"{node.name}.add")
    add.outputs[0].name, add.outputs[0].type = f"{output.name}.sum", output.type
    output.replace_all_uses_with(add.outputs[0], replace_graph_outputs=True)
    add.replace_input_with(0, output)
    graph.insert_after(node, add)


def replace(graph: ir.Graph, contents: Mapping[str, Array], model: Model) -> None:
    """Put initializers where values were constant; where one is neutral (+ 0, x 1), the reader goes as well."""
    made = {str(v.name): v for node in graph for v in node.outputs if v.name}
    for name, array in contents.items():
        dtype = model.shapes.types.get(name, ir.DataType.FLOAT)
        users = [node for node, _ in made[name].uses() if not all(str(v.name) in contents for v in node.outputs)]
        if users:
            new = set_initializer(graph, f"{name}.constant", array.astype(dtype.numpy()))
            for node in users:
                for index, value in enumerate(node.inputs):
                    if value is made[name]:
                        node.replace_input_with(index, new)
                bypass_neutral(node, new, model)


def bypass_neutral(node: ir.Node, constant: ir.Value, model: Model) -> None:
    """Let the readers of x + 0 or x * 1 read x, unless that is an output of the model."""
    neutral = {"Add": 0.0, "Mul": 1.0}.get(node.op_type)
    tensor = constant.const_value
    if neutral is None or tensor is None or node.outputs[0].is_graph_output() or not (tensor.numpy() == neutral).all():
        return
    (other,) = [v for v in node.inputs if v is not constant]
    if other is not None and model.shapes.dims[str(other.name)] == model.shapes[node.outputs[0]]:
        node.outputs[0].replace_all_uses_with(other)


def drop_empty(graph: ir.Graph, plan: PrunePlan) -> None:
    """A Concat no longer reads operands that lost their last channel."""
    for node in graph:
        if node.op_type == "Concat":
            kept = [v for v in node.inputs if v is None or 0 not in plan.dims.get(str(v.name), ())]
            if len(kept) < len(node.inputs):
                for index, value in enumerate(kept):
                    node.replace_input_with(index, value)
                node.resize_inputs(len(kept))


def tidy(proto: ir.Model, plan: PrunePlan) -> None:
    """State the new shapes where shapes were stated, and drop nodes and initializers that nothing reads."""
    passes.RemoveUnusedNodesPass()(proto)
    for node in proto.graph:
        for value in node.outputs:
            dims = plan.dims.get(str(value.name))
            if dims is not None and value.shape is not None:
                value.shape = ir.Shape(
                    [new if isinstance(old, int) else old for new, old in zip(dims, value.shape, strict=True)]
                )
