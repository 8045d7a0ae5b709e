"""Depth: groups whose removal takes a whole residual branch with them."""

import numpy as np

from seam_onnx.channels import Alive, Channels, Group
from seam_onnx.channels.liveness import constants_of
from seam_onnx.masks import Mask, MaskSet
from seam_onnx.model import Model
from seam_onnx.surgery import apply_masks, channel_masks
from seam_onnx.surgery.plan import replaceable

__all__ = ["droppable", "silence_dropped"]


def droppable(model: Model, channels: Channels, group: Group) -> bool:
    """Does every reader of the group alone become a constant that the graph can do without? Cost: one constant walk."""
    alive = channels.without(group.channels)
    silent = starved(channels, alive)
    if not silent:
        return False
    masked = apply_masks(model, channel_masks(model, channels, alive))
    replaced = replaceable(masked, constants_of(masked))
    outputs = {str(node.name): str(node.outputs[0].name) for node in masked.graph}
    return all(outputs[node] in replaced for node in silent)


def starved(channels: Channels, alive: Alive) -> set[str]:
    """Nodes that read channels, none of which is alive."""
    return {b.node for b in channels.bindings if b.role == "read" and not alive[b.labels].any()}


def silence_dropped(model: Model, channels: Channels, alive: Alive, masks: MaskSet) -> MaskSet:
    """Also mask what a dropped branch would add as a constant, so that its last Add goes as well.

    The constant is the bias of the layer that reads nothing any more, or the shift of a normalisation behind it.
    """
    more: dict[str, Mask] = dict(masks.masks)
    nodes = {str(node.name): node for node in model.graph}
    for name in starved(channels, alive):
        node = nodes[name]
        while node is not None and node.op_type in ("Conv", "Gemm", "BatchNormalization"):
            for value in node.inputs[1:3]:
                if value is not None and value.const_value is not None and len(value.uses()) == 1:
                    more[str(value.name)] = np.zeros((1,) * len(model.shapes[value]), bool)
            users = [user for user, _ in node.outputs[0].uses()]
            node = users[0] if len(users) == 1 else None  # type: ignore[assignment]
    return MaskSet(more, masks.sha256, masks.kept)
