"""Masks into initializers: the masked model has the same graph and shapes, with zeros."""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from seam_onnx.channels import Alive, Channels
from seam_onnx.errors import UsageError
from seam_onnx.fold import store
from seam_onnx.masks import Mask, MaskSet
from seam_onnx.model import Model
from seam_onnx.ops import Role
from seam_onnx.quantized import stored_as
from seam_onnx.surgery.combine import combine_kept

__all__ = ["apply_masks", "channel_masks"]


def channel_masks(
    model: Model, channels: Channels, alive: Alive, roles: Collection[Role] = ("read", "write", "affine")
) -> MaskSet:
    """The masks that silence every channel that is not alive, where it is made, shifted and read: in these roles."""
    alive = channels.admissible(alive)
    masks: dict[str, Mask] = {}
    for binding in channels.bindings:
        keep = alive[binding.labels]
        if binding.role in roles and not keep.all():
            rank = len(model.shapes.dims[binding.initializer])
            view = keep.reshape([-1 if k == binding.axis else 1 for k in range(rank)])
            masks[binding.initializer] = masks.get(binding.initializer, np.ones((1,) * rank, bool)) & view
    return MaskSet(masks, model.sha256, kept_channels(channels, alive))


def kept_channels(channels: Channels, alive: Alive) -> dict[str, Mask]:
    """For each node that combines channels, and loses some: which are left."""
    kept = {}
    for mix in channels.mixes:
        if not (keep := alive[mix.labels]).all():
            kept[mix.node] = keep.reshape([-1 if k == mix.axis else 1 for k in range(mix.rank)])
    return kept


def apply_masks(model: Model, masks: MaskSet) -> Model:
    """The masked model: initializers multiplied by their masks, types kept; see `combine`.

    Raises:
        UsageError: a mask names no initializer of the model, or does not broadcast to it.
    """
    proto = model.edit()
    for name, mask in masks.masks.items():
        value = proto.graph.initializers.get(name)
        if value is None or value.const_value is None:
            raise UsageError(f"mask {name!r}", "the model has no such initializer", "use the masks of this model")
        array = value.const_value.numpy()
        try:
            full = np.broadcast_to(mask, array.shape)
        except ValueError:
            raise UsageError(
                f"mask {name!r}", f"shape {mask.shape} does not fit {array.shape}", "use this model's masks"
            ) from None
        form = stored_as(value)
        zero = np.zeros((), array.dtype) if form is None else form.along(form.zero).astype(array.dtype)
        store(proto.graph, name, np.where(full, array, zero), value.const_value.dtype)
    nodes = {str(node.name): node for node in proto.graph}
    for name, mask in masks.kept.items():
        if name not in nodes:
            raise UsageError(f"mask {name!r}", "the model has no such node", "use the masks of this model")
        check_kept(nodes[name], mask, model)
    for name, mask in masks.kept.items():  # only now: a node's operand may be another's rewritten result
        combine_kept(proto.graph, nodes[name], mask, model)
    return model.edited(proto)


def check_kept(node: ir.Node, mask: Mask, model: Model) -> None:
    """Refuse a choice of channels that does not fit the node's first operand, or leaves none."""
    dims = model.shapes.dims.get(str(node.inputs[0].name), ()) if node.inputs and node.inputs[0] is not None else ()
    long = [k for k, n in enumerate(mask.shape) if n != 1]
    if mask.ndim != len(dims) or len(long) != 1 or mask.size != dims[long[0]] or not mask.any():
        why = f"shape {mask.shape} does not fit {dims}, or nothing is kept"
        raise UsageError(f"mask {node.name!r}", why, "use the masks of this model")
