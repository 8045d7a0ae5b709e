"""Activations with attributes or further operands; those that only have a name in torch are in elementwise.py."""

from typing import Any

import onnx_ir as ir

from seam_onnx.ops.elementwise import CARRY
from seam_onnx.ops.registry import op

__all__: list[str] = []


@op("LeakyRelu", CARRY, since=6, example="y = LeakyRelu <alpha: float = 0.1> (x)")
def leaky_relu(torch: Any, node: ir.Node, x: Any) -> Any:
    """max(x, 0) + alpha min(x, 0)."""
    return torch.nn.functional.leaky_relu(x, node.attributes.get_float("alpha", 0.01))


@op("Elu", CARRY, since=6, example="y = Elu(x)")
def elu(torch: Any, node: ir.Node, x: Any) -> Any:
    """X where positive, else alpha (exp(x) - 1)."""
    return torch.nn.functional.elu(x, node.attributes.get_float("alpha", 1.0))


@op("Selu", CARRY, since=6, example="y = Selu(x)")
def selu(torch: Any, node: ir.Node, x: Any) -> Any:
    """Gamma (x where positive, else alpha exp(x) - alpha)."""
    alpha = node.attributes.get_float("alpha", 1.67326319217681884765625)
    gamma = node.attributes.get_float("gamma", 1.05070102214813232421875)
    return gamma * torch.nn.functional.elu(x, alpha)


@op("HardSigmoid", CARRY, since=6, example="y = HardSigmoid(x)")
def hard_sigmoid(torch: Any, node: ir.Node, x: Any) -> Any:
    """max(0, min(1, alpha x + beta))."""
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return (alpha * x + beta).clamp(0, 1)


@op("Gelu", CARRY, since=20, example="y = Gelu(x)")
def gelu(torch: Any, node: ir.Node, x: Any) -> Any:
    """X times the normal distribution function of x, exact or by tanh."""
    return torch.nn.functional.gelu(x, approximate=node.attributes.get_string("approximate", "none"))


@op("PRelu", CARRY, since=7, example="y = PRelu(x, c)")
def prelu(torch: Any, node: ir.Node, x: Any, slope: Any) -> Any:
    """X where positive, else slope times x; the slope broadcasts towards x."""
    return torch.where(x >= 0, x, slope * x)


@op("Clip", CARRY, since=11, example="low = Constant <value_float: float = -0.5> ()\n y = Clip(x, low)")
def clip(torch: Any, node: ir.Node, x: Any, low: Any = None, high: Any = None) -> Any:
    """min(max(x, low), high); an omitted bound does not bind."""
    return x if low is None and high is None else torch.clamp(x, low, high)


@op("Clip", CARRY, since=6, until=10, example="y = Clip <min: float = 0.0, max: float = 6.0> (x)")
def clip_6(torch: Any, node: ir.Node, x: Any) -> Any:
    """Clip with the bounds as attributes."""
    return torch.clamp(x, node.attributes.get_float("min", -3.402823e38), node.attributes.get_float("max", 3.402823e38))
