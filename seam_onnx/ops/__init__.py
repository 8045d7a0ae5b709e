"""The table of ops. Importing this package fills it."""

from seam_onnx.ops import (
    activations,
    attention,
    contraction,
    einsum,
    elementwise,
    gather,
    joining,
    layout,
    logic,
    matmul,
    microsoft,
    normalization,
    parts,
    pooling,
    quantization,
    recurrent,
    reduction,
    resample,
    rotary,
    shape,
    transposed,
)
from seam_onnx.ops.layout import reshape
from seam_onnx.ops.registry import Constants, Family, OpSpec, every, find
from seam_onnx.ops.walk import Array, Labels, Role, Walk, compress, none

__all__ = [
    "Array",
    "Constants",
    "Family",
    "Labels",
    "OpSpec",
    "Role",
    "Walk",
    "compress",
    "every",
    "find",
    "none",
    "reshape",
]

FAMILIES = (
    activations, attention, contraction, einsum, elementwise, gather, joining, layout, logic, matmul, microsoft,
    normalization, parts, pooling, quantization, recurrent, reduction, resample, rotary, shape, transposed,
)  # fmt: skip
"""One file each; what a new op is added to."""
