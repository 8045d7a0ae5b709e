"""Carrying out a plan: slice initializers, rewrite shape constants, fold constants, drop what nothing reads."""

from collections import defaultdict
from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seam_onnx.fold import free_name, new_initializer, rewrite
from seam_onnx.model import Model
from seam_onnx.ops import Array
from seam_onnx.ops.constants import kind
from seam_onnx.quantized import stored
from seam_onnx.surgery.leftovers import bypass_neutral, drop_leftovers
from seam_onnx.surgery.operands import give, rewrite_operand
from seam_onnx.surgery.plan import Merge, PrunePlan
from seam_onnx.surgery.small import Indices

__all__ = ["remove_channels"]


def remove_channels(model: Model, plan: PrunePlan) -> Model:
    """The smaller model that a plan made for `model` describes. Cost: a copy of the tensors that change."""
    proto = model.edit()
    graph = proto.graph
    nodes = {str(node.name): node for node in graph}
    merge(graph, plan.merged)
    gather(graph, plan.gathers)
    for (name, index), entries in plan.operands.items():
        rewrite_operand(graph, nodes[name], index, entries, model.shapes.known)
    for (name, attribute), number in plan.attributes.items():
        nodes[name].attributes[attribute] = attribute_of(attribute, number)
    for (name, index), array in plan.contents.items():
        give(graph, nodes[name], index, f"{name}.{index}", array)
    reroute(graph, plan.reroutes)
    for name, addition in plan.folded.items():
        add_to_output(graph, nodes[name], addition)
    replace(graph, plan.replaced, model)
    drop_leftovers(graph, model.shapes.dims, plan.dims)
    tidy(proto, plan)
    return model.edited(proto)


def attribute_of(name: str, number: int | float | list[int]) -> ir.Attr:
    """An attribute of the type that fits."""
    if isinstance(number, list):
        return ir.AttrInt64s(name, number)
    return ir.AttrInt64(name, number) if isinstance(number, int) else ir.AttrFloat32(name, number)


def merge(graph: ir.Graph, merged: Mapping[str, Merge]) -> None:
    """Sum up the slices of weights that one channel now stands for."""
    for name, plan in merged.items():
        rewrite(graph, name, shape_of(graph, name), partial(summed, plan=plan))


def summed(tensor: ir.TensorProtocol, plan: Merge) -> Array:
    """A weight, (I / group, O, ...) with its input axis first, whose slice `into` is the sum of all by their shares."""
    array = np.array(tensor.numpy())
    weight = np.moveaxis(array, plan.axis, 0)
    used = np.flatnonzero((plan.shares != 0).any(0))
    blocks = np.split(weight[used].astype(np.float64), len(plan.shares), axis=1)
    sums = [np.tensordot(share[used], block, 1) for share, block in zip(plan.shares, blocks, strict=True)]
    weight[plan.into] = np.concatenate(sums).astype(array.dtype)
    return array


def gather(graph: ir.Graph, gathers: Mapping[tuple[str, int], Indices]) -> None:
    """Keep the planned indices of each planned axis."""
    axes: dict[str, dict[int, Indices]] = defaultdict(dict)
    for (name, axis), kept in gathers.items():
        axes[name][axis] = kept
    for name, chosen in axes.items():
        shape = [len(chosen.get(k, range(n))) for k, n in enumerate(shape_of(graph, name))]
        rewrite(graph, name, shape, partial(picked, chosen=chosen))


def picked(tensor: ir.TensorProtocol, chosen: Mapping[int, Indices]) -> Array:
    """The chosen indices of some axes, the one that loses most first."""
    array = tensor.numpy()
    for axis in sorted(chosen, key=lambda k: len(chosen[k]) / max(1, array.shape[k])):
        array = array.take(chosen[axis], axis)
    return array


def shape_of(graph: ir.Graph, name: str) -> tuple[int, ...]:
    """Shape of an initializer."""
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return tuple(tensor.shape.numpy())


def reroute(graph: ir.Graph, reroutes: Mapping[str, tuple[str, int, Indices]]) -> None:
    """Put one Gather in the place of each chain of layout ops that only permuted channels."""
    made = {str(v.name): v for node in graph for v in node.outputs if v.name}
    made |= {str(v.name): v for v in graph.inputs}
    for name, (source, axis, indices) in reroutes.items():
        end, node = made[name], made[name].producer()
        assert node is not None
        order = new_initializer(graph, f"{name}.order", indices)
        gather = ir.node("Gather", [made[source], order], {"axis": axis}, name=free_name(graph, f"{node.name}.gather"))
        graph.insert_before(node, gather)
        take_over(graph, end, gather.outputs[0])
        made[name] = gather.outputs[0]


def take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let a new value stand wherever the old one was read or given out, under its name."""
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    name = free_name(graph, f"{old.name}.before")
    new.name, new.type, new.shape = old.name, old.type, old.shape
    old.name, old.shape = name, None


def add_to_output(graph: ir.Graph, node: ir.Node, addition: Array) -> None:
    """Fold constants into a node's bias, given one of its own; MatMul, which has none, is followed by an Add."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    dtype = weight.const_value.dtype
    if kind(node) == "MatMul":
        follow_by_add(graph, node, addition.astype(dtype.numpy()))
        return
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    beta = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    before = 0.0 if bias is None or bias.const_value is None else bias.const_value.numpy()
    if beta == 0:  # the bias was switched off
        before, beta = 0.0, 1.0
        node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    node.resize_inputs(3)
    total = (before + addition / beta).astype(dtype.numpy())
    give(graph, node, 2, f"{node.name}.bias", total)


def follow_by_add(graph: ir.Graph, node: ir.Node, addition: Array) -> None:
    """Insert an Add behind a node."""
    output = node.outputs[0]
    bias = new_initializer(graph, f"{node.name}.bias", addition)
    add = ir.node("Add", [output, bias], name=free_name(graph, f"{node.name}.add"))
    take_over(graph, output, add.outputs[0])
    add.replace_input_with(0, output)
    graph.insert_after(node, add)


def replace(graph: ir.Graph, contents: Mapping[str, Array], model: Model) -> None:
    """Put initializers where values were constant; where one is neutral (+ 0, x 1), the reader goes as well."""
    made = {str(v.name): v for node in graph for v in node.outputs if v.name}
    for name, array in contents.items():
        dtype = model.shapes.types.get(name, ir.DataType.FLOAT)
        users = [node for node, _ in made[name].uses() if not all(str(v.name) in contents for v in node.outputs)]
        if users:
            new = new_initializer(graph, f"{name}.constant", array.astype(dtype.numpy()))
            for node in users:
                for index, value in enumerate(node.inputs):
                    if value is made[name]:
                        node.replace_input_with(index, new)
                bypass_neutral(node, new, model)


def tidy(proto: ir.Model, plan: PrunePlan) -> None:
    """State the new shapes where shapes were stated, and drop nodes and initializers that nothing reads."""
    passes.RemoveUnusedNodesPass()(proto)
    for node in proto.graph:
        for value in node.outputs:
            form = stored(value)
            if form is not None and form.tensor.const_value is not None:
                value.shape = ir.Shape(form.tensor.const_value.shape.numpy())
            dims = plan.dims.get(str(value.name))
            if dims is not None and value.shape is not None:
                value.shape = ir.Shape(
                    [new if isinstance(old, int) else old for new, old in zip(dims, value.shape, strict=True)]
                )
