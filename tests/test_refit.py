"""The closed-form refit: exact where the cut lost nothing, and better than before where it did."""

import onnx_ir as ir
import pytest
import torch
from graphs import build
from toys import DEEP

from seam_onnx.channels import analyze
from seam_onnx.lowering import lower
from seam_onnx.model import Model
from seam_onnx.search.layers import patches, rows
from seam_onnx.search.refit import observe, refit
from seam_onnx.search.rounds import Rounds

DEPTHWISE = """(float[N, 3, 8, 8] x) => (float[N, 5] y)
  <float[16, 3, 3, 3] w1, float[16] b1, float[16, 1, 3, 3] w2, float[16] b2, float[16, 8, 1, 1] w3, float[5, 16] g,
   float[5] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  r = Relu (a)
  b = Conv <pads = [1, 1, 1, 1], strides = [2, 2], group = 16> (r, w2, b2)
  q = Relu (b)
  c = Conv <group = 2> (q, w3)
  p = GlobalAveragePool (c)
  f = Flatten (p)
  y = Gemm <transB = 1> (f, g, h) }"""
"""Blocks of one channel, and two blocks of eight."""
TOKENS = """(float[N, 6, 12] x) => (float[N, 6, 4] y) <float[12, 16] w, float[16] b, float[16, 4] v>
{ a = MatMul (x, w)
  s = Add (a, b)
  r = Relu (s)
  y = MatMul (r, v) }"""
"""(batch, tokens, width)."""


def cut_half(model: Model, group: int) -> tuple[Rounds, Model]:
    """Remove every second channel of a group."""
    rounds, channels = Rounds(model), analyze(model)
    return rounds, rounds.remove(model, channels, channels.without(channels.groups[group].channels[::2])).pruned


def error(model: Model, module: torch.nn.Module, x: torch.Tensor) -> float:
    """Mean squared difference to a model, relative to its variance."""
    with torch.no_grad():
        wanted = lower(model)(x)
        return float((module(x) - wanted).square().mean() / wanted.var())


@pytest.mark.parametrize(("text", "shape"), [(DEEP, (3, 8, 8)), (DEPTHWISE, (3, 8, 8)), (TOKENS, (6, 12))])
@pytest.mark.parametrize("group", [0, -1])
def test_refitting_brings_outputs_back(text, shape, group):
    model = build(text)
    rounds, pruned = cut_half(model, group)
    module = lower(pruned)
    fresh = torch.randn(256, *shape, generator=torch.Generator().manual_seed(1))
    before = error(model, module, fresh)
    x = torch.randn(512, *shape, generator=torch.Generator().manual_seed(0))
    refit(module, observe(lower(rounds.base), x), x, rounds.kept)
    assert error(model, module, fresh) < 0.8 * before


def test_what_was_not_cut_stays():
    model = build(DEEP)
    module, x = lower(model), torch.randn(64, 3, 8, 8)
    before = {name: weight.detach().clone() for name, weight in module.weights.items()}
    refit(module, observe(lower(model), x), x, {})
    for name, weight in module.weights.items():
        assert torch.allclose(weight, before[name], atol=1e-4)


def test_known_values_take_the_place_of_the_originals():
    model = build(DEEP)
    module, x = lower(model), torch.randn(512, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = 2 * module(x) + 1
    refit(module, observe(lower(model), x) | {"y": wanted}, x, {})
    with torch.no_grad():
        assert float((module(x) - wanted).square().mean() / wanted.var()) < 0.05


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (1, 2)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_patches_times_weights_are_what_a_convolution_makes(pads, strides, dilations, blocks):
    settings = {"pads": pads, "strides": strides, "dilations": dilations, "group": blocks}
    node = ir.node("Conv", [ir.Value(name="x"), ir.Value(name="w")], attributes=settings)
    x, weight = torch.randn(5, 6, 9, 11), torch.randn(12, 6 // blocks, 3, 2)
    padded = torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    made = torch.nn.functional.conv2d(padded, weight, None, strides, 0, dilations, blocks)
    found = patches(node, x, weight, made)
    assert found.shape[:2] == (blocks, len(rows(made)))
    products = found @ weight.reshape(blocks, 12 // blocks, -1).transpose(1, 2)  # (blocks, rows, outputs of a block)
    torch.testing.assert_close(products.transpose(0, 1).reshape(len(rows(made)), 12), rows(made), rtol=1e-4, atol=1e-4)
