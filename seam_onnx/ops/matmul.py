"""Matrix products: with a weight channels are born, of two activations (attention) channels meet.

**Weight (I, O) on the right.** As in any contraction, if the channels stand on the contracted axis. If they stand on
another one (token mixing) they pass and the weight is left alone.

**Two activations** a (..., M, K) and b (..., K, N). Channels may vary along axes that both share (the batch axes, where
attention has its heads, and K) and along one of their own (M, N). Along a shared axis where only one operand varies
nothing can go: its channels are tied there. Of the axes that are left one is chosen, the one with the most channels
(heads first where whole heads are asked for); along the others both are tied. Channels on a batch axis pass to the
output, those on K end here. What varies along M or N alone passes as well, M or N, whichever has more.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.contraction import family, finish
from seam_onnx.ops.registry import op
from seam_onnx.ops.walk import Labels, Walk, compress, none
from seam_onnx.quantized import is_weight

__all__ = ["couple_product", "product"]


def couple_matmul(walk: Walk, node: ir.Node) -> None:
    """Tell the cases apart."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    if walk.constant(a) or walk.constant(b):
        if is_weight(b) and len(walk.dims(b)) == 2 and not walk.constant(a) and on_last(walk, a):
            couple_weight(walk, node, a, b)
        else:
            pass_by(walk, node, a, b)
    else:
        couple_product(walk, node, a, b)


def on_last(walk: Walk, value: ir.Value) -> bool:
    """Do the channels, if any, stand on the last axis?"""
    extent = walk.extent(value)
    return extent[-1] > 1 or all(n == 1 for n in extent)


def couple_weight(walk: Walk, node: ir.Node, a: ir.Value, weight: ir.Value) -> None:
    """Channels arrive along the last axis and are made along the last axis."""
    made = walk.fresh(node, walk.original_dims(weight)[1])
    arriving = walk.vector(a, -1)
    walk.bind(node, weight, 0, arriving, "read")
    walk.work(node, float(np.prod(walk.dims(a)[:-1])), arriving, made)
    finish(walk, node, made, axis=len(walk.dims(node.outputs[0])) - 1, weight_axis=1)


def pass_by(walk: Walk, node: ir.Node, a: ir.Value, b: ir.Value) -> None:
    """One operand is constant and contracts an axis without channels: those on other axes pass, if they broadcast."""
    data, contracted, other = (b, -2, a) if walk.constant(a) else (a, -1, b)
    labels, rank = walk.labels(data), len(walk.dims(node.outputs[0]))
    bad = walk.extent(data)[contracted] > 1 or len(walk.dims(other)) != 2 or labels.ndim != rank
    if bad and labels.any():
        walk.pin(node, labels, "contracts channels by a constant that is no matrix on the right", "export as x @ W")
        labels = none(rank)
    work = float(np.prod(walk.original_dims(other))) * float(np.prod(walk.dims(data))) / walk.dims(data)[contracted]
    varying = [labels.reshape(-1)] if labels.size > 1 else []
    walk.work(node, work / max(1, labels.size), *varying)
    walk.set(node.outputs[0], labels if labels.ndim == rank else none(rank))


def couple_product(walk: Walk, node: ir.Node, a: ir.Value, b: ir.Value) -> None:
    """See the module's docstring."""
    rank = len(walk.dims(node.outputs[0]))
    la, lb = aligned(walk, a, rank), aligned(walk, b, rank)
    lb = np.swapaxes(lb, -1, -2)  # (..., N, K): the contracted axis is the last of both, M and N face each other
    output = product(walk, node, la, lb, -1, -2)
    count_work(walk, node, a, la, lb)
    walk.set(node.outputs[0], compress(output))


def product(walk: Walk, node: ir.Node, la: Labels, lb: Labels, ka: int, kb: int) -> Labels:
    """Labels (..., M, N) of the product of (..., M, K) and (..., N, K), K at axes ka and kb of the operands themselves."""
    rank = la.ndim
    own, shared = rank - 2, [*range(rank - 2), rank - 1]
    for axis in shared:
        for one, other in ((la, lb), (lb, la)):
            if axis in walk.varying(one) and axis not in walk.varying(other):
                walk.unite(one, axis)
    for one in (la, lb):
        if one.size > 1 and not walk.varying(one):
            walk.pin(
                node, one, "its other operand has no channels to go with these", "let a layer with a weight make it"
            )
    both = [k for k in shared if k in walk.varying(la)]
    if both:
        chosen = walk.prefer(la, both, heads=[k for k in both if k < own])
        for axis in range(rank):
            if axis != chosen:
                walk.unite(la, axis)
                walk.unite(lb, axis)
        lines = [np.moveaxis(one, chosen, 0).reshape(one.shape[chosen], -1)[:, 0] for one in (la, lb)]
        walk.tie(*lines)
        if chosen > own:
            walk.meet(node, lines[0], (0, ka), (1, kb))
        return la.take([0], own).take([0], rank - 1) * (chosen < own)
    return apart(walk, node, la, lb)


def aligned(walk: Walk, value: ir.Value, rank: int) -> Labels:
    """Labels with leading axes of size 1."""
    labels = walk.labels(value)
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def apart(walk: Walk, node: ir.Node, la: Labels, lb: Labels) -> Labels:
    """Channels on M or on N: labels of the output (..., M, N); where both have some, the fewer are pinned."""
    m, n = (walk.count(one, one.ndim - 2) if walk.varying(one) else 0 for one in (la, lb))
    if m and n:
        walk.pin(
            node,
            la if m < n else lb,
            "its channels meet those of another operand in an outer product",
            "nothing to do: one side has to stay",
        )
    if m >= n and m:
        return la.take([0], la.ndim - 1)
    return np.swapaxes(lb, -1, -2).take([0], lb.ndim - 2)


def count_work(walk: Walk, node: ir.Node, a: ir.Value, la: Labels, lb: Labels) -> None:
    """Multiply-adds: M K N for each batch; they fall with whatever axis has channels."""
    total = float(np.prod(walk.dims(node.outputs[0]))) * walk.dims(a)[-1]
    labels = la if walk.varying(la) else lb
    line = labels.reshape(-1) if labels.size > 1 else labels.reshape(-1)[:0]
    walk.work(node, total / max(1, len(line)), *([line] if len(line) else []))


@op("MatMul", family(couple_matmul))
def matmul(torch: Any, node: ir.Node, a: Any, b: Any) -> Any:
    """Matrix product with numpy's broadcasting."""
    return torch.matmul(a, b)
