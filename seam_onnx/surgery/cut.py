"""Cutting the head: the outputs of the model become the wanted labels, in the wanted order.

The class axis of an output is channels like any other, so the cut is a removal of channels with the output unpinned. A
Softmax over the classes then means "over the wanted ones", which is the original restricted to them. An output for "any
other class" is the logsumexp of the other classes' scores, so that a softmax over the outputs is the original's own, with
the probabilities of the others summed: nothing is lost by the cut. Their rows stay, as channels that a search may remove:

    logits (N, C) -> Split (wanted | others) -> ReduceLogSumExp (others) -> Concat -> (N, wanted + 1)
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.fold import free_name, new_initializer
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.surgery.head import classes, head_channels
from seam_onnx.surgery.logits import logits_of
from seam_onnx.surgery.plan import plan_channels
from seam_onnx.surgery.remove import remove_channels

__all__ = ["class_scores", "classes_left", "cut_head"]

SPLIT, SUM, JOIN = "seam.rest.split", "seam.rest.sum", "seam.rest.join"
"""Names of the nodes that sum up the other classes."""


def cut_head(model: Model, wanted: tuple[int, ...], *, rest: bool) -> Model:
    """The model with the wanted outputs alone; the model itself where these are what it has.

    Args:
        model: a classifier with `classes(model)` outputs.
        wanted: indices of the classes to keep, in the order of the new outputs.
        rest: whether one more, last, output stands for all other classes.

    Raises:
        ModelError: no class axis, or one that no rule can cut.
    """
    count = classes(model)
    others = [k for k in range(count) if k not in set(wanted)]
    alone = rest and len(others) == 1
    if [*wanted, *others * alone] == list(range(count)):
        return model
    channels, node, labels = head_channels(model)

    def cut(kept: Sequence[int]) -> Model:
        dead = np.delete(channels.roots[labels], kept)
        return remove_channels(
            model, plan_channels(model, channels, channels.without(dead), {node: np.array(kept, np.int64)})
        )

    if alone or not rest:
        return cut([*wanted, *others * alone])
    return sum_up(cut([*wanted, *others]), len(wanted), cut([*wanted, others[0]]))


def class_scores(model: Model) -> str | None:
    """Name of the value with the scores of all classes that are left, where a rest is summed up; else None."""
    node = next((node for node in model.graph if node.name == SPLIT), None)
    return None if node is None else str(node.inputs[0].name)  # type: ignore[union-attr]


def classes_left(masks: MaskSet, count: int) -> NDArray[np.int64]:
    """Which of `count` classes, wanted ones first, still have a row under masks on a model with its head cut and a rest."""
    others = masks.kept.get(SUM)
    index = np.arange(count)
    return index if others is None else index[np.r_[np.ones(count - others.size, bool), others.reshape(-1)]]


def sum_up(model: Model, count: int, narrow: Model) -> Model:
    """Put the logsumexp of the classes after the first `count` in their place.

    Args:
        model: with its classes in order.
        count: of wanted ones.
        narrow: the same model with as many classes as there will be, for the shapes behind the logits.
    """
    proto = model.edit()
    graph = proto.graph
    maker, logits = next((node, v) for node in graph for v in node.outputs if v.name == logits_of(model))
    dims = model.shapes[logits]
    axis = next(k for k in range(1, len(dims)) if dims[k] > 1)
    resize(graph, logits, {str(node.name): node for node in narrow.graph})
    name = logits.name
    if logits.is_graph_output():
        logits.name = free_name(graph, f"{name}.classes")
    split = split_at(graph, logits, axis, [count, dims[axis] - count], model.opset)
    whole = reduced(graph, split.outputs[1], axis, model.opset)
    joined = ir.node("Concat", [split.outputs[0], whole.outputs[0]], attributes={"axis": axis}, name=JOIN)
    made = joined.outputs[0]
    made.type, made.shape = logits.type, shape_with(logits, axis, count + 1)
    logits.replace_all_uses_with(made, replace_graph_outputs=True)
    split.replace_input_with(0, logits)
    made.name = name if logits.name != name else free_name(graph, f"{name}.outputs")
    graph.insert_after(maker, [split, whole, joined])
    return model.edited(proto)


def shape_with(value: ir.Value, axis: int, size: int) -> ir.Shape | None:
    """The value's shape with another size along an axis."""
    return None if value.shape is None else ir.Shape([size if k == axis else d for k, d in enumerate(value.shape)])


def resize(graph: ir.Graph, logits: ir.Value, narrow: dict[str, ir.Node]) -> None:
    """What stands behind the logits gets its shapes and its constant operands, shapes as a rule, from the narrow model."""
    reached = {logits}
    for node in graph:
        if reached & set(node.inputs):
            reached |= set(node.outputs)
            twin = narrow[str(node.name)]
            for made, small in zip(node.outputs, twin.outputs, strict=True):
                made.shape = small.shape
            for index, value in enumerate(twin.inputs):
                if value is not None and value.const_value is not None:
                    array = value.const_value.numpy()
                    node.replace_input_with(index, new_initializer(graph, f"{node.name}.{index}", array))


def split_at(graph: ir.Graph, value: ir.Value, axis: int, sizes: list[int], opset: int) -> ir.Node:
    """A Split of two pieces."""
    before = opset < 13
    attributes: dict[str, int | list[int]] = {"axis": axis, **({"split": sizes} if before else {})}
    more = [] if before else [new_initializer(graph, f"{SPLIT}.sizes", np.array(sizes, np.int64))]
    node = ir.node("Split", [value, *more], attributes=attributes, num_outputs=2, name=SPLIT)
    for made, suffix, size in zip(node.outputs, ("wanted", "others"), sizes, strict=True):
        made.name, made.type, made.shape = f"{SPLIT}.{suffix}", value.type, shape_with(value, axis, size)
    return node


def reduced(graph: ir.Graph, value: ir.Value, axis: int, opset: int) -> ir.Node:
    """A ReduceLogSumExp that keeps its axis."""
    before = opset < 18
    attributes: dict[str, int | list[int]] = {"keepdims": 1, **({"axes": [axis]} if before else {})}
    more = [] if before else [new_initializer(graph, f"{SUM}.axes", np.array([axis], np.int64))]
    node = ir.node("ReduceLogSumExp", [value, *more], attributes=attributes, name=SUM)
    made = node.outputs[0]
    made.name, made.type, made.shape = f"{SUM}.rest", value.type, shape_with(value, axis, 1)
    return node
