"""Where a classifier's classes are: the output with the scores, its class axis, and the layer that makes one row a class."""

import numpy as np
import onnx_ir as ir

from seam_onnx.channels.analyze import Channels, channels_of
from seam_onnx.channels.trace import trace
from seam_onnx.errors import ModelError
from seam_onnx.model import Model
from seam_onnx.ops import Labels

__all__ = ["class_axis", "classes", "head_channels", "scores_of"]


def scores_of(model: Model) -> ir.Value:
    """The output with the class scores: the only one, or the only one of floating point with more than one column."""
    wide = [v for v in model.graph.outputs if v in model.shapes and max(model.shapes[v][1:], default=1) > 1]
    if len(wide) != 1:
        names = [v.name for v in model.graph.outputs]
        raise ModelError(
            model.path,
            f"has no single output with a class axis (outputs {names})",
            "give a classifier with one score a class",
        )
    return wide[0]


def class_axis(model: Model) -> int:
    """Position of the class axis of the scores. Raises ModelError where there is none."""
    dims = model.shapes[scores_of(model)]
    wide = [k for k in range(1, len(dims)) if dims[k] > 1]
    if len(wide) != 1:
        raise ModelError(
            model.path, f"output of shape {dims} has no single class axis", "give a classifier with one score a class"
        )
    return wide[0]


def classes(model: Model) -> int:
    """Number of classes."""
    return model.shapes[scores_of(model)][class_axis(model)]


def head_channels(model: Model) -> tuple[Channels, str, Labels]:
    """Channels with free outputs, the node that makes the classes, and their labels (classes,)."""
    walk = trace(model, free_outputs=True)
    labels = walk.vector(scores_of(model), class_axis(model))
    channels = channels_of(walk, model)
    roots = channels.roots[labels]
    node = next(
        (name for (name, slot), made in channels.made.items() if np.array_equal(channels.roots[made], roots)), None
    )
    mixed = [mix.node for mix in channels.mixes if np.isin(channels.roots[mix.labels], roots).any()]
    if node is None or 0 in roots or len(np.unique(roots)) < len(roots) or mixed:
        reasons = "; ".join(str(b) for b in channels.blockers[-2:]) or "they are not made by one layer"
        reasons = f"node {mixed[0]!r} computes with all of them" if mixed else reasons
        raise ModelError(
            model.path, f"its classes cannot be cut ({reasons})", "give a model whose last layer makes one row a class"
        )
    return channels, node, labels
