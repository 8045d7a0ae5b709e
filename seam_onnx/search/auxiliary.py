"""What the teacher says of classes that are no outputs is worth learning as well: it tells images apart that have one label.

Where an output stands for the rest, its rows score these classes, and they are what is taught (`seam_onnx.surgery.cut`).
Where they were cut off, a linear layer reads them off what the head reads, for the time of training (compare Mueller,
Kornblith, Hinton, "Subclass distillation", arXiv 2002.03936: how a class falls into others is knowledge that its label
hides).
"""

import onnx_ir as ir
import torch
from torch import Tensor, nn

from seam_onnx.lowering import Lowered, lower
from seam_onnx.model import Model
from seam_onnx.search.refit import LAYERS

__all__ = ["Auxiliary", "features_of"]

RIDGE = 1e-2
"""Of the mean square of the features."""


class Auxiliary(Lowered):
    """A network with a second output: scores (N, classes) of all the teacher's classes, by a layer that is no part of it.

    Args:
        model: the network.
        logits: name of its logits.
        features: what its head reads, as `features_of` says.
        x: samples (N, ...) to which the layer is fitted at first, by least squares.
        classes: the teacher's logits of these (N, classes).
    """

    def __init__(self, model: Model, logits: str, features: tuple[str, int], x: Tensor, classes: Tensor) -> None:
        network = lower(model, logits, features[0])
        super().__init__(network.body, network.names)
        self.axis = features[1]
        self.eval().to(x.device)
        with torch.no_grad():
            seen = torch.cat([self.pooled(self.body(part)[1]) for part in torch.split(x, 128)])
        self.reader = linear(seen, classes)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and scores of all classes."""
        scores, features = self.body(*inputs)
        return scores, self.reader(self.pooled(features))

    def pooled(self, features: Tensor) -> Tensor:
        """The mean over all places: (N, C)."""
        return features.movedim(self.axis, -1).flatten(1, -2).mean(1) if features.ndim > 2 else features


def features_of(model: Model, logits: str) -> tuple[str, int] | None:
    """Name of the value from which a layer makes the logits, and its axis of channels; None where there is no such layer."""
    makers = {str(v.name): node for node in model.graph for v in node.outputs}
    node = makers.get(logits)
    while node is not None and node.op_type not in LAYERS:
        data = [v for v in node.inputs if v is not None and v.const_value is None]
        node = makers.get(str(data[0].name)) if len(data) == 1 else None
    if node is None or node.inputs[0] is None or node.inputs[0].const_value is not None:
        return None
    return str(node.inputs[0].name), channel_axis(node)


def channel_axis(node: ir.Node) -> int:
    """Of a layer's input."""
    return 1 if node.op_type == "Conv" else -1


def linear(x: Tensor, y: Tensor) -> nn.Linear:
    """The layer that makes the most of y (N, classes) from x (N, C), by least squares with a ridge."""
    ones = torch.cat([x, torch.ones_like(x[:, :1])], 1).double()
    ridge = RIDGE * ones.square().mean() * torch.eye(ones.shape[1], dtype=ones.dtype, device=x.device)
    found = torch.linalg.solve(ones.T @ ones + ridge * len(x), ones.T @ y.double())
    layer = nn.Linear(x.shape[1], y.shape[1], device=x.device)
    layer.weight.data.copy_(found[:-1].T)
    layer.bias.data.copy_(found[-1])
    return layer
