"""Shortcuts that only move pixels and channels, written as convolutions.

A shortcut without parameters takes every second pixel and puts zeros beside the channels (He, Zhang, Ren, Sun, "Deep
residual learning for image recognition", arXiv 1512.03385, option A):

    x (N, C, H, W) -> Slice -> Slice -> Pad -> (N, C', H / 2, W / 2) -> Add

That is a 1x1 convolution of stride 2 whose weights are ones and zeros, and onnxruntime is faster with it: it computes
convolutions in a layout of its own, which it leaves for a Slice or a Pad, and it fuses a sum with the convolution before it
only where both operands are in that layout. As weights they are also pruned and trained like any others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.evaluate import evaluate
from seam_onnx.fold import free_name, new_initializer
from seam_onnx.model import Model
from seam_onnx.surgery.remove import take_over

__all__ = ["convolved"]

MOVES = ("Slice", "Pad", "Identity")
"""What such a chain is made of."""
EXACT = 1 << 24
"""Whole numbers up to this are float32."""


@dataclass(frozen=True)
class Move:
    """What a chain does: y[k, i, j] = x[source[k], i * stride[0], j * stride[1]], or 0 where source[k] is -1."""

    nodes: Sequence[ir.Node]
    """The chain, which ends in a Pad."""
    channels: int
    """Of x."""
    source: NDArray[np.int64]
    """For each channel of y the one of x, or -1."""
    stride: tuple[int, int]
    """Of rows and columns."""


def convolved(model: Model) -> Model:
    """The model with the chains that end in an Add written as convolutions; the model itself where there are none.

    Such a convolution is exact, as long as its numbers are finite. Cost: the chains are evaluated once.
    """
    proto, dtype = model.edit(), precision(model)
    if dtype is None:
        return model
    moves = [move for node in proto.graph if summed(node) and (move := move_of(model, node)) is not None]
    for move in moves:
        replace(proto.graph, move, dtype)
    return model.edited(proto) if moves else model


def precision(model: Model) -> ir.DataType | None:
    """Of all kernels; None where there are several, or integers."""
    convs = (node for node in model.graph if node.op_type == "Conv")
    kernels = (node.inputs[1].const_value for node in convs if node.inputs[1] is not None)
    found = {None if tensor is None else tensor.dtype for tensor in kernels}
    return found.pop() if len(found) == 1 else None


def summed(node: ir.Node) -> bool:
    """Is it a Pad whose result is only added to something?"""
    users = [user for user, _ in node.outputs[0].uses()]
    return node.op_type == "Pad" and bool(users) and all(user.op_type == "Add" for user in users)


def move_of(model: Model, pad: ir.Node) -> Move | None:
    """What the longest chain of moves that ends in a Pad does, found by sending the numbers of all pixels through it."""
    nodes = [pad]
    while (maker := movable(nodes[0].inputs[0])) is not None:
        nodes.insert(0, maker)
    x = nodes[0].inputs[0]
    dims = () if x is None else model.shapes.dims.get(str(x.name), ())
    if len(dims) != 4 or np.prod(dims) >= EXACT or pad.outputs[0].is_graph_output():
        return None
    pixels = np.arange(1, np.prod(dims) + 1, dtype=np.float32).reshape(dims)
    moved = sent(nodes, model.opset, pixels)
    if moved is None or moved.ndim != 4 or 0 in moved.shape:
        return None
    kept = moved[0, :, 0, 0] > 0
    source = np.where(kept, (moved[0, :, 0, 0].astype(np.int64) - 1) // int(np.prod(dims[2:])), -1)
    stride = -(-dims[2] // moved.shape[2]), -(-dims[3] // moved.shape[3])
    same = np.array_equal(moved[0, kept], pixels[0, source[kept], :: stride[0], :: stride[1]])
    plain = kept.any() and not kept.all() and not moved[0, ~kept].any()
    return Move(nodes, dims[1], source, stride) if same and plain else None


def movable(value: ir.Value | None) -> ir.Node | None:
    """The move that makes a value which nothing else reads."""
    maker = None if value is None else value.producer()
    if maker is None or value is None or maker.op_type not in MOVES or value.is_graph_output():
        return None
    return maker if len(value.uses()) == 1 and maker.inputs[0] is not None else None


def sent(nodes: Sequence[ir.Node], opset: int, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """What a chain makes of an image; None where it depends on anything else."""
    for node in nodes:
        operands = [None if value is None else value.const_value for value in node.inputs[1:]]
        if any(value is not None and tensor is None for value, tensor in zip(node.inputs[1:], operands, strict=True)):
            return None
        made = evaluate(node, opset, [x, *(None if tensor is None else tensor.numpy() for tensor in operands)])
        if made is None:
            return None
        x = made[0]
    return x


def replace(graph: ir.Graph, move: Move, dtype: ir.DataType) -> None:
    """Put a convolution in the place of a chain."""
    first, last = move.nodes[0], move.nodes[-1]
    x, y = first.inputs[0], last.outputs[0]
    assert x is not None
    weight = np.zeros((len(move.source), move.channels, 1, 1), dtype.numpy())
    kept = np.flatnonzero(move.source >= 0)
    weight[kept, move.source[kept]] = 1
    names = [free_name(graph, f"{last.name}.{part}") for part in ("weight", "bias")]
    operands = [new_initializer(graph, n, a) for n, a in zip(names, (weight, weight[:, 0, 0, 0] * 0), strict=True)]
    conv = ir.node(
        "Conv", [x, *operands], {"kernel_shape": [1, 1], "strides": list(move.stride)},
        name=free_name(graph, f"{last.name}.conv"),
    )  # fmt: skip
    graph.insert_before(last, conv)
    take_over(graph, y, conv.outputs[0])
    for node in reversed(move.nodes):
        graph.remove(node, safe=True)
