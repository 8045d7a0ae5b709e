"""N:M sparsity: of every M consecutive input weights at most N are not zero.

    pattern = parse_nm("2:4")
    sparse_layers(model, pattern)       # which weights hold it, and why the others do not

TensorRT has sparse kernels for 2:4 (developer guide, "Structured Sparsity"; Mishra et al., arXiv 2104.08378): for each
output channel and each position of a convolution's kernel, of every four input channels at most two have a weight; the
number of input channels (of one block of a grouped convolution) has to be a multiple of four. Of a Gemm or a MatMul it is
the axis that is summed over.
"""

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from seam_onnx.errors import UsageError
from seam_onnx.model import Model

__all__ = ["NM", "SparseLayer", "fits", "holds", "parse_nm", "reduction_axes", "sparse_layers"]


@dataclass(frozen=True)
class NM:
    """At most N of every M."""

    n: int
    """Weights that may stay in a group."""
    m: int
    """Consecutive input weights that make a group."""

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


@dataclass(frozen=True)
class SparseLayer:
    """A weight and the pattern."""

    weight: str
    """Name of the initializer."""
    shape: tuple[int, ...]
    """Its shape."""
    kept: float
    """Share of its elements that are not zero."""
    reason: str = ""
    """Why the pattern does not hold; empty where it does."""


def parse_nm(text: str) -> NM:
    """`2:4` and the like. Raises UsageError where it is not N:M with 0 < N < M."""
    found = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", text.strip())
    if found is None or not 0 < int(found[1]) < int(found[2]):
        raise UsageError(f"nm {text!r}", "is not N:M with N from 1 to M - 1", "write 2:4 for TensorRT's sparse kernels")
    return NM(int(found[1]), int(found[2]))


def reduction_axes(model: Model) -> dict[str, int | None]:
    """Initializers that are weights of Conv, Gemm or MatMul, each with the axis that is summed over.

    None where two nodes read a weight along different axes.
    """
    found: dict[str, int | None] = {}
    for node in model.graph:
        for slot, value in enumerate(node.inputs[:2]):
            if value is not None and value.const_value is not None and (axis := summed(node, slot)) is not None:
                axis %= len(value.const_value.shape)
                found[str(value.name)] = axis if found.get(str(value.name), axis) == axis else None
    return found


def summed(node: ir.Node, slot: int) -> int | None:
    """The axis of an operand that is summed over, None where the node sums over none."""
    if node.op_type == "Conv":
        return 1 if slot == 1 else None
    if node.op_type == "Gemm":
        turned = node.attributes.get_int(("transA", "transB")[slot], 0)
        return int(bool(turned)) if slot == 1 else int(not turned)
    if node.op_type == "MatMul":
        return -2 if slot == 1 else -1
    return None


def fits(shape: tuple[int, ...], axis: int | None, pattern: NM) -> bool:
    """Whether a weight of this shape can hold the pattern: whole groups along the axis."""
    return axis is not None and shape[axis] % pattern.m == 0


def holds(weight: ArrayLike, axis: int, pattern: NM) -> bool:
    """Whether at most N of every M consecutive elements along the axis are not zero; a last, shorter group counts too."""
    nonzero = np.moveaxis(np.asarray(weight) != 0, axis, -1)
    nonzero = np.pad(nonzero, [(0, 0)] * (nonzero.ndim - 1) + [(0, -nonzero.shape[-1] % pattern.m)])
    groups = nonzero.reshape(*nonzero.shape[:-1], nonzero.shape[-1] // pattern.m, pattern.m)
    return bool((groups.sum(-1) <= pattern.n).all())


def sparse_layers(model: Model, pattern: NM) -> tuple[SparseLayer, ...]:
    """Every weight of Conv, Gemm and MatMul, with the reason where the pattern does not hold.

    Cost: one pass over the weights.
    """
    layers = []
    for name, axis in reduction_axes(model).items():
        weight = model.initializers[name].const_value
        assert weight is not None
        array = weight.numpy()
        layers.append(
            SparseLayer(name, array.shape, np.count_nonzero(array) / max(1, array.size), refusal(array, axis, pattern))
        )
    return tuple(layers)


def refusal(weight: np.ndarray, axis: int | None, pattern: NM) -> str:
    """Why a weight does not count as sparse, empty where it does."""
    if axis is None:
        return "is read along different axes"
    if not fits(weight.shape, axis, pattern):
        return f"its {weight.shape[axis]} inputs are no multiple of {pattern.m}"
    if not holds(weight, axis, pattern):
        return f"more than {pattern.n} of {pattern.m} weights in a row are not zero"
    return ""
