"""ConvTranspose: weight (I, O / group, *kernel), input (N, I, *spatial), output (N, O, *spatial).

As Conv with the weight's first two axes exchanged. A constant that arrives is not constant behind it: at the borders
fewer products are summed. (https://onnx.ai/onnx/operators/onnx__ConvTranspose.html)
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.contraction import family, finish, weight_of
from seam_onnx.ops.registry import op
from seam_onnx.ops.walk import Walk, none

__all__ = ["couple_transposed"]


def couple_transposed(walk: Walk, node: ir.Node) -> None:
    """Group 1: channels in and out. Depthwise: they pass. In between: whole blocks."""
    if (shape := weight_of(walk, node)) is None:
        return
    x, weight, y = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None
    assert weight is not None
    if walk.extent(x)[1] == 1 and any(n > 1 for n in walk.extent(x)[2:]):
        walk.pin(node, walk.labels(x), "slides over channels", "export with channels on the second axis")
        walk.set(y, none(len(walk.dims(y))))
        return
    group, arriving = node.attributes.get_int("group", 1) or 1, walk.vector(x, 1)
    unit = float(np.prod(shape[2:]) * np.prod(walk.dims(x)[2:]))
    if group == 1:
        made = walk.fresh(node, shape[1])
        walk.bind(node, weight, 0, arriving, "read")
        walk.work(node, unit, arriving, made)
        finish(walk, node, made, axis=1, weight_axis=1)
        return
    walk.bind(node, weight, 0, arriving, "write")
    blocks = arriving.reshape(-1, shape[0] // group)
    walk.unite(blocks, 1)
    made = np.repeat(blocks[:, 0], shape[1])
    walk.attribute(node, "group", len(blocks))
    walk.work(node, unit * shape[1], arriving)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        walk.bind(node, node.inputs[2], 0, made, "write")
    walk.set(y, made.reshape([-1 if k == 1 else 1 for k in range(len(walk.dims(y)))]))


@op("ConvTranspose", family(couple_transposed), example="")
def conv_transpose(torch: Any, node: ir.Node, x: Any, weight: Any, bias: Any = None) -> Any:
    """1-D, 2-D or 3-D; what the pads say is cropped off the full result, `output_shape` decides them where given."""
    rank = weight.ndim - 2
    ones = [1] * rank
    stride = list(node.attributes.get_ints("strides", ones) or ones)
    dilation = list(node.attributes.get_ints("dilations", ones) or ones)
    extra = list(node.attributes.get_ints("output_padding", [0] * rank) or [0] * rank)
    target = list(node.attributes.get_ints("output_shape", ()) or ())[-rank:]
    if target:  # larger than the full result: zeros behind it
        spans = zip(x.shape[2:], stride, weight.shape[2:], dilation, strict=True)
        full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in spans]
        extra = [max(e, t - f) for e, t, f in zip(extra, target, full, strict=True)]
    run = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[rank - 1]
    y = run(x, weight, bias, stride, 0, 0, node.attributes.get_int("group", 1), dilation)
    if any(extra):
        bias = torch.zeros(1, device=x.device) if bias is None else bias
        y = y - bias.view(1, -1, *ones)
        y = torch.nn.functional.pad(y, [n for e in reversed(extra) for n in (0, e)]) + bias.view(1, -1, *ones)
    begins, ends = crops(node, list(y.shape[2:]), list(x.shape[2:]), stride)
    for k in range(rank):
        y = y.narrow(2 + k, begins[k], y.shape[2 + k] - begins[k] - ends[k])
    return y


def crops(node: ir.Node, full: list[int], size: list[int], stride: list[int]) -> tuple[list[int], list[int]]:
    """What to cut off the full result at each side."""
    rank = len(full)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    target = list(node.attributes.get_ints("output_shape", ()) or ())[-rank:]
    if not target and mode not in ("SAME_UPPER", "SAME_LOWER"):
        pads = list(node.attributes.get_ints("pads", [0] * (2 * rank)) or [0] * (2 * rank))
        return pads[:rank], pads[rank:]
    target = target or [n * s for n, s in zip(size, stride, strict=True)]
    totals = [max(0, f - t) for f, t in zip(full, target, strict=True)]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (less, more) if mode == "SAME_UPPER" else (more, less)
