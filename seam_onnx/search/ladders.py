"""Measuring what narrowing costs: for each group and each width it may get, the change of the logits.

Within a group, gradients say in which order channels go. How much it costs when the first k of them go is measured, not
estimated: the weights are masked and the network is run. First-order scores are right for a channel among many and wrong
for half of a residual stream, or for a whole branch.
"""

import numpy as np
import torch

from seam_onnx.channels import Alive, Channels
from seam_onnx.hyperparameters import Criterion
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.ops import Labels
from seam_onnx.search.criteria import CRITERIA, Subject, taylor
from seam_onnx.search.depth import droppable, silence_dropped
from seam_onnx.search.scores import ablation
from seam_onnx.search.select import Ladder, rungs
from seam_onnx.surgery import channel_masks

__all__ = ["ladders_by", "silencing"]


def ladders_by(criterion: Criterion, subject: Subject, step: int) -> list[Ladder]:
    """One ladder a group, in multiples of `step`, by `effect` (measured) or, to compare with, another of `CRITERIA`.

    Cost of `effect`: that of `taylor`, which orders the channels within a group, and a forward pass for each of its widths.
    """
    model, channels = subject.model, subject.channels
    scores = CRITERIA.get(criterion, taylor)(subject)
    with torch.no_grad():
        logits = subject.module(subject.x).flatten(1)

    def change(order: Labels) -> float:
        if criterion != "effect":
            return float(scores[order].sum())
        return ablation(subject.module, silencing(model, channels, channels.without(order)), subject.x, logits)

    ladders = []
    for group in channels.groups:
        order = group.channels[np.argsort(scores[group.channels], kind="stable")]
        counts = rungs(len(order), step, droppable(model, channels, group))
        ladders.append(Ladder(order, tuple(counts), tuple(change(order[:n]) for n in counts)))
    return ladders


def silencing(model: Model, channels: Channels, alive: Alive) -> MaskSet:
    """The masks that leave only these channels, and nothing of a branch that has none left."""
    return silence_dropped(model, channels, alive, channel_masks(model, channels, alive))
