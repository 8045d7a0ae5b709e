"""RNN, GRU, LSTM over x (S, N, I) (https://onnx.ai/onnx/operators/onnx__LSTM.html).

Their hidden units are pinned for now: each is fed back through the recurrent weight, and the gates of all units stand in
one axis. Channels that arrive are pinned with them. In torch the steps are written out; gates stand in ONNX's order
(LSTM: input, output, forget, cell; GRU: update, reset, hidden).
"""

from typing import Any

import onnx_ir as ir

from seam_onnx.ops.microsoft import opaque
from seam_onnx.ops.reduction import zero_nothing
from seam_onnx.ops.registry import Family, op

__all__ = ["RECURRENT"]

RECURRENT = Family(
    "recurrent",
    opaque("feeds its units back into all gates", "nothing to do: recurrent layers keep their width"),
    zero_nothing,
    "nothing: recurrent layers keep their width",
)
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def activations(torch: Any, node: ir.Node, direction: int) -> list[Any]:
    """The functions of one direction. Those with parameters, and a clip, are not run."""
    default = DEFAULTS[node.op_type]
    names = list(node.attributes.get_strings("activations", ()) or ()) or default * 2
    names = names[direction * len(default) :][: len(default)]
    known = {"Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Relu": torch.relu}
    if any(name not in known for name in names) or "clip" in node.attributes:
        raise NotImplementedError(f"{node.op_type} with clip or activations {names}")
    return [known[name] for name in names]


def recurrent(torch: Any, node: ir.Node, step: Any, operands: list[Any]) -> tuple[Any, Any, Any]:
    """Run `step` over time in each direction: Y (S, D, N, H), Y_h (D, N, H), Y_c alike (of LSTM)."""
    x, w, r, b, lengths, h0, c0 = operands
    if lengths is not None or node.attributes.get_int("layout", 0) == 1:
        raise NotImplementedError(f"{node.op_type} with sequence lengths or layout 1")
    kind, size = node.attributes.get_string("direction", "forward"), r.shape[-1]
    results, last, cells = [], [], []
    for d in range(w.shape[0]):
        bias = x.new_zeros(2 * w.shape[1]) if b is None else b[d]
        h, c = (x.new_zeros(x.shape[1], size) if s is None else s[d] for s in (h0, c0))
        backwards, functions, outputs = kind == "reverse" or d == 1, activations(torch, node, d), []
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            h, c = step(functions, x[t], h, c, w[d], r[d], *bias.chunk(2))
            outputs.append(h)
        results.append(torch.stack(outputs[::-1] if backwards else outputs))
        last.append(h)
        cells.append(c)
    return torch.stack(results, 1), torch.stack(last), torch.stack(cells)


@op("RNN", RECURRENT, since=7)
def rnn(torch: Any, node: ir.Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h0: Any = None) -> Any:
    """h = f(W x + R h + b)."""

    def step(f: Any, x: Any, h: Any, c: Any, w: Any, r: Any, wb: Any, rb: Any) -> Any:
        return f[0](x @ w.T + h @ r.T + wb + rb), c

    return wanted(node, recurrent(torch, node, step, [x, w, r, b, lengths, h0, None]))


@op("GRU", RECURRENT, since=7)
def gru(torch: Any, node: ir.Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h0: Any = None) -> Any:
    """h = (1 - z) n + z h, with n of the reset state, or reset behind its product (`linear_before_reset`)."""
    behind = node.attributes.get_int("linear_before_reset", 0)

    def step(f: Any, x: Any, h: Any, c: Any, w: Any, r: Any, wb: Any, rb: Any) -> Any:
        (xz, xr, xn), (rz, rr, rn) = (x @ w.T + wb).chunk(3, -1), r.chunk(3)
        bz, br, bn = rb.chunk(3)
        z, reset = f[0](xz + h @ rz.T + bz), f[0](xr + h @ rr.T + br)
        n = f[1](xn + (reset * (h @ rn.T + bn) if behind else (reset * h) @ rn.T + bn))
        return (1 - z) * n + z * h, c

    return wanted(node, recurrent(torch, node, step, [x, w, r, b, lengths, h0, None]))


@op("LSTM", RECURRENT, since=7)
def lstm(
    torch: Any, node: ir.Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h0: Any = None,
    c0: Any = None, peephole: Any = None,
) -> Any:  # fmt: skip
    """C = f c + i g, h = o tanh(c)."""
    if peephole is not None or node.attributes.get_int("input_forget", 0) == 1:
        raise NotImplementedError("LSTM with peepholes or coupled gates")

    def step(f: Any, x: Any, h: Any, c: Any, w: Any, r: Any, wb: Any, rb: Any) -> Any:
        i, o, forget, g = (x @ w.T + h @ r.T + wb + rb).chunk(4, -1)
        c = f[0](forget) * c + f[0](i) * f[1](g)
        return f[0](o) * f[2](c), c

    return wanted(node, recurrent(torch, node, step, [x, w, r, b, lengths, h0, c0]))


def wanted(node: ir.Node, outputs: tuple[Any, Any, Any]) -> Any:
    """As many outputs as the node has."""
    return outputs[0] if len(node.outputs) == 1 else outputs[: len(node.outputs)]
