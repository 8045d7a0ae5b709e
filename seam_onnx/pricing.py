"""From a network to the price of its channels in milliseconds: which layers occur, at which widths, and what those take.

    price = latencies(model, LayerTimes("cpu").of, step=8)

Per layer the widths are all multiples of the step where they are few, else some of them; channels that nothing may
remove are always there. Layers of the same shape share their figures, so that a network of equal blocks needs few.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
import onnx_ir as ir

from seam_onnx.channels import Channels, Work, analyze
from seam_onnx.model import Model
from seam_onnx.search import Latencies, LayerLatency
from seam_onnx.validate import Layer

__all__ = ["latencies"]

MOST: Final = 8
"""Widths of an axis that are all measured."""
SPREAD: Final = 4
"""Widths of a wider axis, beside the least."""
DTYPES: Final = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
"""Types of weights that are measured."""

Times = Callable[[Sequence[Layer]], Mapping[str, float | None]]
"""Milliseconds by the key of each layer."""


def latencies(model: Model, times: Times, step: int = 1) -> Latencies:
    """The price of a network's channels.

    Args:
        model: whose layers are priced, at batch 1; a pruned form of it, with the same node names, has the same prices.
        times: measures layers.
        step: widths stay multiples of this.
    """
    channels = analyze(model)
    nodes = {str(node.name): node for node in model.graph}
    shapes = {work.node: shape for work in channels.works if (shape := shape_of(model, nodes[work.node], work))}
    widths = {w.node: tuple(widths_of(channels, axis, step) for axis in w.axes) for w in channels.works}
    grids = {name: [shape(*counts) for counts in product(*widths[name])] for name, shape in shapes.items()}
    known = times([layer for grid in grids.values() for layer in grid])
    found = {}
    for name, grid in grids.items():
        values = [ms for layer in grid if (ms := known[layer.key]) is not None]
        if len(values) == len(grid):
            found[name] = LayerLatency(widths[name], np.reshape(values, [len(axis) for axis in widths[name]]))
    return Latencies(found, rate(channels, found))


def rate(channels: Channels, found: Mapping[str, LayerLatency]) -> float:
    """Milliseconds of a multiply-add in the layers that are known, all together; 1 where none is."""
    works = {work.node: work for work in channels.works if work.node in found}
    macs = sum(work.unit * float(np.prod([len(axis) for axis in work.axes])) for work in works.values())
    ms = sum(found[name].at(tuple(len(axis) for axis in work.axes)) for name, work in works.items())
    return ms / macs if ms > 0 and macs > 0 else 1.0


def widths_of(channels: Channels, labels: np.ndarray, step: int) -> tuple[int, ...]:
    """Widths at which an axis with these labels is measured, rising; the present one is the last."""
    whole, free = len(labels), int((channels.roots[labels] > 0).sum())
    every = [whole - gone for gone in range(0, free + 1) if (whole - gone) % step == 0 and gone < whole]
    every = sorted({whole, *every})
    if len(every) <= MOST:
        return tuple(every)
    aims = [every[0], *(whole * k / SPREAD for k in range(1, SPREAD + 1))]
    return tuple(sorted({min(every, key=lambda width: (abs(width - aim), width)) for aim in aims}))


def shape_of(model: Model, node: ir.Node, work: Work) -> Callable[..., Layer] | None:
    """The layer that a node is at each combination of widths of its work's axes; None for a kind that is not measured."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
        return None
    x, weight = node.inputs[:2]
    if x is None or weight is None or weight.const_value is None or weight.const_value.dtype not in DTYPES:
        return None
    dtype = str(weight.const_value.dtype.numpy())
    data, filters = tuple(model.shapes[x]), tuple(model.shapes[weight])
    attributes = {name: plain(attribute) for name, attribute in node.attributes.items()}
    if node.op_type == "Conv":
        return convolution(data, filters, attributes, work, dtype)
    if len(work.axes) != 2 or (node.op_type == "Gemm" and attributes.get("transA")):
        return None
    turned = bool(attributes.get("transB"))
    return lambda come, go: Layer(
        node.op_type, (*data[:-1], come), (go, come) if turned else (come, go), attributes, dtype
    )


def convolution(
    data: tuple[int, ...], filters: tuple[int, ...], attributes: Mapping[str, int | float | str | tuple[int, ...]],
    work: Work, dtype: str,
) -> Callable[..., Layer]:  # fmt: skip
    """A convolution by its widths: channels in and out; of one with blocks those of a block; or all that blocks make."""
    blocks = int(attributes.get("group", 1))  # type: ignore[arg-type]
    each = filters[0] // blocks

    def made(come: int, go: int, group: int) -> Layer:
        said = {**attributes, "group": group}
        return Layer("Conv", (1, come * group, *data[2:]), (go, come, *filters[2:]), said, dtype)

    if len(work.axes) == 1:
        return lambda go: made(filters[1], max(1, go // each) * each, max(1, go // each))
    return lambda come, go: made(come, go * blocks if blocks > 1 else go, blocks)


def plain(attribute: ir.Attr) -> int | float | str | tuple[int, ...]:
    """An attribute's value."""
    value = attribute.value
    return tuple(value) if attribute.type == ir.AttributeType.INTS else value
