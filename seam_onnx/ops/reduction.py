"""Ops that combine along axes: Reduce*, Softmax. Channels along other axes pass.

Along the combined ones a reduction means the kept channels only, see `mixing`; a Softmax ties or pins them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.mixing import mix_axes
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Array, Walk, compress, none

__all__ = ["REDUCE", "SOFTMAX"]


def reduced_axes(walk: Walk, node: ir.Node, rank: int) -> list[int]:
    """Axes that a Reduce op takes together, counted from the front."""
    axes = walk.ints(node, "axes", 1)
    if axes is None or not axes:
        return [] if node.attributes.get_int("noop_with_empty_axes", 0) else list(range(rank))
    return [a % rank for a in axes]


def after_reduction(node: ir.Node, array: Array, axes: Sequence[int]) -> Array:
    """The tensor with the reduced axes kept as 1 or dropped."""
    if node.attributes.get_int("keepdims", 1):
        return array
    return array.reshape([n for k, n in enumerate(array.shape) if k not in axes])


def couple_reduce(walk: Walk, node: ir.Node) -> None:
    """Over an axis with channels the kept ones are meant, and the result has none."""
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    axes = reduced_axes(walk, node, labels.ndim)
    mixed = mix_axes(walk, node, axes) is not None
    for k in axes:
        labels = labels.take([0], k) * (not mixed)
    walk.set(node.outputs[0], after_reduction(node, labels, axes))


def zero_reduce(constants: Constants, node: ir.Node) -> None:
    """A mean, maximum or minimum of a constant is the constant; of sums only zero is certain to stay."""
    x = node.inputs[0]
    assert x is not None
    array = constants.get(x)
    axes = reduced_axes(constants.walk, node, array.ndim)
    if any(array.shape[k] > 1 for k in axes):
        return
    if node.op_type not in ("ReduceMean", "ReduceMax", "ReduceMin"):
        array = np.where(array == 0, array, np.nan)
    if node.op_type in ("ReduceProd", "ReduceLogSum", "ReduceLogSumExp"):
        return
    constants.set(node.outputs[0], compress(after_reduction(node, array, axes)))


def mixed_axes(walk: Walk, node: ir.Node, rank: int) -> list[int]:
    """Axes over which a Softmax-like op normalises: one since opset 13, all from `axis` on before."""
    if walk.opset >= 13:
        return [(node.attributes.get_int("axis", -1)) % rank]
    return list(range(node.attributes.get_int("axis", 1) % rank, rank))


def couple_softmax(walk: Walk, node: ir.Node) -> None:
    """Normalising over an axis with channels compares them all: those that stand along it are one, or stay.

    Where there are others along a second axis, lines go as a whole (the weights of parallel branches, a channel each).
    """
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    extent = walk.extent(x)
    compared = [k for k in mixed_axes(walk, node, labels.ndim) if extent[k] > 1]
    if compared and not walk.renormalises(node):
        if any(n > 1 for k, n in enumerate(extent) if k not in compared):
            for axis in compared:
                walk.unite(labels, axis)
        else:
            why = "compares channels with each other"
            walk.pin(node, labels, why, "nothing to do: each result depends on all of them")
            labels = none(labels.ndim)
    walk.set(node.outputs[0], labels)


def zero_nothing(constants: Constants, node: ir.Node) -> None:
    """Nothing is known of the output."""


REDUCE = Family("reduction", couple_reduce, zero_reduce, "channels along other axes pass; else the kept ones are meant")
SOFTMAX = Family("normalisation", couple_softmax, zero_nothing, "channels along other axes pass")


def reduction(run: Callable[[Any, Any, tuple[int, ...], bool], Any]) -> Callable[..., Any]:
    """A lowering from `run(torch, x, axes, keepdims)`."""

    def lower(torch: Any, node: ir.Node, x: Any, axes: Any = None) -> Any:
        given = node.attributes.get_ints("axes", None) if axes is None else axes.tolist()
        if not given:
            if node.attributes.get_int("noop_with_empty_axes", 0):
                return x
            given = range(x.ndim)
        return run(torch, x, tuple(int(a) for a in given), bool(node.attributes.get_int("keepdims", 1)))

    return lower


REDUCTIONS: dict[str, Callable[[Any, Any, tuple[int, ...], bool], Any]] = {
    "ReduceMean": lambda torch, x, axes, keep: x.mean(axes, keep),
    "ReduceSum": lambda torch, x, axes, keep: x.sum(axes, keep),
    "ReduceMax": lambda torch, x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda torch, x, axes, keep: x.amin(axes, keep),
    "ReduceL1": lambda torch, x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda torch, x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "ReduceSumSquare": lambda torch, x, axes, keep: x.square().sum(axes, keep),
    "ReduceLogSumExp": lambda torch, x, axes, keep: torch.logsumexp(x, axes, keep),
}
for name, run in REDUCTIONS.items():
    attribute = "" if name == "ReduceSum" else ", axes"
    op(name, REDUCE, example=f"axes = Constant <value_ints: ints = [2, 3]> ()\n y = {name}(x, axes)")(reduction(run))


@op("Softmax", SOFTMAX, since=13, example="y = Softmax <axis: int = 2> (x)")
def softmax(torch: Any, node: ir.Node, x: Any) -> Any:
    """Over one axis."""
    return torch.softmax(x, node.attributes.get_int("axis", -1))


@op("Softmax", SOFTMAX, until=12)
def softmax_1(torch: Any, node: ir.Node, x: Any) -> Any:
    """Over all axes from `axis` on, taken as one."""
    axis = node.attributes.get_int("axis", 1) % x.ndim
    return torch.softmax(x.flatten(axis), axis).reshape(x.shape)


@op("LogSoftmax", SOFTMAX, since=13, example="y = LogSoftmax <axis: int = 2> (x)")
def log_softmax(torch: Any, node: ir.Node, x: Any) -> Any:
    """Logarithm of Softmax over one axis."""
    return torch.log_softmax(x, node.attributes.get_int("axis", -1))


@op("LogSoftmax", SOFTMAX, until=12)
def log_softmax_1(torch: Any, node: ir.Node, x: Any) -> Any:
    """Logarithm of Softmax over all axes from `axis` on."""
    axis = node.attributes.get_int("axis", 1) % x.ndim
    return torch.log_softmax(x.flatten(axis), axis).reshape(x.shape)
