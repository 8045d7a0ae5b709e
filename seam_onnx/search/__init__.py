"""The search: gradients into scores, scores into masks, and recovery of what stays. The only package besides `lowering`
that imports torch."""

from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.search.aims import Aim, CostAim, DropAim, Goal, LatencyAim, parse_target
from seam_onnx.search.channel import ChannelSearch, Found, Visited
from seam_onnx.search.engine import PLAIN, Engine, engines, fastest_engine
from seam_onnx.search.gradual import search_gradually
from seam_onnx.search.price import Latencies, LayerLatency, Price, price_of
from seam_onnx.search.views import Views, evaluate
from seam_onnx.search.weight import WeightsFound, mask_elements, search_weights

__all__ = [
    "PLAIN",
    "Aim",
    "ChannelSearch",
    "CostAim",
    "DropAim",
    "Engine",
    "Found",
    "Goal",
    "Latencies",
    "LatencyAim",
    "LayerLatency",
    "Price",
    "Recipe",
    "SeamRecipe",
    "Views",
    "Visited",
    "WeightsFound",
    "engines",
    "evaluate",
    "fastest_engine",
    "mask_elements",
    "parse_target",
    "price_of",
    "search_gradually",
    "search_weights",
]
