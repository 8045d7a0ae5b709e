"""Removing what masks silence, and nothing that is zero for another reason.

Trained weights, and an original's (8-bit ones above all), are exactly zero here and there, and training moves them away from
zero. What a search removes in rounds with training between them can be removed at once only if it depends on the masks
alone. So what is dead in the original goes first (`without_dead`), and from then on a plan looks at a *pattern*: the masked
model with one and the same number for every weight that stays.
"""

from dataclasses import dataclass

import numpy as np

from seam_onnx.channels import analyze
from seam_onnx.fold import store
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.surgery.masking import apply_masks
from seam_onnx.surgery.plan import PrunePlan, plan_removal
from seam_onnx.surgery.remove import remove_channels

__all__ = ["Removal", "pattern_of", "remove_masked", "without_dead"]

SOMETHING = 0.7
"""What stands for a weight that stays: neither 0, nor 1, nor its own square."""


@dataclass(frozen=True)
class Removal:
    """One removal, with what led to it."""

    masked: Model
    """The model with zeros."""
    plan: PrunePlan
    """What goes from it."""
    pruned: Model
    """What is left."""


def without_dead(model: Model, step: int = 1) -> Model:
    """The model without what can go as it stands; widths stay multiples of `step`. Cost: one pass over the weights."""
    return remove_channels(model, plan_removal(model, analyze(model), step))


def remove_masked(model: Model, masks: MaskSet) -> Removal:
    """Remove what these masks silence, whatever the weights are. Cost: a few copies of the weights.

    Raises:
        UsageError: the masks do not fit the model.
    """
    masked = apply_masks(model, masks)
    plan = plan_removal(masked, analyze(masked), pattern=pattern_of(model, masks))
    return Removal(masked, plan, remove_channels(masked, plan))


def pattern_of(model: Model, masks: MaskSet) -> Model:
    """The masked model with `SOMETHING` for every weight that carries channels and stays."""
    proto = model.edit()
    for name in dict.fromkeys(binding.initializer for binding in analyze(model).bindings):
        tensor = proto.graph.initializers[name].const_value
        if tensor is not None and tensor.dtype.is_floating_point():
            store(proto.graph, name, np.full(tensor.shape.numpy(), SOMETHING, tensor.dtype.numpy()), tensor.dtype)
    return apply_masks(model.edited(proto), masks)
