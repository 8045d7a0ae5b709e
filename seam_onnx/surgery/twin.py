"""Two graphs that must be one and the same but for the contents of their weights, walked side by side.

What a search arrives at in rounds, and what one removal gives, are built on different ways. Before the weights of the one go
into the other, node by node is compared: op, attributes, edges, shapes, integer constants. Names may differ.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from seam_onnx.model import Model
from seam_onnx.ops import Array

__all__ = ["MismatchError", "contents_of_twin"]


class MismatchError(RuntimeError):
    """Two graphs that should be the same are not: a bug of this program, no fault of the model."""


def contents_of_twin(model: Model, twin: Model) -> dict[str, Array]:
    """By the names of `model`, the floating-point initializers whose contents are others in `twin`, as they are there.

    Types that numpy has no name for (bfloat16) come as float32, which holds them exactly.

    Raises:
        MismatchError: the graphs differ in anything else.
    """
    return Walk(model, twin).run()


class Walk:
    """State of the walk."""

    def __init__(self, model: Model, twin: Model) -> None:
        self.model, self.twin = model, twin
        self.partner: dict[ir.Value, ir.Value] = {}
        self.found: dict[str, Array] = {}

    def run(self) -> dict[str, Array]:
        """Inputs, nodes in graph order, outputs."""
        mine, others = list(self.model.graph), list(self.twin.graph)
        self.expect(len(mine) == len(others), "the graph", f"{len(mine)} nodes against {len(others)}")
        self.pair(self.model.graph.inputs, self.twin.graph.inputs, "the inputs")
        for node, other in zip(mine, others, strict=True):
            self.visit(node, other)
        self.pair(self.model.graph.outputs, self.twin.graph.outputs, "the outputs")
        return self.found

    def visit(self, node: ir.Node, other: ir.Node) -> None:
        """One node."""
        where = f"node {node.name!r}"
        kinds = [(n.domain, n.op_type, n.overload) for n in (node, other)]
        self.expect(kinds[0] == kinds[1], where, f"{kinds[0]} against {kinds[1]}")
        self.expect(attributes(node) == attributes(other), where, "other attributes")
        self.pair(node.inputs, other.inputs, where)
        self.pair(node.outputs, other.outputs, where)

    def pair(self, mine: Sequence[ir.Value | None], others: Sequence[ir.Value | None], where: str) -> None:
        """Values that stand at the same places."""
        self.expect(len(mine) == len(others), where, f"{len(mine)} values against {len(others)}")
        for value, other in zip(mine, others, strict=True):
            if value is None or other is None:
                self.expect(value is other, where, "an operand is left out in one of them")
            else:
                self.same(value, other, where)

    def same(self, value: ir.Value, other: ir.Value, where: str) -> None:
        """One value: the same edge, or initializers of one type and shape."""
        self.expect(self.partner.setdefault(value, other) is other, where, f"{value.name!r} is another value")
        dims = [m.shapes.dims.get(str(v.name)) for m, v in ((self.model, value), (self.twin, other))]
        self.expect(dims[0] == dims[1], where, f"{value.name!r} has shape {dims[0]} against {dims[1]}")
        mine, its = value.const_value, other.const_value
        if mine is None or its is None:
            self.expect(mine is its, where, f"{value.name!r} is an initializer in one of them")
        else:
            self.contents(str(value.name), mine, its, where)

    def contents(self, name: str, tensor: ir.TensorProtocol, other: ir.TensorProtocol, where: str) -> None:
        """An initializer: note what differs, where that may."""
        self.expect(tensor.dtype == other.dtype, where, f"{name!r} is {tensor.dtype} against {other.dtype}")
        array, wanted = tensor.numpy(), other.numpy()
        self.expect(array.shape == wanted.shape, where, f"{name!r} has shape {array.shape} against {wanted.shape}")
        if array.tobytes() != wanted.tobytes():
            self.expect(tensor.dtype.is_floating_point(), where, f"{name!r} holds other numbers")
            self.found[name] = wanted if wanted.dtype.kind == "f" else wanted.astype(np.float32)

    def expect(self, true: bool, where: str, what: str) -> None:
        """Raise MismatchError unless something holds."""
        if not true:
            raise MismatchError(f"one removal and several rounds of it differ at {where}: {what}")


def attributes(node: ir.Node) -> dict[str, bytes]:
    """What a node says beside its operands."""
    return {name: ir.to_proto(attribute).SerializeToString() for name, attribute in node.attributes.items()}
