"""The table of ops. Importing this package fills it."""

from seam_onnx.ops import contraction, elementwise, layout, normalization, pooling, reduction, shape
from seam_onnx.ops.registry import Constants, Family, OpSpec, every, find
from seam_onnx.ops.walk import Array, Labels, Role, Walk, compress, none

__all__ = ["Array", "Constants", "Family", "Labels", "OpSpec", "Role", "Walk", "compress", "every", "find", "none"]

FAMILIES = (contraction, elementwise, layout, normalization, pooling, reduction, shape)
"""One file each; what a new op is added to."""
