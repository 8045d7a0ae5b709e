"""Measuring what narrowing costs: for each group and each width it may get, the change of the logits.

Within a group, gradients say in which order channels go. How much it costs when the first k of them go is measured, not
estimated: the weights are masked and the network is run. First-order scores are right for a channel among many and wrong
for half of a residual stream, or for a whole branch.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seam_onnx.channels import Alive, Channels
from seam_onnx.hyperparameters import Criterion
from seam_onnx.lowering import Lowered
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.search.depth import droppable, silence_dropped
from seam_onnx.search.scores import ablation, sensitivities
from seam_onnx.search.select import Ladder, rungs
from seam_onnx.surgery import channel_masks

__all__ = ["ladders_by", "measure_ladders", "silencing"]

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


def ladders_by(
    criterion: Criterion, model: Model, channels: Channels, module: Lowered, x: Tensor, step: int, seed: int
) -> list[Ladder]:
    """One ladder a group, by `effect` (measured), or, to compare with, by `taylor` scores of gates, `magnitude` or `random`.

    The price of a step is then the sum of the scores of the channels that go, as if they did not interact.
    """
    if criterion == "effect":
        return measure_ladders(model, channels, module, x, step, seed)
    if criterion == "taylor":
        scores = (sensitivities(module, channels, x, DRAWS, seed) ** 2).mean(0)
    elif criterion == "magnitude":
        scores = magnitudes(model, channels)
    else:
        scores = np.random.default_rng(seed).random(len(channels.roots))
    ladders = []
    for group in channels.groups:
        order = group.channels[np.argsort(scores[group.channels], kind="stable")]
        counts = rungs(len(order), step, droppable(model, channels, group))
        ladders.append(Ladder(order, tuple(counts), tuple(float(scores[order[:n]].sum()) for n in counts)))
    return ladders


def magnitudes(model: Model, channels: Channels) -> NDArray[np.float64]:
    """Sum of squares of all weights that read a channel (labels,)."""
    sums = np.zeros(len(channels.roots))
    for binding in channels.bindings:
        tensor = model.initializers[binding.initializer].const_value
        if binding.role == "read" and tensor is not None:
            array = np.moveaxis(np.asarray(tensor.numpy(), np.float64), binding.axis, 0)
            np.add.at(sums, channels.roots[binding.labels], (array.reshape(len(array), -1) ** 2).sum(1))
    return sums


def silencing(model: Model, channels: Channels, alive: Alive) -> MaskSet:
    """The masks that leave only these channels, and nothing of a branch that has none left."""
    return silence_dropped(model, channels, alive, channel_masks(model, channels, alive))
