"""Ops that work element by element: channels pass, operands of equal extent are tied.

Rule. Let the output have rank R and every operand be read as if it had leading axes of size 1. Operands that depend on
data and extend over the output along every axis on which channels vary are one: their labels are tied. An operand that
is broadcast there imposes nothing, but its own channels (if it has any) cannot go: removing the only channel of a
spatial gate would remove the gate. Initializers are bound along the axes on which they extend.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.evaluate import evaluate
from seam_onnx.ops.registry import Constants, Family, op, tensors
from seam_onnx.ops.walk import Array, Labels, Role, Walk, compress, none

__all__ = ["AFFINE", "CARRY", "couple_elementwise", "zero_elementwise"]


def padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape with leading ones."""
    return (1,) * (rank - len(shape)) + shape


def couple_elementwise(walk: Walk, node: ir.Node, role: Role = "carry") -> None:
    """Tie the operands that extend, pin the broadcast ones, bind the constants."""
    dims = walk.original_dims(node.outputs[0])
    base, extent = none(len(dims)), (1,) * len(dims)
    data = [value for value in node.inputs if value is not None and not walk.constant(value)]
    for value in data:
        base, extent = join(walk, node, base, extent, value)
    for value in data:
        hold(walk, node, base, extent, value)
    walk.set(node.outputs[0], base)
    for operand in node.inputs:
        if operand is not None and walk.constant(operand):
            bind_constant(walk, node, operand, base, role)
    for extra in node.outputs[1:]:
        walk.set(extra, base)


def join(
    walk: Walk, node: ir.Node, base: Labels, extent: tuple[int, ...], value: ir.Value
) -> tuple[Labels, tuple[int, ...]]:
    """Labels of the output, and their extent in the original world, after one more operand.

    What extends is asked of the original world: with one channel left, everything looks broadcast.
    """
    labels, rank = walk.labels(value), len(extent)
    labels = labels.reshape(padded(labels.shape, rank))
    if not labels.any():
        return base, extent  # left to `hold`
    dims, shape = walk.original_dims(node.outputs[0]), padded(walk.original_dims(value), rank)
    own = padded(walk.extent(value), rank)
    if (max(own) > 1 or shape == dims) and all(shape[k] == dims[k] for k in range(rank) if extent[k] > 1):
        if not base.any():
            return labels, own
        common = np.broadcast_shapes(base.shape, labels.shape)
        walk.tie(np.broadcast_to(base, common), np.broadcast_to(labels, common))
        return np.broadcast_to(base, common), np.broadcast_shapes(extent, own)
    if not base.any():
        walk.pin(node, labels, "one channel is broadcast over many", "nothing to do: the last channel has to stay")
        return base, extent
    if max(own) > max(extent) == 1:
        base, extent, labels = labels, own, base
    walk.pin(
        node, labels, "its channels are broadcast over those of another operand", "give both operands the same shape"
    )
    return base, extent


def hold(walk: Walk, node: ir.Node, base: Labels, extent: tuple[int, ...], value: ir.Value) -> None:
    """Data without channels that extends where the others have some holds them: it cannot shrink with them."""
    shape = padded(walk.original_dims(value), len(extent))
    if not walk.labels(value).any() and any(shape[k] > 1 and extent[k] > 1 for k in range(len(extent))):
        walk.pin(node, base, "meets data without channels of its own", "let a layer with a weight make that operand")


def bind_constant(walk: Walk, node: ir.Node, value: ir.Value, labels: Labels, role: Role) -> None:
    """Bind an initializer along the axes on which it and the channels both extend."""
    array = walk.array(value)
    if array is None:
        return
    shape, rank = padded(array.shape, labels.ndim), labels.ndim
    extent = walk.extent(node.outputs[0])
    for axis in range(rank):
        if shape[axis] > 1 and extent[axis] > 1:
            walk.box(labels)
            others = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)[:, 0]
            walk.bind(node, value, axis - (rank - array.ndim), others, role)


def zero_elementwise(constants: Constants, node: ir.Node) -> None:
    """Evaluate the op where all operands are constant; a factor 0 makes a product 0 whatever the other is."""
    rank = len(constants.walk.dims(node.outputs[0]))
    arrays = [None if v is None else constants.get(v) for v in node.inputs]
    unknown: Array = np.zeros((1,) * rank, bool)
    for array in arrays:
        if array is not None:
            unknown = unknown | np.isnan(array)
    if unknown.all() and node.op_type != "Mul":
        return
    results = evaluate_filled(constants, node, arrays)
    if results is None:
        return
    if node.op_type == "Mul":
        zero = [a == 0 for a in arrays if a is not None]
        unknown = unknown & ~(zero[0] | zero[1])
    for value, result in zip(node.outputs, results, strict=False):
        constants.set(value, compress(np.where(unknown, np.nan, result.astype(np.float64))))


