"""From ONNX to torch: one `fx.GraphModule` in which every floating-point initializer is exactly one parameter.

So a weight mask is one multiplication on one edge, tied weights stay tied, and results are written back by name; nothing is
transposed, nothing is baked in. An op without a lowering of ours goes through onnx2torch's converter for that op and
opset, inside the same graph; what neither knows is refused by name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, fx, nn

from seam_onnx.conversion import converted
from seam_onnx.errors import UnsupportedOpError
from seam_onnx.fold import store
from seam_onnx.masks import Mask, MaskSet
from seam_onnx.model import Model
from seam_onnx.ops import find
from seam_onnx.ops.mixing import parameters_along
from seam_onnx.quantized import Stored, is_scale, stored, stored_as

__all__ = ["Lowered", "lower", "write_back"]


class Op(nn.Module):
    """One ONNX node as a module without state; operands that are integer constants are kept beside it."""

    def __init__(self, node: ir.Node, run: Callable[..., Any], constants: Mapping[int, np.ndarray | None]) -> None:
        super().__init__()
        self.node = node
        self.run = run
        self.kept: Mask | None = None
        self.constants = dict(constants)
        self.count = len(node.inputs)

    def forward(self, *tensors: Any) -> Any:
        """The node's output, or a tuple where there are several."""
        rest = iter(tensors)
        operands = [self.constants[k] if k in self.constants else next(rest) for k in range(self.count)]
        try:
            return self.run(torch, self.node, *operands) if self.kept is None else self.combine(self.kept, operands)
        except NotImplementedError as error:
            raise UnsupportedOpError(
                f"node {self.node.name!r}", f"{error} cannot be run in torch", "add a lowering, see CONTRIBUTING.md"
            ) from error

    def combine(self, kept: Mask, operands: list[Any]) -> Any:
        """The op over some of its first operand's channels; results stand among zeros, see `seam_onnx.ops.mixing`."""
        x, axis = operands[0], max(range(kept.ndim), key=lambda k: kept.shape[k])
        index = torch.from_numpy(np.flatnonzero(kept)).to(x.device)
        for k, place in parameters_along(self.node, axis, x.ndim).items():
            if operands[k].ndim >= -place and operands[k].shape[place] == kept.size:
                operands[k] = operands[k].index_select(place, index)
        y = self.run(torch, self.node, x.index_select(axis, index), *operands[1:])
        if self.node.op_type.startswith("Reduce"):
            return y
        return y.new_zeros([kept.size if k == axis else n for k, n in enumerate(y.shape)]).index_copy(axis, index, y)

    def extra_repr(self) -> str:
        """Shown by `print(module)`."""
        return f"{self.node.op_type} {self.node.name!r}"


class Rounded(nn.Module):
    """The nearest weight that can be stored as integers; gradients pass as if nothing were rounded."""

    def __init__(self, form: Stored) -> None:
        super().__init__()
        self.low, self.high = form.bounds()
        self.scale: Tensor
        self.zero: Tensor
        self.register_buffer("scale", torch.from_numpy(np.array(form.along(form.scale), np.float32)))
        self.register_buffer("zero", torch.from_numpy(np.array(form.along(form.zero), np.float32)))

    def forward(self, weight: Tensor) -> Tensor:
        """Weight and result have the shape of the stored integers."""
        steps = torch.nan_to_num((weight / self.scale).round(), 0.0, 0.0, 0.0)
        stored = ((steps + self.zero).clamp(self.low, self.high) - self.zero) * self.scale
        return weight + (stored - weight).detach()


class Lowered(nn.Module):
    """A model in torch: `forward(x, ...)` gives one of its values, `weights` are its initializers."""

    def __init__(self, body: fx.GraphModule, names: Mapping[str, str]) -> None:
        super().__init__()
        self.body = body
        self.names = dict(names)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """Parameters (float32) by initializer name."""
        return {name: getattr(self.body, attribute) for name, attribute in self.names.items()}

    def forward(self, *inputs: Tensor) -> Any:
        """Run on a batch (N, ...), one tensor an input."""
        return self.body(*inputs)

    def combine(self, masks: MaskSet) -> None:
        """Let each node that combines channels combine those alone that `masks.kept` keeps (all, where it names none)."""
        for module in self.body.modules():
            if isinstance(module, Op):
                module.kept = masks.kept.get(str(module.node.name))


def lower(model: Model, *outputs: str) -> Lowered:
    """Translate a model.

    Args:
        model: with one data input.
        outputs: names of the values to compute, by default the first graph output; of several the module gives a tuple.

    Returns:
        a module in evaluation mode; parameters are float32 and require gradients.

    Raises:
        UnsupportedOpError: an op that neither this project nor onnx2torch can run, with op, opset and node.
    """
    outputs = outputs or (str(model.graph.outputs[0].name),)
    build = Builder(model)
    for node in needed_nodes(model, outputs):
        build.visit(node)
    edges = tuple(build.edges.get(name) or build.edge(model.initializers[name]) for name in outputs)
    build.graph.output(edges if len(edges) > 1 else edges[0])
    return Lowered(fx.GraphModule(build.root, build.graph), build.names).eval()


