"""More elementwise ops: comparison, choice, rounding, trigonometry. The rule is that of `elementwise`."""

from typing import Any

import onnx_ir as ir

from seam_onnx.ops.elementwise import CARRY, UNARY, torch_function
from seam_onnx.ops.registry import op, tensors

__all__ = ["where"]

BOOLEAN = "k = {}(x, z)\n y = Where(k, x, z)"

for name, path in {
    "Equal": "eq", "Greater": "gt", "Less": "lt", "GreaterOrEqual": "ge", "LessOrEqual": "le",
}.items():  # fmt: skip
    since = {"GreaterOrEqual": 12, "LessOrEqual": 12}.get(name, 7)
    op(name, CARRY, since=since, example=BOOLEAN.format(name))(torch_function(path))

for name, path in {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor", "Not": "logical_not"}.items():
    op(name, CARRY, since=1 if name == "Not" else 7)(torch_function(path))

for name, path in {
    "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh",
    "Acosh": "acosh", "Atanh": "atanh", "IsNaN": "isnan",
}.items():  # fmt: skip
    op(name, CARRY, since=9 if name != "Tan" else 7, example=UNARY.format(name) if name in ("Atan", "Sinh") else "")(
        torch_function(path)
    )


@op("Where", CARRY, since=9, example="k = Greater(x, z)\n y = Where(k, x, z)")
def where(torch: Any, node: ir.Node, condition: Any, x: Any, z: Any) -> Any:
    """X where the condition holds, else z."""
    return torch.where(*tensors(torch, (condition, x, z)))


@op("Mod", CARRY, since=10)
def mod(torch: Any, node: ir.Node, x: Any, z: Any) -> Any:
    """Remainder with the divisor's sign, or with the dividend's where `fmod` says so."""
    run = torch.fmod if node.attributes.get_int("fmod", 0) else torch.remainder
    return run(*tensors(torch, (x, z)))


@op("Mean", CARRY, since=8, example="y = Mean(x, z)")
def mean(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """Mean of all operands."""
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total / len(inputs)


@op("Celu", CARRY, since=12, example="y = Celu <alpha: float = 2.0> (x)")
def celu(torch: Any, node: ir.Node, x: Any) -> Any:
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1))."""
    return torch.nn.functional.celu(x, node.attributes.get_float("alpha", 1.0))


@op("ThresholdedRelu", CARRY, since=10, example="y = ThresholdedRelu <alpha: float = 0.5> (x)")
def thresholded_relu(torch: Any, node: ir.Node, x: Any) -> Any:
    """X where it exceeds alpha, else 0."""
    return torch.where(x > node.attributes.get_float("alpha", 1.0), x, torch.zeros_like(x))


@op("Shrink", CARRY, since=9, example="y = Shrink <lambd: float = 0.3, bias: float = 0.1> (x)")
def shrink(torch: Any, node: ir.Node, x: Any) -> Any:
    """X moved towards 0 by `bias` where it is further than `lambd` away, else 0."""
    bound, bias = node.attributes.get_float("lambd", 0.5), node.attributes.get_float("bias", 0.0)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


@op("Swish", CARRY, since=24, example=UNARY.format("Swish"))
def swish(torch: Any, node: ir.Node, x: Any) -> Any:
    """X times the sigmoid of alpha x."""
    return x * torch.sigmoid(node.attributes.get_float("alpha", 1.0) * x)


@op("IsInf", CARRY, since=10)
def is_inf(torch: Any, node: ir.Node, x: Any) -> Any:
    """Is it infinite, of the signs asked for?"""
    up, down = node.attributes.get_int("detect_positive", 1), node.attributes.get_int("detect_negative", 1)
    return (torch.isposinf(x) & bool(up)) | (torch.isneginf(x) & bool(down))


@op("BitShift", CARRY, since=11)
def bit_shift(torch: Any, node: ir.Node, x: Any, z: Any) -> Any:
    """Integers shifted left or right."""
    left = node.attributes.get_string("direction") == "LEFT"
    run = torch.bitwise_left_shift if left else torch.bitwise_right_shift
    return run(*tensors(torch, (x, z)))
