"""Attention as one op (ONNX 23): softmax(scale Q K^T + mask) V in H heads of D positions each.

Q and K share their positions, V has its own; heads of fewer shared keys (H_kv < H) are each read by H / H_kv queries.
Every head loses the same positions; where whole heads are asked for, Q, K and V lose them together. The default scale,
1 / sqrt(D), is written out, because it must not change with D. (https://onnx.ai/onnx/operators/onnx__Attention.html)
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.registry import Family, op
from seam_onnx.ops.walk import Labels, Walk, compress, none

__all__ = ["ATTENTION", "by_head"]


def heads(walk: Walk, node: ir.Node, index: int) -> int:
    """Heads of operand `index` in the original world."""
    value = node.inputs[index]
    assert value is not None
    if len(walk.dims(value)) == 4:
        return walk.original_dims(value)[1]
    return int(node.attributes.get_int("q_num_heads" if index == 0 else "kv_num_heads"))


def by_head(walk: Walk, value: ir.Value, count: int) -> Labels:
    """Labels (H, D) of an operand (N, H, S, D) or (N, S, H D) of `count` heads; in the smaller world fewer, or fewer D."""
    dims, extent = walk.dims(value), walk.extent(value)
    if extent[0] > 1 or extent[-2] > 1:
        raise ValueError("channels stand on the batch or the sequence")
    if len(dims) == 4:
        return np.broadcast_to(walk.labels(value)[0, :, 0], (dims[1], dims[3]))
    whole = walk.whole_heads and count > 1
    return walk.vector(value, -1).reshape((-1, walk.original_dims(value)[-1] // count) if whole else (count, -1))


def couple_attention(walk: Walk, node: ir.Node) -> None:
    """See the module's docstring. Caches and GQA with whole heads are refused."""
    if len([v for v in node.inputs if v is not None]) > 4 or len(node.outputs) > 1:
        raise ValueError("past or present keys, or attention weights as an output")
    q, k, v = (by_head(walk, x, heads(walk, node, i)) for i, x in enumerate(node.inputs[:3]) if x is not None)
    value = node.inputs[2]
    assert value is not None
    if walk.whole_heads and heads(walk, node, 0) == heads(walk, node, 1) > 1:
        for one in (q, k, v):
            walk.unite(one, 1)
        walk.tie(q[:, 0], k[:, 0])
        walk.tie(q[:, 0], v[:, 0])
        if len(walk.dims(value)) == 3:
            walk.attribute(node, "q_num_heads", len(q))
            walk.attribute(node, "kv_num_heads", len(k))
    else:
        for one in (q, k, v):
            walk.unite(one, 0)
        walk.tie(q[0], k[0])
        meeting = q[0] if len(walk.dims(value)) == 4 else q.reshape(-1)
        walk.meet(node, meeting, (0, -1), *(((1, -1),) if len(q) == len(k) else ()))
    query = node.inputs[0]
    assert query is not None
    width = walk.original_dims(query)[-1] // (1 if len(walk.dims(query)) == 4 else heads(walk, node, 0))
    walk.attribute(node, "scale", float(node.attributes.get_float("scale", 0.0) or width**-0.5))
    made = np.repeat(v, len(q) // len(v), axis=0)
    pairs = float(np.prod([walk.dims(x)[-2] for x in node.inputs[:2] if x is not None]))
    walk.work(node, pairs, q.reshape(-1))
    walk.work(node, pairs, made.reshape(-1))
    four = len(walk.dims(node.outputs[0])) == 4
    walk.set(node.outputs[0], compress(made[None, :, None] if four else made.reshape(1, 1, -1)))
    for extra in node.outputs[1:]:
        walk.set(extra, none(len(walk.dims(extra))))


def zero_attention(constants: Any, node: ir.Node) -> None:
    """A weighted mean of a constant is that constant, but masked rows may be all zero: nothing is claimed."""


ATTENTION = Family("attention", couple_attention, zero_attention, "positions in every head, or whole heads")


@op("Attention", ATTENTION, since=23)
def attention(torch: Any, node: ir.Node, q: Any, k: Any, v: Any, mask: Any = None, *rest: Any) -> Any:
    """Scaled dot-product attention on (N, H, S, D) or (N, S, H D)."""
    if any(r is not None for r in rest) or len(node.outputs) > 1:
        raise NotImplementedError("Attention with a cache")
    flat = q.ndim == 3
    if flat:
        counts = [node.attributes.get_int("q_num_heads"), *[node.attributes.get_int("kv_num_heads")] * 2]
        q, k, v = (x.unflatten(-1, (h, -1)).transpose(1, 2) for x, h in zip((q, k, v), counts, strict=True))
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    if max(node.attributes.get_int("left_window_size", -1), node.attributes.get_int("right_window_size", -1)) >= 0:
        raise NotImplementedError("Attention in a window")
    scale = node.attributes.get_float("scale", 0.0) or q.shape[-1] ** -0.5
    cap = node.attributes.get_float("softcap", 0.0)
    scores = q @ k.transpose(-1, -2) * scale
    scores = cap * torch.tanh(scores / cap) if cap else scores
    if node.attributes.get_int("is_causal", 0):
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~allowed, float("-inf"))
    if mask is not None:
        mask = torch.as_tensor(mask, device=q.device)
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    nowhere = scores.isneginf().all(-1, keepdim=True)  # a row that may look at nothing gives zeros
    y = torch.softmax(scores.masked_fill(nowhere, 0.0), -1).masked_fill(nowhere, 0.0) @ v
    return y.transpose(1, 2).flatten(2) if flat else y
