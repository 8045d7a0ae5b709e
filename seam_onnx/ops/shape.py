"""Ops about shapes: their outputs carry no channels, because in this project sizes are read off the labels."""

from typing import Any

import onnx_ir as ir

from seam_onnx.ops.reduction import zero_nothing
from seam_onnx.ops.registry import Family, op
from seam_onnx.ops.walk import Walk, none

__all__ = ["SHAPE"]


def couple_shape(walk: Walk, node: ir.Node) -> None:
    """The output is a list of sizes."""
    for value in node.outputs:
        walk.set(value, none(len(walk.dims(value))))


SHAPE = Family("shape", couple_shape, zero_nothing, "nothing to prune")


@op("Shape", SHAPE)
def shape(torch: Any, node: ir.Node, x: Any) -> Any:
    """Sizes of the input's axes, int64."""
    sizes = list(x.shape)[node.attributes.get_int("start", 0) : node.attributes.get_int("end", None)]
    return torch.tensor(sizes, dtype=torch.int64)


@op("Size", SHAPE)
def size(torch: Any, node: ir.Node, x: Any) -> Any:
    """Number of elements."""
    return torch.tensor(x.numel(), dtype=torch.int64)
