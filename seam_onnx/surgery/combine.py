"""Nodes that combine channels, made to combine the kept ones only: the masked model's form of a smaller LayerNorm.

    x -> Gather(kept) -> node (parameters gathered alike) -> Pad one zero -> Gather(places) -> readers

See `seam_onnx.ops.mixing`. When the dead channels go, both Gathers become identities and the Pad adds nothing.
"""

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import new_initializer, store
from seam_onnx.masks import Mask
from seam_onnx.model import Model
from seam_onnx.ops.mixing import parameters_along

__all__ = ["combine_kept"]


def combine_kept(graph: ir.Graph, node: ir.Node, mask: Mask, model: Model) -> None:
    """Rewrite one node in place; `mask` is as long as its first operand along the axis of the channels, else 1."""
    axis = max(range(mask.ndim), key=lambda k: mask.shape[k])
    keep = mask.reshape(-1)
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    node.replace_input_with(0, taken(graph, x, np.flatnonzero(keep), axis, f"{node.name}.kept", before=node))
    for index, place in parameters_along(node, axis, mask.ndim).items():
        gather_parameter(graph, node, index, place, keep)
    dims = model.shapes[y]
    if len(dims) == mask.ndim and dims[axis] == len(keep):
        put_back(graph, node, mask, axis, model.opset)


def taken(graph: ir.Graph, value: ir.Value, kept: np.ndarray, axis: int, name: str, before: ir.Node) -> ir.Value:
    """The kept slices of a value."""
    order = new_initializer(graph, name, kept)
    gather = ir.node("Gather", [value, order], {"axis": axis}, name=f"{name}.gather")
    gather.outputs[0].name, gather.outputs[0].type = f"{name}.gathered", value.type
    graph.insert_before(before, gather)
    return gather.outputs[0]


def gather_parameter(graph: ir.Graph, node: ir.Node, index: int, place: int, keep: np.ndarray) -> None:
    """Give the node its own copy of a parameter that extends along the channels, with the kept ones."""
    value = node.inputs[index]
    tensor = None if value is None else value.const_value
    if tensor is not None and len(tensor.shape) >= -place and tensor.shape.numpy()[place] == len(keep):
        array = tensor.numpy().compress(keep, place)
        node.replace_input_with(index, store(graph, f"{node.name}.{index}.kept", array, tensor.dtype))


def put_back(graph: ir.Graph, node: ir.Node, mask: Mask, axis: int, opset: int) -> None:
    """Behind the node, put its results among zeros: its readers see the shape they know."""
    y = node.outputs[0]
    rank, keep = mask.ndim, mask.reshape(-1)
    pads = [0] * (2 * rank)
    pads[rank + axis] = 1
    places = np.where(keep, np.cumsum(keep) - 1, keep.sum())
    if opset < 11:
        pad = ir.node("Pad", [y], {"pads": pads}, name=f"{node.name}.pad")
    else:
        amounts = new_initializer(graph, f"{node.name}.pads", np.array(pads, np.int64))
        pad = ir.node("Pad", [y, amounts], name=f"{node.name}.pad")
    pad.outputs[0].name, pad.outputs[0].type = f"{y.name}.padded", y.type
    graph.insert_after(node, pad)
    back = ir.node(
        "Gather",
        [pad.outputs[0], new_initializer(graph, f"{node.name}.places", places)],
        {"axis": axis},
        name=f"{node.name}.back",
    )
    back.outputs[0].name, back.outputs[0].type = f"{y.name}.back", y.type
    graph.insert_after(pad, back)
    y.replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)
    pad.replace_input_with(0, y)
    y.shape = None
