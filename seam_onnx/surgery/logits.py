"""Around the scores: what they are before a softmax, and SeaM's extra head behind them."""

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import set_initializer
from seam_onnx.model import Model
from seam_onnx.surgery.head import classes, scores_of

__all__ = ["SEAM_HEAD", "add_seam_head", "logits_of"]

SEAM_HEAD = ("seam.head.weight", "seam.head.bias")
"""Initializers of the head that `add_seam_head` appends."""


def logits_of(model: Model) -> str:
    """Name of the value with the scores before a final Softmax or LogSoftmax, if there is one."""
    value = scores_of(model)
    node = value.producer()
    while (
        node is not None
        and node.op_type in ("Identity", "Flatten", "Reshape", "Squeeze")
        and node.inputs[0] is not None
    ):
        if node.inputs[0].const_value is not None:
            break
        node = node.inputs[0].producer()
    if node is not None and node.op_type in ("Softmax", "LogSoftmax") and node.inputs[0] is not None:
        return str(node.inputs[0].name)
    return str(value.name)


def add_seam_head(model: Model, outputs: int, seed: int = 0) -> Model:
    """The model followed by y = Linear(ReLU(z)), SeaM's head: z (N, classes) -> y (N, outputs).

    The weights are drawn as torch's Linear does (uniform in +-1/sqrt(classes)). The output keeps the scores' name.
    """
    proto = model.edit()
    graph = proto.graph
    name, count = logits_of(model), classes(model)
    made = next(v for node in graph for v in node.outputs if v.name == name)
    old = next(v for v in graph.outputs if v.name == scores_of(model).name)
    rng, bound = np.random.default_rng(seed), count**-0.5
    dtype = model.shapes.types[name].numpy()
    weight = set_initializer(graph, SEAM_HEAD[0], rng.uniform(-bound, bound, (outputs, count)).astype(dtype))
    bias = set_initializer(graph, SEAM_HEAD[1], rng.uniform(-bound, bound, outputs).astype(dtype))
    flat = ir.node("Flatten", [made], name="seam.head.flatten")
    relu = ir.node("Relu", flat.outputs, name="seam.head.relu")
    head = ir.node("Gemm", [relu.outputs[0], weight, bias], attributes={"transB": 1}, name="seam.head")
    for node, suffix in ((flat, "flat"), (relu, "relu")):
        node.outputs[0].name = f"seam.head.{suffix}"
    result = head.outputs[0]
    result.name, old.name = str(old.name), f"{old.name}.original"
    result.type, result.shape = old.type, ir.Shape([old.shape[0] if old.shape else None, outputs])
    graph.extend([flat, relu, head])
    graph.outputs[list(graph.outputs).index(old)] = result
    return model.edited(proto)
