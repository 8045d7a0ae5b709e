"""Removing what masks silence, and nothing that is zero for another reason.

Trained weights, and an original's (8-bit ones above all), are exactly zero here and there, and training moves them away from
zero. What a search removes in rounds with training between them can be removed at once only if it depends on the masks
alone. So what is dead in the original goes first (`without_dead`), and from then on a plan looks at a *pattern*: the masked
model with one and the same number for every weight that stays.
"""

from dataclasses import dataclass

import numpy as np

from seam_onnx.channels import Alive, Channels, analyze
from seam_onnx.channels.liveness import Constants, constants_of
from seam_onnx.fold import store
from seam_onnx.masks import Mask, MaskSet
from seam_onnx.model import Model
from seam_onnx.surgery.masking import apply_masks
from seam_onnx.surgery.plan import PrunePlan, plan_removal
from seam_onnx.surgery.remove import remove_channels

__all__ = ["Removal", "closed", "pattern_of", "remove_masked", "without_dead"]

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


def remove_masked(model: Model, masks: MaskSet, step: int = 1) -> Removal:
    """Remove what these masks silence, whatever the weights are; widths stay multiples of `step`. Cost: a few copies of the
    weights.

    Raises:
        UsageError: the masks do not fit the model.
    """
    masked = apply_masks(model, masks)
    plan = plan_removal(masked, analyze(masked), step, pattern_of(model, masks))
    return Removal(masked, plan, remove_channels(masked, plan))


def closed(model: Model, masks: MaskSet) -> MaskSet:
    """The masks, and others on what shifts, scales and reads channels where these leave them without data.

    Nothing that training may move then comes from such a channel, so that what can be removed depends on the masks alone.
    Cost: as `remove_masked`, a few times.
    """
    channels, nodes = analyze(model), {str(node.name): node for node in model.graph}
    while True:
        constants, before = constants_of(pattern_of(model, masks)), masks.digest()
        silent: dict[str, Mask] = {}
        for binding in channels.bindings:
            name, dims = binding.initializer, model.shapes.dims[binding.initializer]
            node, whole = nodes[binding.node], np.prod(dims) == binding.labels.size
            if binding.role != "read" and not (whole and binding.role in ("write", "affine")):
                continue
            value = node.inputs[0] if binding.role == "read" else node.outputs[0]
            steady = ~moving(channels, constants, str(value.name if value is not None else ""))[binding.labels]
            view = steady.reshape([-1 if k == binding.axis else 1 for k in range(len(dims))])
            silent[name] = silent.get(name, np.ones(dims, bool)) & view
        added = {name: masks.masks.get(name, np.True_) & ~gone for name, gone in silent.items() if gone.any()}
        masks = MaskSet({**masks.masks, **added}, masks.sha256, masks.kept)
        if masks.digest() == before:
            return masks


def moving(channels: Channels, constants: Constants, value: str) -> Alive:
    """Which labels depend on data in a value; of a value that has none, or of which nothing is known, all."""
    labels, array = channels.labels.get(value), constants.values.get(value)
    moves = np.full(len(channels.roots), labels is None or array is None)
    if labels is not None and array is not None:
        steady, placed = np.broadcast_arrays(~np.isnan(array), labels)
        moves[placed[~steady]] = True
    return moves


def pattern_of(model: Model, masks: MaskSet) -> Model:
    """The masked model with `SOMETHING` for every weight that carries channels and stays."""
    proto = model.edit()
    for name in dict.fromkeys(binding.initializer for binding in analyze(model).bindings):
        tensor = proto.graph.initializers[name].const_value
        if tensor is not None and tensor.dtype.is_floating_point():
            store(proto.graph, name, np.full(tensor.shape.numpy(), SOMETHING, tensor.dtype.numpy()), tensor.dtype)
    return apply_masks(model.edited(proto), masks)
