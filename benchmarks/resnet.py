"""CIFAR's ResNet as a plain torch module, with the weights of an ONNX file: for peers that prune torch modules.

The shortcuts where a stage begins take every other pixel and pad the channels with zeros (He et al., arXiv 1512.03385,
option A). Here they are the 1x1 convolution with stride 2 that does the same, with an identity for its weight: a peer can
prune that and train it, at a cost of 0.6 % of ResNet-20's multiply-adds.

Exporters fold batch normalisation away. It is given back, chosen so that nothing changes: see `calibrated`.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ResNet", "calibrated", "loaded", "multiply_adds"]

MOMENTUM = 0.05
"""Share of a batch in the running statistics, as in the search."""


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs, momentum=MOMENTUM)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, momentum=MOMENTUM)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (inner + self.shortcut(x)).relu()


class ResNet(nn.Module):
    """Three stages of `blocks` blocks each; ResNet-20 has three. With `wanted` the classes after as many are summed up."""

    def __init__(
        self, blocks: int, classes: int, widths: tuple[int, int, int] = (16, 32, 64), wanted: int | None = None
    ) -> None:
        super().__init__()
        self.wanted = wanted
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0], momentum=MOMENTUM)
        for stage, (inputs, outputs) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            first = Block(inputs, outputs, 2 if stage else 1)
            others = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))
        self.linear = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits (B, outputs) of normalised images (B, 3, H, W); in training those of a rest's classes as well."""
        x = self.bn1(self.conv1(x)).relu()
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
        scores: Tensor = self.linear(x.mean((2, 3)))
        if self.wanted is None:
            return scores
        made = torch.cat([scores[:, : self.wanted], scores[:, self.wanted :].logsumexp(1, keepdim=True)], 1)
        return (made, scores) if self.training else made


@torch.no_grad()
def loaded(weights: Mapping[str, NDArray[Any]], wanted: int | None = None) -> ResNet:
    """The module with the initializers of an export whose normalisation is folded: `layer1.0.conv1.weight`, `..._bias`."""
    blocks = len([name for name in weights if re.fullmatch(r"layer1\.\d+\.conv1\.weight", name)])
    net = ResNet(blocks, len(weights["linear.bias"]), wanted=wanted)
    for name, module in net.named_modules():
        if name.endswith("shortcut") and isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            module.weight[padding(module) + np.arange(module.in_channels), np.arange(module.in_channels)] = 1
        elif isinstance(module, nn.Conv2d):
            module.weight.copy_(torch.from_numpy(weights[f"{name}.weight"].copy()))
            beta = net.get_submodule(name.replace("conv", "bn")).bias
            beta.copy_(torch.from_numpy(weights[f"{name}.weight_bias"].copy()))
    net.linear.weight.copy_(torch.from_numpy(weights["linear.weight"].copy()))
    net.linear.bias.copy_(torch.from_numpy(weights["linear.bias"].copy()))
    return net


def padding(shortcut: nn.Conv2d) -> int:
    """Channels of zeros before those of the input."""
    return (shortcut.out_channels - shortcut.in_channels) // 2


@torch.no_grad()
def calibrated(net: ResNet, x: Tensor) -> ResNet:
    """Choose normalisation on a batch (N, 3, H, W) so that the net is what it was without, biases aside; in place.

    The statistics are the batch's, gamma its standard deviation, and the mean joins the bias that beta already holds.
    """

    def choose(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        norm.running_var.copy_(inputs[0].var((0, 2, 3), unbiased=False))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)

    hooks = [m.register_forward_pre_hook(choose) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    net.eval()(x)
    for hook in hooks:
        hook.remove()
    return net


@torch.no_grad()
def multiply_adds(net: nn.Module, size: int = 32) -> float:
    """Of convolutions and the last layer, for an image of this size: what the search counts too."""
    total = 0.0

    def count(module: nn.Module, inputs: Any, made: Tensor) -> None:
        nonlocal total
        assert isinstance(module.weight, Tensor)
        total += module.weight.numel() * made[0].numel() / made.shape[1]

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    training = net.training
    net.eval()(torch.zeros(1, 3, size, size))
    net.train(training)
    for hook in hooks:
        hook.remove()
    return total