def evaluate_filled(constants: Constants, node: ir.Node, arrays: list[Array | None]) -> list[Array] | None:
    """Run the op with the unknown elements set to 0, each operand in its own type."""
    filled = []
    for value, array in zip(node.inputs, arrays, strict=True):
        content = constants.walk.array(value)
        dtype = np.float32 if content is None else content.dtype
        filled.append(None if array is None else np.nan_to_num(array, nan=0.0).astype(dtype))
    with np.errstate(all="ignore"):
        return evaluate(node, constants.walk.opset, filled)


def couple_affine(walk: Walk, node: ir.Node) -> None:
    """As `couple_elementwise`; zeros in the initializer make the channel zero."""
    couple_elementwise(walk, node, "affine")


CARRY = Family("elementwise", couple_elementwise, zero_elementwise, "channels pass; operands are tied")
AFFINE = Family("elementwise", couple_affine, zero_elementwise, "channels pass; operands are tied")

UNARY = "y = {}(x)"
BINARY = "y = {}(x, z)"


def torch_function(path: str) -> Any:
    """A lowering that calls `torch.<path>` on the inputs."""

    def lower(torch: Any, node: ir.Node, *inputs: Any) -> Any:
        function = torch
        for part in path.split("."):
            function = getattr(function, part)
        return function(*tensors(torch, inputs))

    return lower


for name, path in {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "abs",
    "Neg": "neg", "Erf": "erf", "Floor": "floor", "Ceil": "ceil", "Reciprocal": "reciprocal",
    "Softplus": "nn.functional.softplus",
    "Softsign": "nn.functional.softsign", "HardSwish": "nn.functional.hardswish", "Mish": "nn.functional.mish",
    "Sin": "sin", "Cos": "cos", "Sign": "sign", "Round": "round",
}.items():  # fmt: skip
    since = {"HardSwish": 14, "Mish": 18, "Erf": 9, "Sign": 9, "Round": 11}.get(name, 1)
    op(name, CARRY, since=since, example=UNARY.format(name))(torch_function(path))

for name, path in {"Mul": "mul", "Add": "add", "Sub": "sub", "Pow": "pow"}.items():
    family = CARRY if name == "Pow" else AFFINE
    op(name, family, since=7, example="" if name == "Pow" else BINARY.format(name))(torch_function(path))


@op("Div", CARRY, since=7, example=BINARY.format("Div"))
def div(torch: Any, node: ir.Node, x: Any, z: Any) -> Any:
    """Quotient; of integers rounded towards 0."""
    x, z = tensors(torch, (x, z))
    whole = not x.is_floating_point() and not z.is_floating_point()
    return torch.div(x, z, rounding_mode="trunc" if whole else None)


@op("Identity", CARRY, example="y = Identity(x)")
def identity(torch: Any, node: ir.Node, x: Any) -> Any:
    """The input itself."""
    return x


@op("Dropout", CARRY, example="y = Dropout(x)")
def dropout(torch: Any, node: ir.Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """Inference: the input itself; the mask output, where it is asked for, keeps everything."""
    return x if len(node.outputs) < 2 else (x, torch.ones_like(x, dtype=torch.bool))


@op("Sum", CARRY, since=8, example="y = Sum(x, z)")
def sum_of(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """Sum of all operands."""
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


@op("Max", CARRY, since=8, example="y = Max(x, z)")
def maximum(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """Largest of all operands."""
    best, *others = tensors(torch, inputs)
    for x in others:
        best = torch.maximum(best, x)
    return best


@op("Min", CARRY, since=8, example="y = Min(x, z)")
def minimum(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """Smallest of all operands."""
    best, *others = tensors(torch, inputs)
    for x in others:
        best = torch.minimum(best, x)
    return best


@op("Cast", CARRY, since=6)
def cast(torch: Any, node: ir.Node, x: Any) -> Any:
    """Change of element type; a floating-point one keeps float32, in which the search runs."""
    target, x = ir.DataType(node.attributes.get_int("to")), torch.as_tensor(x)
    return x.float() if target.is_floating_point() else x.to(getattr(torch, str(target.numpy())))
