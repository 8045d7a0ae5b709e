"""Around the scores: what they are before a softmax or a sigmoid, and SeaM's extra head behind them."""

import numpy as np
import onnx_ir as ir

from seam_onnx.fold import set_initializer
from seam_onnx.model import Model
from seam_onnx.surgery.head import classes, scores_of

__all__ = ["SEAM_HEAD", "activation_of", "add_seam_head", "logits_of"]

SEAM_HEAD = ("seam.head.weight", "seam.head.bias")
"""Initializers of the head that `add_seam_head` appends."""
PASSED = ("Identity", "Flatten", "Reshape", "Squeeze", "Cast")
"""What may stand between an activation and the scores."""
ACTIVATIONS = ("Softmax", "LogSoftmax", "Sigmoid")
"""What scores are made of logits by."""


def activation_of(model: Model) -> ir.Node | None:
    """The Softmax, LogSoftmax or Sigmoid that makes the scores of logits; None where the scores are logits."""
    node = scores_of(model).producer()
    while node is not None and node.op_type in PASSED and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type in ACTIVATIONS else None


def logits_of(model: Model) -> str:
    """Name of the value with the scores before a final activation, if there is one."""
    node = activation_of(model)
    value = scores_of(model) if node is None or node.inputs[0] is None else node.inputs[0]
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
