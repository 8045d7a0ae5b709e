"""Einsum of two operands, where it is a matrix product in other letters.

A letter in both operands and the output is a batch axis, one in both operands alone is contracted, one in a single
operand and the output is that operand's own. With one contracted letter and at most one own letter each, the operands
are MatMul's (..., M, K) and (..., K, N) after a transposition, and what holds there holds here; a weight has two letters
and stands second. Everything else is pinned. (https://onnx.ai/onnx/operators/onnx__Einsum.html)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.constants import letters
from seam_onnx.ops.contraction import finish
from seam_onnx.ops.matmul import product
from seam_onnx.ops.reduction import zero_nothing
from seam_onnx.ops.registry import Family, op
from seam_onnx.ops.walk import Labels, Walk, compress, none

__all__ = ["couple_einsum"]

INSTEAD = "export with MatMul and Transpose"


@dataclass(frozen=True)
class Terms:
    """The letters of a matrix product."""

    a: str
    """Of the first operand."""
    b: str
    """Of the second."""
    out: str
    """Of the output."""
    batch: str
    """In all three."""
    contracted: str
    """In both operands alone; one letter."""


def terms_of(node: ir.Node) -> Terms | None:
    """The letters of a node that is a matrix product, None of another."""
    found = letters(node)
    if found is None:
        return None
    a, b, out = found
    batch = "".join(c for c in a if c in b and c in out)
    contracted = "".join(c for c in a if c in b and c not in out)
    own = [[c for c in term if c not in batch and c not in contracted] for term in (a, b)]
    plain = all(len(set(term)) == len(term) for term in (a, b, out)) and set(out) <= set(a + b)
    simple = len(contracted) == 1 and len(own[1]) <= 1 and all(c in out for c in (*own[0], *own[1]))
    return Terms(a, b, out, batch, contracted) if plain and simple else None


def couple_einsum(walk: Walk, node: ir.Node) -> None:
    """Tell the cases apart."""
    terms, data = terms_of(node), [v for v in node.inputs if v is not None and not walk.constant(v)]
    if terms is not None and len(data) == 2 and len(terms.a) <= len(terms.batch) + 2:
        couple_two(walk, node, terms)
    elif terms is not None and data and data[0] is node.inputs[0] and len(terms.b) == 2 and not terms.batch:
        couple_weight(walk, node, terms)
    else:
        for value in data:
            walk.pin(node, walk.labels(value), "multiplies along several named axes", INSTEAD)
        walk.set(node.outputs[0], none(len(walk.dims(node.outputs[0]))))


def couple_weight(walk: Walk, node: ir.Node, terms: Terms) -> None:
    """Channels arrive along the contracted letter and are made along the weight's own."""
    x, weight = node.inputs
    assert x is not None
    assert weight is not None
    own = terms.b.replace(terms.contracted, "")
    made = walk.fresh(node, walk.original_dims(weight)[terms.b.index(own)])
    place = terms.a.index(terms.contracted)
    if any(n > 1 for k, n in enumerate(walk.extent(x)) if k != place):
        raise ValueError("channels stand on another axis than the contracted one")
    arriving = walk.vector(x, place)
    walk.bind(node, weight, terms.b.index(terms.contracted), arriving, "read")
    walk.work(node, float(np.prod([n for k, n in enumerate(walk.dims(x)) if k != place])), arriving, made)
    finish(walk, node, made, axis=terms.out.index(own), weight_axis=terms.b.index(own))


def couple_two(walk: Walk, node: ir.Node, terms: Terms) -> None:
    """As MatMul of two activations, after a transposition of both."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    shared = terms.batch + terms.contracted
    order = [terms.batch + "".join(c for c in term if c not in shared) for term in (terms.a, terms.b)]
    la, lb = (
        arranged(walk.labels(value), term, ahead, terms)
        for value, term, ahead in zip((a, b), (terms.a, terms.b), order, strict=True)
    )
    output = product(walk, node, la, lb, terms.a.index(terms.contracted), terms.b.index(terms.contracted))
    sizes = dict(zip(terms.a + terms.b, (*walk.dims(a), *walk.dims(b)), strict=True))
    line = (la if walk.varying(la) else lb).reshape(-1)
    walk.work(node, float(np.prod(list(sizes.values()))) / len(line), *([line] if len(line) > 1 else []))
    both = len(terms.batch)
    rows, columns = (term[both:] for term in order)
    kept = [k for k in range(output.ndim) if k < both or (rows if k == both else columns)]
    output = output.reshape([output.shape[k] for k in kept])
    now = terms.batch + rows + columns
    walk.set(node.outputs[0], compress(output.transpose([now.index(c) for c in terms.out])))


def arranged(labels: Labels, term: str, ahead: str, terms: Terms) -> Labels:
    """Labels as (batch..., own letter or 1, contracted)."""
    moved = labels.transpose([term.index(c) for c in ahead + terms.contracted])
    return moved if len(ahead) > len(terms.batch) else np.expand_dims(moved, -2)


@op("Einsum", Family("contraction", couple_einsum, zero_nothing, "as MatMul, where it is one"), since=12)
def einsum(torch: Any, node: ir.Node, *inputs: Any) -> Any:
    """Sum of products over named axes."""
    return torch.einsum(node.attributes.get_string("equation"), *inputs)
