"""The search: gradients into scores, scores into masks, and recovery of what stays. The only package besides `lowering`
that imports torch."""

from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.search.channel import Found, search_channels
from seam_onnx.search.select import Target, parse_target
from seam_onnx.search.threads import fastest_threads
from seam_onnx.search.views import Views, evaluate
from seam_onnx.search.weight import WeightsFound, mask_elements, search_weights

__all__ = [
    "Found",
    "Recipe",
    "SeamRecipe",
    "Target",
    "Views",
    "WeightsFound",
    "evaluate",
    "fastest_threads",
    "mask_elements",
    "parse_target",
    "search_channels",
    "search_weights",
]
