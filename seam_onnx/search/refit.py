"""Closed-form repair after a cut: each layer that is left is fitted anew, by least squares, to what it made in the original.

The small network is run node by node on a calibration batch. Where a layer with weights comes up, its input is what the
layers before it, already refitted, really give; what it should make is what the same layer of the original makes there, on
the channels that are left. With X the input patches and Y the wanted outputs at sampled places,

    W <- W + argmin_D |X (W + D) - Y|^2 + ridge |D|^2

(He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, section 3.1, eq. 4; the ridge
is ours and pulls towards the weights as they are). Where the result is added to another activation, as in a residual block,
the sum is fitted instead, so that a layer makes up for branches that have gone (same paper, section 3.3).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from seam_onnx.lowering import Lowered, Op
from seam_onnx.search.layers import fits, output_axis, patches, rows

__all__ = ["Kept", "observe", "refit"]

RIDGE = 1e-3
"""Of the mean square of the inputs."""
LAYERS = ("Conv", "Gemm", "MatMul")
"""What is refitted."""

Kept = Mapping[tuple[str, int], NDArray[np.int64]]
"""(initializer, axis): which indices of the original are left."""


@torch.no_grad()
def observe(original: Lowered, x: Tensor) -> dict[str, Tensor]:
    """What layers of a network make, and what is added to it, at sampled places: (rows, channels) by value name.

    Cost: one forward pass over samples x (N, ...).
    """
    sampler = Sampler(original.body, values_to_fit(original))
    sampler.run(x)
    return sampler.found


@torch.no_grad()
def refit(module: Lowered, observed: Mapping[str, Tensor], x: Tensor, kept: Kept) -> None:
    """Fit a small network's layers, in place, to the original.

    Args:
        module: the small network, in evaluation mode.
        observed: what `observe` saw in the network that it was cut from, for the same samples; other values may be put in
            their place, as those of a teacher for the logits.
        x: samples (N, ...), some hundreds; more where layers are wide.
        kept: for the axes of initializers that were cut, which indices are left.

    Cost: two forward passes, and a solve of (inputs * kernel)^2 equations a layer. No gradients.
    """
    Refitter(module, observed, kept).run(x)


def values_to_fit(module: Lowered) -> set[str]:
    """What layers with weights make, and whatever is added to it."""
    names: set[str] = set()
    for op in module.body.modules():
        if isinstance(op, Op) and op.node.op_type in LAYERS:
            names.add(str(op.node.outputs[0].name))
        elif isinstance(op, Op) and op.node.op_type == "Add":
            names |= {str(v.name) for v in op.node.inputs if v is not None}
    return names


class Sampler(fx.Interpreter):
    """Runs a module and keeps some of its values at sampled places, by name: (rows, channels)."""

    def __init__(self, module: fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As ever, with a look at the result."""
        made, op = super().run_node(n), op_of(self.module, n)
        name = str(op.node.outputs[0].name) if op is not None else ""
        if name in self.wanted and isinstance(made, Tensor) and made.ndim > 1:
            self.found[name] = rows(made)
        return made


class Refitter(fx.Interpreter):
    """Runs the small network, fitting each layer before it is used."""

    def __init__(self, module: Lowered, original: Mapping[str, Tensor], kept: Kept) -> None:
        super().__init__(module.body)
        self.original, self.kept = original, kept
        self.initializers = {attribute: name for name, attribute in module.names.items()}

    def run_node(self, n: fx.Node) -> Any:
        """Fit the node's weights first, if it has any of its own."""
        op = op_of(self.module, n)
        if op is not None and op.node.op_type in LAYERS and len(n.args) > 1 and len(n.args) == len(op.node.inputs):
            weight, bias = self.own(n.args[1]), self.own(n.args[2]) if len(n.args) > 2 else None
            x = self.env[n.args[0]] if isinstance(n.args[0], fx.Node) else None
            if weight is not None and isinstance(x, Tensor) and fits(op.node, x, weight):
                made = super().run_node(n)
                goal = self.goal(n, op, str(getattr(n.args[1], "target", "")))
                if goal is not None and goal.shape == rows(made).shape:
                    fit(op, patches(op.node, x, weight, made), weight, bias, goal - rows(made))
        return super().run_node(n)

    def own(self, argument: Any) -> nn.Parameter | None:
        """A parameter that nothing else reads."""
        single = isinstance(argument, fx.Node) and argument.op == "get_attr" and len(argument.users) == 1
        value = self.env[argument] if single else None
        return value if isinstance(value, nn.Parameter) else None

    def goal(self, n: fx.Node, op: Op, weight: str) -> Tensor | None:
        """What the layer should make at the sampled places (rows, channels), or None where the original does not say."""
        wanted = self.original.get(str(op.node.outputs[0].name))
        if wanted is None:
            return None
        index = self.kept.get((self.initializers[weight], output_axis(op.node)))
        cut = index is not None and len(index) < wanted.shape[1]
        theirs, ours = self.other(n)
        if theirs is not None and ours is not None and theirs.shape == wanted.shape:
            wanted = wanted + theirs
            return (wanted[:, index] if cut else wanted) - ours
        return wanted[:, index] if cut else wanted

    def other(self, n: fx.Node) -> tuple[Tensor | None, Tensor | None]:
        """What the result will be added to, if that is known by now: the original's rows, and ours."""
        users = list(n.users)
        add = op_of(self.module, users[0]) if len(users) == 1 else None
        if add is None or add.node.op_type != "Add" or len(users[0].args) != 2:
            return None, None
        position = 1 if users[0].args[0] is n else 0
        argument, value = users[0].args[position], add.node.inputs[position]
        ours = self.env.get(argument) if isinstance(argument, fx.Node) and argument.op != "get_attr" else None
        theirs = self.original.get(str(value.name)) if value is not None else None
        return theirs, rows(ours) if isinstance(ours, Tensor) and ours.ndim > 1 else None


def op_of(module: nn.Module, n: fx.Node) -> Op | None:
    """The ONNX node behind a call."""
    found = module.get_submodule(str(n.target)) if n.op == "call_module" else None
    return found if isinstance(found, Op) else None


def fit(op: Op, inputs: Tensor, weight: nn.Parameter, bias: nn.Parameter | None, missing: Tensor) -> None:
    """Change weight and bias so that the outputs change by `missing` (rows, O), as far as least squares can.

    Inputs are (blocks, rows, inputs of a block).
    """
    x = inputs.double()
    if bias is not None and bias.ndim == 1:
        x = torch.cat([x, torch.ones_like(x[:, :, :1])], 2)
    blocks, count, size = x.shape
    wanted = missing.double().reshape(count, blocks, -1).transpose(0, 1)
    gram = x.transpose(1, 2) @ x
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    gram += ridge[:, None, None] * torch.eye(size, dtype=gram.dtype, device=gram.device)
    change = torch.linalg.solve(gram, x.transpose(1, 2) @ wanted)  # (blocks, inputs, outputs of a block)
    if bias is not None and bias.ndim == 1:
        bias.data += change[:, -1].reshape(-1).to(bias.dtype)
        change = change[:, :-1]
    step = change.transpose(1, 2).reshape(-1, change.shape[1]).to(weight.dtype)  # (outputs, inputs)
    weight.data += (step if output_axis(op.node) == 0 else step.T).reshape(weight.shape)
