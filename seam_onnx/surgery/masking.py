"""Masks into initializers: the masked model has the same graph and shapes, with zeros."""

import numpy as np
import onnx_ir as ir

from seam_onnx.channels import Alive, Channels
from seam_onnx.errors import UsageError
from seam_onnx.fold import set_initializer
from seam_onnx.masks import Mask, MaskSet
from seam_onnx.model import Model

__all__ = ["apply_masks", "channel_masks"]


def channel_masks(model: Model, channels: Channels, alive: Alive) -> MaskSet:
    """The masks that silence every channel that is not alive, where it is made, shifted and read."""
    masks: dict[str, Mask] = {}
    for binding in channels.bindings:
        keep = alive[binding.labels]
        if binding.role != "carry" and not keep.all():
            rank = len(model.shapes.dims[binding.initializer])
            view = keep.reshape([-1 if k == binding.axis else 1 for k in range(rank)])
            masks[binding.initializer] = masks.get(binding.initializer, np.ones((1,) * rank, bool)) & view
    return MaskSet(masks, model.sha256)


def apply_masks(model: Model, masks: MaskSet) -> Model:
    """The masked model: initializers multiplied by their masks, types kept.

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
            raise UsageError(f"mask {name!r}", f"shape {mask.shape} does not fit {array.shape}", "use this model's masks") from None
        store(proto.graph, name, np.where(full, array, np.zeros((), array.dtype)), value.const_value.dtype)
    return model.edited(proto)


def store(graph: ir.Graph, name: str, array: np.ndarray, dtype: ir.DataType) -> None:
    """Put an array back under its name and type."""
    value = set_initializer(graph, name, array)
    if value.dtype != dtype:
        value.const_value = ir.tensor(array, dtype=dtype, name=name)
        value.dtype = dtype
