"""Layers with weights as linear maps: which rows of inputs give which rows of outputs, at sampled places."""

import onnx_ir as ir
import torch
from torch import Tensor, nn

__all__ = ["fits", "output_axis", "patches", "rows"]

PLACES = 16
"""Positions of an image that are sampled."""


def fits(node: ir.Node, x: Tensor, weight: Tensor) -> bool:
    """Is the layer of a kind that `patches` knows: a plain 2-D Conv, Gemm, or MatMul by a matrix?"""
    if node.op_type == "Conv":
        return weight.ndim == 4 and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    scaled = any(node.attributes.get_float(key, 1.0) != 1.0 for key in ("alpha", "beta"))
    return weight.ndim == 2 and x.ndim in (2, 3) and not scaled and not node.attributes.get_int("transA", 0)


def output_axis(node: ir.Node) -> int:
    """Axis of a weight along which outputs are made."""
    return 0 if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1 else 1


def rows(value: Tensor) -> Tensor:
    """A value (N, C, H, W) at its sampled places, or (N, C) or (N, L, C) as a whole: (rows, C)."""
    if value.ndim < 4:
        return value.reshape(-1, value.shape[-1])
    flat = value.flatten(2).transpose(1, 2)
    return flat.gather(1, places(value)[:, :, None].expand(-1, -1, flat.shape[2])).reshape(-1, flat.shape[2])


def places(value: Tensor) -> Tensor:
    """Sampled positions (N, PLACES or fewer) of a value (N, C, H, W): the same for every value of this extent."""
    size = value[0, 0].numel()
    generator = torch.Generator().manual_seed(size)
    picks = torch.rand((len(value), size), generator=generator).topk(min(PLACES, size), dim=1).indices
    return picks.to(value.device)


def patches(node: ir.Node, x: Tensor, weight: Tensor, made: Tensor) -> Tensor:
    """A layer's inputs at the sampled places of what it made: (blocks, rows, inputs of a block)."""
    if node.op_type != "Conv":
        return x.reshape(1, -1, x.shape[-1])
    blocks, pads = node.attributes.get_int("group", 1), node.attributes.get_ints("pads", [0, 0, 0, 0])
    stride, dilation = (tuple(node.attributes.get_ints(key, [1, 1])) for key in ("strides", "dilations"))
    x = nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    chosen, window = places(made), weight.shape[2:]
    corners = (chosen // made.shape[3] * stride[0], chosen % made.shape[3] * stride[1])
    along, across = (
        corner[:, :, None] + torch.arange(size, device=x.device) * step
        for corner, size, step in zip(corners, window, dilation, strict=True)
    )
    image = torch.arange(len(x), device=x.device)[:, None, None, None]
    found = x.permute(0, 2, 3, 1)[image, along[:, :, :, None], across[:, :, None, :]]  # (N, places, kernel, kernel, C)
    return found.permute(0, 1, 4, 2, 3).reshape(chosen.numel(), blocks, -1).transpose(0, 1)
