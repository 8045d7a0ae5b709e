"""Cutting the head: the outputs of the model become the wanted labels, in the wanted order.

The class axis of an output is channels like any other, so the cut is a removal of channels with the output unpinned. A
Softmax over the classes then means "over the wanted ones", which is the original restricted to them. An output for "any
other class" takes the place of one unwanted class: its row starts as the mean of all unwanted rows and is learnt.
"""

import numpy as np
import onnx_ir as ir

from seam_onnx.channels.analyze import Channels, channels_of
from seam_onnx.channels.trace import trace
from seam_onnx.errors import ModelError
from seam_onnx.fold import store
from seam_onnx.model import Model
from seam_onnx.ops import Labels
from seam_onnx.quantized import stored_as
from seam_onnx.surgery.plan import plan_channels
from seam_onnx.surgery.remove import remove_channels

__all__ = ["class_axis", "classes", "cut_head", "head_rows"]


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


def cut_head(model: Model, wanted: tuple[int, ...], *, rest: bool) -> Model:
    """The model with the wanted outputs alone.

    Args:
        model: a classifier with `classes(model)` outputs.
        wanted: indices of the classes to keep, in the order of the new outputs.
        rest: whether one more, last, output stands for all other classes.

    Raises:
        ModelError: no class axis, or one that no rule can cut.
    """
    channels, node, labels = head_channels(model)
    kept = list(wanted)
    if rest:
        others = [k for k in range(len(labels)) if k not in set(wanted)]
        kept.append(others[0])
        model = average_rows(model, channels, labels, others)
    dead = np.delete(channels.roots[labels], kept)
    plan = plan_channels(model, channels, channels.without(dead), {node: np.array(kept, np.int64)})
    return remove_channels(model, plan)


def average_rows(model: Model, channels: Channels, labels: Labels, others: list[int]) -> Model:
    """Row `others[0]` of everything bound to the classes becomes the mean of the rows of `others`."""
    proto = model.edit()
    place = {int(root): k for k, root in enumerate(channels.roots[labels])}
    for binding in channels.bindings:
        classes_here = np.array([place.get(int(r), -1) for r in channels.roots[binding.labels]])
        if binding.role == "carry" or (classes_here < 0).all():
            continue
        value = proto.graph.initializers[binding.initializer]
        assert value.const_value is not None
        form = stored_as(value)
        array = value.const_value.numpy().copy() if form is None else form.floats()
        rows = np.moveaxis(array, binding.axis, 0)
        rows[classes_here == others[0]] = rows[np.isin(classes_here, others)].mean(0, keepdims=True)
        array = np.moveaxis(rows, 0, binding.axis)
        array = array if form is None else form.integers(array)
        store(proto.graph, binding.initializer, array, value.const_value.dtype)
    return model.edited(proto)


def head_rows(model: Model) -> str:
    """Name of the node that makes the classes."""
    return head_channels(model)[1]
