"""Putting other contents into a model's initializers."""

import numpy as np

from seam_onnx.errors import UsageError
from seam_onnx.fold import store
from seam_onnx.model import Model
from seam_onnx.solution import Values

__all__ = ["with_values"]


def with_values(pruned: Model, values: Values) -> Model:
    """The model with these contents of initializers, in their stored types. Raises UsageError where one does not fit."""
    proto = pruned.edit()
    for name, array in values.items():
        value = proto.graph.initializers.get(name)
        tensor = None if value is None else value.const_value
        if tensor is None:
            raise UsageError(f"value {name!r}", "the pruned model has no such initializer", "use this model's masks")
        if tuple(tensor.shape.numpy()) != array.shape:
            why = f"shape {array.shape} does not fit {tuple(tensor.shape.numpy())}"
            raise UsageError(f"value {name!r}", why, "use the masks of this model")
        store(proto.graph, name, np.asarray(array, tensor.dtype.numpy()), tensor.dtype)
    return pruned.edited(proto)