def needed_nodes(model: Model, outputs: Sequence[str]) -> list[ir.Node]:
    """The nodes that some values depend on, in graph order."""
    wanted = set(outputs)
    chosen = []
    for node in reversed(model.graph):
        if any(value.name in wanted for value in node.outputs):
            wanted |= {str(value.name) for value in node.inputs if value is not None}
            chosen.append(node)
    return chosen[::-1]


class Builder:
    """Assembles the fx graph."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.names: dict[str, str] = {}
        self.edges: dict[str, fx.Node] = {}
        for index, value in enumerate(model.graph.inputs):
            self.edges[str(value.name)] = self.graph.placeholder(f"input_{index}")

    def visit(self, node: ir.Node) -> None:
        """One call_module, and a `pick` for each output of a node that has several; quantised weights wait for `edge`."""
        if stored(node.outputs[0]) is not None:
            return
        name = f"node_{len(self.root._modules)}"
        spec = find(node, self.model.opset)
        if spec is not None and spec.lower is None and spec.family.instead:
            raise UnsupportedOpError(f"node {node.name!r}", f"{node.op_type} is not run in torch", spec.family.instead)
        if spec is not None and spec.lower is not None:
            constants = {k: plain(v) for k, v in enumerate(node.inputs) if is_plain(v)}
            operands = [self.edge(v) for k, v in enumerate(node.inputs) if k not in constants and v is not None]
            self.root.add_module(name, Op(node, spec.lower, constants))
        else:
            module, needed = converted(self.model, node)
            operands = [self.edge(v) for v in node.inputs if v is not None and v.name in needed]
            self.root.add_module(name, module)
        call = self.graph.call_module(name, tuple(operands))
        for index, value in enumerate(node.outputs):
            single = len(node.outputs) == 1
            self.edges[str(value.name)] = call if single else self.graph.call_function(pick, (call, index))

    def edge(self, value: ir.Value) -> fx.Node:
        """The fx node of an operand; an initializer becomes a parameter (or buffer) when first read."""
        name = str(value.name)
        if name not in self.edges:
            if (form := stored(value)) is not None:
                self.edges[name] = self.quantised(form)
                return self.edges[name]
            if value.const_value is None:
                raise UnsupportedOpError(f"value {name!r}", "comes from outside the main graph", "inline the subgraph")
            self.edges[name] = self.register(name, value.const_value)
        return self.edges[name]

    def quantised(self, form: Stored) -> fx.Node:
        """A quantised weight: a parameter with its floats, rounded to what can be stored."""
        name = str(form.tensor.name)
        weight = self.edges.get(name) or self.register(name, ir.tensor(form.floats()))
        self.edges[name] = weight
        place = f"stored_{len(self.root._modules)}"
        self.root.add_module(place, Rounded(form))
        return self.graph.call_module(place, (weight,))

    def register(self, name: str, tensor: ir.TensorProtocol) -> fx.Node:
        """Add an initializer to the module."""
        attribute = f"weight_{len(self.root._parameters) + len(self.root._buffers)}"
        if tensor.dtype.is_floating_point():
            self.root.register_parameter(
                attribute, nn.Parameter(torch.from_numpy(np.array(tensor.numpy(), np.float32)))
            )
            self.names[name] = attribute
        else:
            self.root.register_buffer(attribute, torch.from_numpy(np.array(tensor.numpy())))
        return self.graph.get_attr(attribute)


def is_plain(value: ir.Value | None) -> bool:
    """Is the operand omitted, or a constant that is no weight (shapes, axes, indices, scales)?"""
    if value is None or value.const_value is None:
        return value is None
    return not value.const_value.dtype.is_floating_point() or is_scale(value)


def plain(value: ir.Value | None) -> np.ndarray | None:
    """Such an operand's contents."""
    return None if value is None or value.const_value is None else np.array(value.const_value.numpy())


def pick(outputs: Any, index: int) -> Any:
    """One output of a node; of a node that computes a single tensor only the first exists."""
    return outputs[index] if isinstance(outputs, tuple | list) else (outputs if index == 0 else None)


def write_back(model: Model, module: Lowered) -> Model:
    """The model with the module's parameters as its initializers, in their stored types."""
    proto = model.edit()
    for name, parameter in module.weights.items():
        tensor = proto.graph.initializers[name].const_value
        assert tensor is not None
        array, form = parameter.detach().cpu().numpy(), stored_as(proto.graph.initializers[name])
        before = tensor.numpy() if form is None else form.floats()
        if not np.array_equal(array, np.asarray(before, np.float32)):
            array = array.astype(tensor.dtype.numpy()) if form is None else form.integers(array)
            store(proto.graph, name, array, tensor.dtype)
    return model.edited(proto)
