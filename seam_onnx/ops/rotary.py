"""Rotary position embedding (ONNX 23): of each head's D positions two at a time are turned by an angle of their place.

    y1 = x1 cos - x2 sin,   y2 = x1 sin + x2 cos

x1 and x2 are neighbours (`interleaved`) or lie half a head apart; they go together, and the caches' columns with them.
Every head loses the same pairs, or heads go as a whole. Where only the first `rotary_embedding_dim` positions are turned,
those stay. (https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html)
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.attention import by_head
from seam_onnx.ops.layout import expanded
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Walk, compress

__all__ = ["ROTARY"]


def heads(node: ir.Node, dims: tuple[int, ...]) -> int:
    """Heads of x (N, H, S, D) or (N, S, H D)."""
    return dims[1] if len(dims) == 4 else int(node.attributes.get_int("num_heads"))


def sides(node: ir.Node, turned: int) -> tuple[slice, slice]:
    """Where x1 and x2 stand among the positions of a head."""
    if node.attributes.get_int("interleaved", 0):
        return slice(0, turned, 2), slice(1, turned, 2)
    return slice(0, turned // 2), slice(turned // 2, turned)


def couple_rotary(walk: Walk, node: ir.Node) -> None:
    """See the module's docstring."""
    x = node.inputs[0]
    assert x is not None
    dims = walk.original_dims(x)
    count = heads(node, dims)
    box, positions = by_head(walk, x, count), dims[-1] // (1 if len(dims) == 4 else count)
    turned = node.attributes.get_int("rotary_embedding_dim", 0) or positions
    if walk.whole_heads and count > 1:
        walk.unite(box, 1)
        if len(dims) == 3:
            walk.attribute(node, "num_heads", len(box))
    elif turned < positions:
        walk.unite(box, 0)
        walk.pin(node, box[0, :turned], "turns a part of each head", "nothing to do: the other part is free")
    elif walk.extent(x)[-1] > 1:
        walk.unite(box, 0)
        one, two = sides(node, box.shape[1])
        walk.tie(box[0, one], box[0, two])
        for cache in node.inputs[1:3]:
            assert cache is not None
            walk.bind(node, cache, len(walk.dims(cache)) - 1, box[0, one], "carry")
    walk.set(node.outputs[0], walk.labels(x))


def zero_rotary(constants: Constants, node: ir.Node) -> None:
    """Two zeros stay zeros however they are turned; what is not turned stays what it is."""
    x = node.inputs[0]
    assert x is not None
    dims = constants.walk.dims(x)
    full = np.array(expanded(constants.get(x), dims, len(dims) - 1), np.float64)
    split = full if len(dims) == 4 else full.reshape(*full.shape[:-1], heads(node, dims), -1)
    one, two = sides(node, node.attributes.get_int("rotary_embedding_dim", 0) or split.shape[-1])
    zero = (split[..., one] == 0) & (split[..., two] == 0)
    split[..., one] = split[..., two] = np.where(zero, 0.0, np.nan)
    constants.set(node.outputs[0], compress(split.reshape(full.shape)))


ROTARY = Family("attention", couple_rotary, zero_rotary, "pairs of positions in every head, or whole heads")


@op("RotaryEmbedding", ROTARY, since=23)
def rotary(torch: Any, node: ir.Node, x: Any, cos: Any, sin: Any, positions: Any = None) -> Any:
    """X (N, H, S, D) or (N, S, H D) with caches (N, S, D/2), or (P, D/2) read at `positions` (N, S)."""
    flat = x.ndim == 3
    y = (x.unflatten(-1, (node.attributes.get_int("num_heads"), -1)).transpose(1, 2) if flat else x).clone()
    if positions is not None:
        index = torch.as_tensor(positions, device=x.device).long()
        cos, sin = cos[index], sin[index]
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    one, two = sides(node, node.attributes.get_int("rotary_embedding_dim", 0) or y.shape[-1])
    x1, x2 = y[..., one].clone(), y[..., two].clone()
    y[..., one], y[..., two] = x1 * cos - x2 * sin, x1 * sin + x2 * cos
    return y.transpose(1, 2).flatten(2) if flat else y
