"""What training may change: weights, and not the constants of formulas.

Exporters write normalisations, activations and attention out in single ops, and ONNX keeps their constants as it keeps
weights: the 2 and the epsilon of a normalisation (Pow, Add), the 3 and 6 of a hard swish (Add, Clip, Div), a mask with -inf
(Add, Where). Learnt like weights they would wander off, and some at once: an exponent has no gradient where its base is
negative. So of what elementwise ops read only that is learnt which shifts or scales channels.
"""

import onnx_ir as ir

from seam_onnx.channels import analyze
from seam_onnx.model import Model
from seam_onnx.ops import find

__all__ = ["learnt"]


def learnt(model: Model) -> set[str]:
    """Names of the initializers that are weights. Cost: one walk over the graph."""
    roles: dict[str, set[str]] = {}
    for binding in analyze(model).bindings:
        roles.setdefault(binding.initializer, set()).add(binding.role)
    bound = {name for name, found in roles.items() if found != {"carry"}}
    others = {name for name, value in model.initializers.items() if name not in roles and feeds_a_layer(model, value)}
    return bound | others


def feeds_a_layer(model: Model, value: ir.Value) -> bool:
    """Is it more than a number, and read by an op that is not elementwise, as weights of recurrent layers and tables are?"""
    families = [spec.family.name if (spec := find(node, model.opset)) else "" for node, _ in value.uses()]
    return value.const_value is not None and value.const_value.size > 1 and any(f != "elementwise" for f in families)
