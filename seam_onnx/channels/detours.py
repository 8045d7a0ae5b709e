"""Detours: chains of layout ops that in the end only permute channels (the shuffle: Reshape, Transpose, Reshape).

In the middle of one the channels stand in a box, and a box only stays one where every row loses as many channels. So the
middle is not looked at: the small graph has a Gather in place of the chain, with the survivors in the order in which the
chain brought them. Nothing needs to be tied, any choice of channels is possible, and shuffled parts can still be split.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from seam_onnx.ops import Array, Labels, Walk, compress, reshape

__all__ = ["Detour", "find_detour"]

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Detour:
    """A chain of nodes that permutes the channels of a value."""

    source: str
    """Value at its start."""
    axis: int
    """Axis of the channels, there and at its end."""
    passed: tuple[str, ...]
    """Values in between."""
    before: Labels
    """Labels at the start (C,)."""
    after: Labels
    """Labels at the end (C,), the same in another order."""
    order: Labels
    """Index at the start of each index at the end (C,): labels may repeat, so they do not tell."""


def find_detour(walk: Walk, last: ir.Node) -> Detour | None:
    """The detour that ends at a node just visited, if one does."""
    end, middle = last.outputs[0], last.inputs[0]
    if last.op_type not in (*RESHAPES, "Transpose") or middle is None or walk.constant(middle):
        return None
    axes = walk.varying(walk.labels(end))
    if len(axes) != 1 or len(walk.varying(walk.labels(middle))) < 2:
        return None
    chain = chain_to(walk, last)
    source = chain[0].inputs[0] if chain else None
    if source is None or walk.varying(walk.labels(source)) != axes or not permutes(walk, chain, axes[0]):
        return None
    before, after = (walk.vector(value, axes[0]) for value in (source, end))
    order = moved(walk, chain, coordinates(walk.dims(source), axes[0])).reshape(-1)
    return Detour(str(source.name), axes[0], tuple(str(n.outputs[0].name) for n in chain[:-1]), before, after, order)


def chain_to(walk: Walk, last: ir.Node) -> list[ir.Node]:
    """The nodes from where the channels left their axis up to `last`; empty if the middle is also read elsewhere."""
    chain = [last]
    while (value := chain[0].inputs[0]) is not None and len(walk.varying(walk.labels(value))) > 1:
        maker = value.producer()
        only = len(value.uses()) == 1 and not value.is_graph_output()
        if maker is None or not only or maker.op_type not in (*RESHAPES, "Transpose"):
            return []
        chain.insert(0, maker)
    return chain


def permutes(walk: Walk, chain: Sequence[ir.Node], axis: int) -> bool:
    """Does a chain leave the shape, the batch in front, and every other axis as they were?"""
    source, end = chain[0].inputs[0], chain[-1].outputs[0]
    assert source is not None
    dims = walk.dims(source)
    if axis == 0 or dims != walk.dims(end):
        return False
    if any(n.op_type == "Transpose" and (n.attributes.get_ints("perm", None) or (-1,))[0] for n in chain):
        return False
    others = [coordinates(dims, k) for k in range(len(dims)) if k != axis and dims[k] > 1]
    return all(np.array_equal(moved(walk, chain, other), other) for other in others)


def coordinates(dims: Sequence[int], axis: int) -> Array:
    """The index along one axis, as a tensor that varies along that axis alone."""
    return np.arange(dims[axis]).reshape([-1 if k == axis else 1 for k in range(len(dims))])


def moved(walk: Walk, chain: Sequence[ir.Node], array: Array) -> Array:
    """A tensor as it comes out of a chain."""
    for node in chain:
        value = node.inputs[0]
        assert value is not None
        if node.op_type == "Transpose":
            array = array.transpose(node.attributes.get_ints("perm", range(array.ndim)[::-1]))
        else:
            array = reshape(array, walk.dims(value), walk.dims(node.outputs[0]))
    return compress(array)
