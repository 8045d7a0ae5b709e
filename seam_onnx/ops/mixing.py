"""Ops that combine channels and mean the kept ones only: normalisations, and reductions over channels.

A mask over such channels asks for the smaller network's arithmetic: the mean of the kept channels, not the mean of all
with zeros among them. So a mask reaches these nodes as a choice of indices. The masked model says it in ONNX:

    x -> Gather(kept) -> node (parameters gathered alike) -> Pad one zero -> Gather(places) -> y

where the last two put the results back among zeros, if the node's output still has the axis; removal of the dead
channels turns the Gathers into identities, which go. torch does the same with index_select (`seam_onnx.lowering`).
"""

from collections.abc import Sequence

import onnx_ir as ir

from seam_onnx.ops.walk import Walk

__all__ = ["mix_axes", "parameters_along"]


def parameters_along(node: ir.Node, axis: int, rank: int) -> dict[int, int]:
    """Operands of a node that go with its first operand's channels, and along which axis (negative, from the end)."""
    aligned = node.op_type in ("LayerNormalization", "RMSNormalization")
    if not aligned and node.op_type != "GroupNormalization":
        return {}
    return {k: axis - rank if aligned else -1 for k in range(1, len(node.inputs)) if node.inputs[k] is not None}


def mix_axes(walk: Walk, node: ir.Node, axes: Sequence[int]) -> int | None:
    """Declare that a node combines its first operand's channels over some axes; gives the one with channels, if any."""
    x = node.inputs[0]
    assert x is not None
    labels, dims = walk.labels(x), walk.dims(x)
    if labels.size == 1 and labels.any() and any(dims[k] == 1 for k in axes):
        walk.pin(node, labels, "reduces a single channel", "nothing to do: the last channel has to stay")
    walk.box(labels)
    axis = next((k for k in walk.varying(labels) if k in axes), None)
    if axis is not None:
        walk.mix(node, axis, walk.vector(x, axis))
    return axis
