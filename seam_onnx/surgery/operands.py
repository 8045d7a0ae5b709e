"""Integers that nodes read as operands (sizes, pads, indices), given anew where the shapes around them change."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import free_name, new_initializer, set_initializer
from seam_onnx.ops import Array

__all__ = ["give", "rewrite_operand"]


def rewrite_operand(
    graph: ir.Graph, node: ir.Node, index: int, entries: Mapping[int, int], known: Mapping[str, Array]
) -> None:
    """Give a node its own copy of an integer operand with some entries changed; 0 and -1 keep their meaning.

    A shape that is computed at run time keeps its computation, and the changed entries are put over it. An operand that
    was left out (the sizes of a Split) takes the place of the attribute `num_outputs`.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    name = f"{node.name}.{index}"
    if value is None:
        node.resize_inputs(max(len(node.inputs), index + 1))
        size = max(entries) + 1
        node.attributes.pop("num_outputs", None)
        node.replace_input_with(
            index, new_initializer(graph, name, np.array([entries[k] for k in range(size)], np.int64))
        )
    elif value.const_value is not None:
        array = value.const_value.numpy().copy()
        changed = rewritten(node, array, entries)
        if not np.array_equal(changed, array):
            give(graph, node, index, name, changed)
    else:
        put_over(graph, node, index, value, known[str(value.name)], entries)


def give(graph: ir.Graph, node: ir.Node, index: int, name: str, array: Array) -> None:
    """Write over an initializer that the node alone reads; another operand is replaced by an initializer of this name."""
    value = node.inputs[index]
    if value is not None and value.const_value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        set_initializer(graph, str(value.name), array)
    else:
        node.replace_input_with(index, new_initializer(graph, name, array))


def rewritten(node: ir.Node, array: Array, entries: Mapping[int, int]) -> Array:
    """The operand with its new entries; of a Reshape's, those that say 0 or -1 stay."""
    changed = array.copy()
    for k, size in entries.items():
        if node.op_type != "Reshape" or array[k] > 0:
            changed[k] = size
    return changed


def put_over(
    graph: ir.Graph, node: ir.Node, index: int, value: ir.Value, known: Array, entries: Mapping[int, int]
) -> None:
    """Insert `computed * others + new` in front of the operand (Where only exists since opset 9), or change what is there.

    Of a Reshape's entries those that say 0 or -1 stay, unless another one becomes the -1.
    """
    every = node.op_type != "Reshape" or -1 in entries.values()
    new = {k: size for k, size in entries.items() if every or known[k] > 0}
    others = np.array([int(k not in new) for k in range(len(known))], np.int64)
    sizes = np.array([new.get(k, 0) for k in range(len(known))], np.int64)
    if (there := scaled_and_shifted(value)) is not None:  # by an earlier removal
        scale, shift = there
        set_initializer(graph, str(scale.name), scale.numpy() * others)
        set_initializer(graph, str(shift.name), shift.numpy() * others + sizes)
        return
    for op_type, numbers in {"Mul": others, "Add": sizes}.items() if new else ():
        name = f"{node.name}.{index}.{op_type.lower()}"
        constant = new_initializer(graph, name, numbers)
        step = ir.node(op_type, [value, constant], name=free_name(graph, name))
        step.outputs[0].name = free_name(graph, f"{name}.sizes")
        graph.insert_before(node, step)
        value = step.outputs[0]
    node.replace_input_with(index, value)


def scaled_and_shifted(value: ir.Value) -> tuple[ir.TensorProtocol, ir.TensorProtocol] | None:
    """The constants of a value that is v * scale + shift and read, with them, by one node alone."""
    found: list[ir.TensorProtocol] = []
    for op_type in ("Add", "Mul"):
        node = value.producer()
        if node is None or node.op_type != op_type or len(value.uses()) != 1 or value.is_graph_output():
            return None
        first, second = node.inputs
        tensor = None if second is None else second.const_value
        if (
            first is None
            or second is None
            or tensor is None
            or len(second.uses()) != 1
            or tensor.dtype != ir.DataType.INT64
        ):
            return None
        found.insert(0, tensor)
        value = first
    return found[0], found[1]
