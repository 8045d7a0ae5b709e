"""The walk in the original world: labels are handed out, tied, bound and pinned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from seam_onnx.blockers import Blocker
from seam_onnx.channels.detours import Detour, find_detour
from seam_onnx.channels.labels import UnionFind
from seam_onnx.channels.records import Axis, Binding, Meeting, Mix, Work
from seam_onnx.errors import SeamError
from seam_onnx.model import Model
from seam_onnx.ops import Array, Family, Labels, Role, Walk, compress, find, none
from seam_onnx.quantized import is_weight, readers, stored

__all__ = ["Trace", "trace"]

OUTPUT = "nothing to do: readers of the file count on it; prune cuts the classes"
"""What would lift the pin of an output."""


@dataclass
class Trace(Walk):
    """State of the walk. `free_outputs` leaves graph outputs unpinned, which is how a head is cut."""

    model: Model
    free_outputs: bool = False
    whole_heads: bool = False
    sets: UnionFind = field(default_factory=UnionFind)
    values: dict[str, Labels] = field(default_factory=dict)
    bindings: dict[tuple[str, str, int], Binding] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    meetings: list[Meeting] = field(default_factory=list)
    detours: dict[str, Detour] = field(default_factory=dict)
    bound: dict[Axis, Labels] = field(default_factory=dict)
    made: dict[tuple[str, str], Labels] = field(default_factory=dict)
    blockers: list[Blocker] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.opset = self.model.opset

    # ---- what is known --------------------------------------------------------------------------------------------
    def dims(self, value: ir.Value) -> tuple[int, ...]:
        return self.model.shapes[value]

    original_dims = dims

    def array(self, value: ir.Value | None) -> Array | None:
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.numpy()
        form = stored(value)
        return self.model.shapes.known.get(str(value.name)) if form is None else form.floats()

    def computed(self, value: ir.Value | None) -> Array | None:
        return None if value is None else self.model.shapes.known.get(str(value.name))

    def constant(self, value: ir.Value | None) -> bool:
        known = value is None or is_weight(value) or value.name in self.model.shapes.known
        return known and (value is None or str(value.name) not in self.values)

    def labels(self, value: ir.Value) -> Labels:
        found = self.values.get(str(value.name))
        return none(len(self.dims(value))) if found is None else found

    def same(self, labels: Labels) -> Labels:
        return self.sets.find(np.asarray(labels).reshape(-1)).reshape(np.shape(labels))

    def extent(self, value: ir.Value) -> tuple[int, ...]:
        return self.labels(value).shape

    def position(self, value: ir.Value, axis: int, index: int) -> int:
        return min(index, self.dims(value)[axis])

    def renormalises(self, node: ir.Node) -> bool:
        return self.free_outputs and any(value.is_graph_output() for value in node.outputs)

    # ---- what the rules say ---------------------------------------------------------------------------------------
    def set(self, value: ir.Value, labels: Labels) -> None:
        """Note labels, without the axes along which all are tied: nothing can go along those."""
        self.values[str(value.name)] = compress(self.same(np.asarray(labels, np.int64)))

    def fresh(self, node: ir.Node, count: int, slot: str = "") -> Labels:
        labels = self.sets.grow(count)
        self.made[str(node.name), slot] = labels
        return labels

    def bind(self, node: ir.Node, value: ir.Value, axis: int, labels: Labels, role: Role) -> None:
        form = stored(value)
        if value.const_value is None and form is None:
            self.pin(node, labels, f"{value.name!r} is computed at run time", "make it an initializer")
        elif form is not None and form.blocked:
            self.pin(node, labels, "its weight has a scale for each block", "quantise by tensor or by channel")
        else:
            for reader, part, dim, how in self.parts(node, value, axis, role):
                place = Axis(str(part.name), dim)
                if self.dims(part)[dim] != len(labels):
                    why = f"{part.name!r} has {self.dims(part)[dim]} indices for {len(labels)} channels"
                    raise SeamError(node.op_type, why, "check the model with onnx.checker")
                self.tie(self.bound.setdefault(place, labels), labels)
                key = (str(reader.name), place.initializer, dim)
                self.bindings[key] = Binding(*key, labels, how)

    def tie(self, a: Labels, b: Labels) -> None:
        self.sets.union(a, b)

    def pin(self, node: ir.Node, labels: Labels, reason: str, unblock: str) -> None:
        self.block(str(node.name), node.op_type, labels, reason, unblock)

    def block(self, node: str, op: str, labels: Labels, reason: str, unblock: str) -> None:
        """Tie channels to label 0 and note why, if any of them was still free."""
        free = np.unique(self.same(labels))
        free = free[free > 0]
        if len(free):
            self.blockers.append(Blocker(node, op, reason, len(free), unblock))
            self.sets.union(free, np.zeros_like(free))

    def mix(self, node: ir.Node, axis: int, labels: Labels) -> None:
        x = node.inputs[0]
        assert x is not None
        self.mixes.append(Mix(str(node.name), axis, len(self.dims(x)), labels))

    def meet(self, node: ir.Node, labels: Labels, *places: tuple[int, int]) -> None:
        self.meetings.append(Meeting(str(node.name), labels, places))

    def work(self, node: ir.Node, unit: float, *axes: Labels) -> None:
        self.works.append(Work(str(node.name), unit, axes))

    def contents(self, node: ir.Node, index: int, array: Array) -> None:
        pass

    def survivors(self, value: ir.Value, axis: int) -> Array:
        return np.ones(self.dims(value)[axis], bool)

    def operand(self, node: ir.Node, index: int, entries: Mapping[int, int]) -> None:
        pass

    def attribute(self, node: ir.Node, name: str, number: int | float | Sequence[int]) -> None:
        pass

    # ---- the walk -------------------------------------------------------------------------------------------------
    def visit(self, node: ir.Node) -> None:
        """Apply the node's rule; without one, or where it fails, pin what arrives and go on without channels."""
        spec = find(node, self.opset)
        known = all(value.name in self.model.shapes.known for value in node.outputs if value.name)
        if known and (spec is None or not self.sourced(node, spec.family)):
            return
        try:
            if spec is None:
                raise SeamError(node.op_type, "there is no channel rule for this op", "add one, see CONTRIBUTING.md")
            spec.family.couple(self, node)
            if (detour := find_detour(self, node)) is not None:
                self.detours[str(node.outputs[0].name)] = detour
        except (SeamError, ValueError, TypeError, AssertionError, IndexError) as error:
            self.refuse(node, error)
        for graph in [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]:
            self.pin_captured(node, graph)
        for value in node.inputs:
            content = None if value is None else self.model.shapes.known.get(str(value.name))
            if value is not None and content is not None and content.dtype.kind == "f":
                self.pin_measured(node, value)

    def refuse(self, node: ir.Node, error: Exception) -> None:
        """Pin everything that reaches the node; its outputs have no channels."""
        self.refused.add(str(node.name))
        reason = error.why if isinstance(error, SeamError) else f"its rule cannot follow it ({error})"
        unblock = error.do if isinstance(error, SeamError) else "export it in its usual form, or report the model"
        for value in node.inputs:
            if value is not None and str(value.name) in self.values:
                self.block(str(node.name), node.op_type, self.labels(value), reason, unblock)
        for key in [key for key in self.bindings if key[0] == node.name]:
            self.block(str(node.name), node.op_type, self.bindings.pop(key).labels, reason, unblock)
        for value in node.outputs:
            self.values.pop(str(value.name), None)
            if value in self.model.shapes:
                self.set(value, none(len(self.dims(value))))

    def pin_measured(self, node: ir.Node, number: ir.Value) -> None:
        """A number (not a size) computed from the sizes of a value: they may not change."""
        maker = number.producer()
        if maker is not None and maker.op_type in ("Shape", "Size") and maker.inputs[0] is not None:
            self.pin(
                node, self.labels(maker.inputs[0]), "calculates with its size", "export with that number as a constant"
            )
        elif maker is not None:
            for value in maker.inputs:
                if value is not None and value.name in self.model.shapes.known:
                    self.pin_measured(node, value)

    def pin_captured(self, node: ir.Node, graph: ir.Graph) -> None:
        """A subgraph may read any outer value: those are pinned."""
        for inner in ir.traversal.RecursiveGraphIterator(graph):
            for value in inner.inputs:
                if value is not None and str(value.name) in self.values:
                    self.pin(node, self.labels(value), "is read inside a subgraph", "export without If, Loop or Scan")

    def sourced(self, node: ir.Node, family: Family) -> bool:
        """Does the node move a weight that it is given (an Expand of a class token)? Then that gets labels like data."""
        if family.name not in ("layout", "elementwise"):
            return False
        for index, value in enumerate(
            node.inputs[: 1 if family.name == "layout" and node.op_type != "Concat" else None]
        ):
            if value is not None and value.const_value is not None and str(value.name) not in self.values:
                self.source(node, index, value, value.const_value)
        return any(value is not None and str(value.name) in self.values for value in node.inputs)

    def source(self, node: ir.Node, index: int, value: ir.Value, tensor: ir.TensorProtocol) -> None:
        """Label a weight along the one axis that extends."""
        shape = tuple(tensor.shape.numpy())
        wide = [k for k, n in enumerate(shape) if n > 1]
        if len(wide) == 1 and tensor.dtype.is_floating_point():
            made = self.fresh(node, shape[wide[-1]], f"source{index}")
            self.bind(node, value, wide[-1], made, "write")
            self.set(value, made.reshape([-1 if k == wide[-1] else 1 for k in range(len(shape))]))

    def finish(self) -> None:
        """Make boxes of what is no detour; pin outputs, and initializers also read where no rule bound them."""
        passed = {value for detour in self.detours.values() for value in detour.passed}
        for name, labels in self.values.items():
            if name not in passed:
                self.box(labels)
        bound = {(name, node) for node, name, _ in self.bindings}
        for (_, name, _), binding in list(self.bindings.items()):
            value = self.model.initializers[name]
            for user in readers(value):
                if (name, str(user.name)) not in bound:
                    self.block(
                        str(user.name),
                        user.op_type,
                        binding.labels,
                        f"also reads {name!r} as it is",
                        "give it a copy of its own",
                    )
            if value.is_graph_output():
                self.block(name, "output", binding.labels, "is an output of the model", OUTPUT)
        if not self.free_outputs:
            for value in self.model.graph.outputs:
                if str(value.name) in self.values:
                    self.block(str(value.name), "output", self.labels(value), "is an output of the model", OUTPUT)


def trace(model: Model, *, free_outputs: bool = False, whole_heads: bool = False) -> Trace:
    """Walk the model's graph once."""
    walk = Trace(model, free_outputs, whole_heads)
    for node in model.graph:
        walk.visit(node)
    walk.finish()
    return walk
