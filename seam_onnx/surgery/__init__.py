"""Surgery on the graph: masks into initializers, plans of removal, and their execution. numpy only."""

from seam_onnx.surgery.cut import class_scores, classes_left, cut_head
from seam_onnx.surgery.head import classes
from seam_onnx.surgery.inheritance import Inheritance, inheritance
from seam_onnx.surgery.masked import Removal, closed, remove_masked, without_dead
from seam_onnx.surgery.masking import apply_masks, channel_masks
from seam_onnx.surgery.plan import PrunePlan, plan_channels, plan_removal
from seam_onnx.surgery.remove import remove_channels
from seam_onnx.surgery.sparsity import NM, SparseLayer, parse_nm, sparse_layers

__all__ = [
    "NM",
    "Inheritance",
    "PrunePlan",
    "Removal",
    "SparseLayer",
    "apply_masks",
    "channel_masks",
    "class_scores",
    "classes",
    "classes_left",
    "closed",
    "cut_head",
    "inheritance",
    "parse_nm",
    "plan_channels",
    "plan_removal",
    "remove_channels",
    "remove_masked",
    "sparse_layers",
    "without_dead",
]
