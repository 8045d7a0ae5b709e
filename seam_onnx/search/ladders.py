"""Measuring what narrowing costs: for each group and each width it may get, the change of the logits.

Within a group, gradients say in which order channels go. How much it costs when the first k of them go is measured, not
estimated: the weights are masked and the network is run. First-order scores are right for a channel among many and wrong
for half of a residual stream, or for a whole branch.
"""

import numpy as np
from torch import Tensor

from seam_onnx.channels import Alive, Channels
from seam_onnx.lowering import Lowered
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.search.depth import droppable, silence_dropped
from seam_onnx.search.scores import ablation, sensitivities
from seam_onnx.search.select import Ladder, rungs
from seam_onnx.surgery import channel_masks

__all__ = ["measure_ladders", "silencing"]

DRAWS = 8
"""Random combinations of the logits that are propagated back."""


def measure_ladders(model: Model, channels: Channels, module: Lowered, x: Tensor, step: int, seed: int) -> list[Ladder]:
    """One ladder a group. Cost: `DRAWS` backward passes, and a forward pass for each width of each group."""
    derivatives = sensitivities(module, channels, x, DRAWS, seed)
    scores = (derivatives**2).mean(0)
    ladders = []
    for group in channels.groups:
        order = group.channels[np.argsort(scores[group.channels], kind="stable")]
        counts = rungs(len(order), step, droppable(model, channels, group))
        changes = [ablation(module, silencing(model, channels, channels.without(order[:n])), x) for n in counts]
        ladders.append(Ladder(order, tuple(counts), tuple(changes)))
    return ladders


def silencing(model: Model, channels: Channels, alive: Alive) -> MaskSet:
    """The masks that leave only these channels, and nothing of a branch that has none left."""
    return silence_dropped(model, channels, alive, channel_masks(model, channels, alive))
