"""Pooling and normalisation over space: channels pass one by one."""

from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.ops.contraction import padded, same_padding
from seam_onnx.ops.registry import Constants, Family, op
from seam_onnx.ops.walk import Walk, compress

__all__ = ["POOL"]


def couple_pool(walk: Walk, node: ir.Node) -> None:
    """Labels along the first two axes pass; labels along a pooled axis cannot."""
    x = node.inputs[0]
    assert x is not None
    labels = walk.labels(x)
    if any(n > 1 for n in labels.shape[2:]):
        walk.pin(node, labels, "pools over channels", "export with channels on the second axis")
        labels = labels[(slice(0, 1),) * labels.ndim] * 0
    for value in node.outputs:
        walk.set(value, labels)


def zero_pool(constants: Constants, node: ir.Node) -> None:
    """A constant channel stays what it is, but where an average counts padding zeros."""
    x = node.inputs[0]
    assert x is not None
    array = constants.get(x)
    if any(n > 1 for n in array.shape[2:]):
        return
    counts = node.op_type == "AveragePool" and node.attributes.get_int("count_include_pad", 0) == 1
    if node.op_type == "LpPool" or counts:
        array = np.where(array == 0, array, np.nan)
    constants.set(node.outputs[0], compress(array))


POOL = Family("pooling", couple_pool, zero_pool, "channels pass")


def window(node: ir.Node) -> tuple[list[int], list[int], list[int]]:
    """Kernel, strides and dilations."""
    kernel = list(node.attributes.get_ints("kernel_shape") or ())
    ones = [1] * len(kernel)
    return (
        kernel,
        list(node.attributes.get_ints("strides", ones) or ones),
        list(node.attributes.get_ints("dilations", ones) or ones),
    )


def ceil_pads(
    node: ir.Node, size: Any, pads: list[int], kernel: list[int], stride: list[int], dilation: list[int]
) -> list[int]:
    """Extra pads at the end that `ceil_mode` means (a window that starts beyond the padded input does not count)."""
    extra = [0] * len(kernel)
    if node.attributes.get_int("ceil_mode", 0):
        for k, n in enumerate(size):
            reach = int(n) + pads[k] + pads[k + len(kernel)] - ((kernel[k] - 1) * dilation[k] + 1)
            steps = -(-reach // stride[k])
            if steps * stride[k] >= int(n) + pads[k]:
                steps -= 1
            extra[k] = max(0, steps * stride[k] - reach)
    return extra


@op("MaxPool", POOL, example="y = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (x)")
def max_pool(torch: Any, node: ir.Node, x: Any) -> Any:
    """Largest of each window; padding never wins. The second output (indices) is not computed."""
    kernel, stride, dilation = window(node)
    pads = same_padding(node, x.shape[2:], kernel, stride, dilation)
    extra = ceil_pads(node, x.shape[2:], pads, kernel, stride, dilation)
    half = len(kernel)
    x = padded(torch, x, pads[:half] + [p + e for p, e in zip(pads[half:], extra, strict=True)], float("-inf"))
    pool = (torch.nn.functional.max_pool1d, torch.nn.functional.max_pool2d, torch.nn.functional.max_pool3d)[half - 1]
    return pool(x, kernel, stride, 0, dilation)


@op("AveragePool", POOL, example="y = AveragePool <kernel_shape: ints = [2, 2]> (x)")
def average_pool(torch: Any, node: ir.Node, x: Any) -> Any:
    """Mean of each window, padding counted where `count_include_pad` says so."""
    kernel, stride, dilation = window(node)
    half = len(kernel)
    pads = same_padding(node, x.shape[2:], kernel, stride, dilation)
    extra = ceil_pads(node, x.shape[2:], pads, kernel, stride, dilation)
    count = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    if node.attributes.get_int("count_include_pad", 0):
        x, count, pads = padded(torch, x, pads), padded(torch, count, pads, 1.0), [0] * (2 * half)
    ends = [p + e for p, e in zip(pads[half:], extra, strict=True)]
    total = window_sum(torch, padded(torch, x, pads[:half] + ends), kernel, stride, dilation)
    return total / window_sum(torch, padded(torch, count, pads[:half] + ends), kernel, stride, dilation)


def window_sum(torch: Any, x: Any, kernel: list[int], stride: list[int], dilation: list[int]) -> Any:
    """Sum of each window: a pooling where the window is dense, a depthwise convolution where it is dilated."""
    half = len(kernel)
    if any(d != 1 for d in dilation):
        ones = torch.ones((x.shape[1], 1, *kernel), dtype=x.dtype, device=x.device)
        return (torch.conv1d, torch.conv2d, torch.conv3d)[half - 1](x, ones, None, stride, 0, dilation, x.shape[1])
    pool = (torch.nn.functional.avg_pool1d, torch.nn.functional.avg_pool2d, torch.nn.functional.avg_pool3d)[half - 1]
    return pool(x, kernel, stride, 0) * float(np.prod(kernel))


@op("GlobalAveragePool", POOL, example="y = GlobalAveragePool(x)")
def global_average_pool(torch: Any, node: ir.Node, x: Any) -> Any:
    """Mean over all spatial axes, kept as size 1."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


@op("GlobalMaxPool", POOL, example="y = GlobalMaxPool(x)")
def global_max_pool(torch: Any, node: ir.Node, x: Any) -> Any:
    """Largest over all spatial axes, kept as size 1."""
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)
