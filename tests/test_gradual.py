"""Masks on single weights that are trained while they go: what stays, what learns, and what is left for removal."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from graphs import build, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toys import DEEP, toy, views_of

from seam_onnx.lowering import lower
from seam_onnx.masks import MaskSet
from seam_onnx.progress import Event
from seam_onnx.search import SeamRecipe, search_gradually
from seam_onnx.search.gradual import Sparse, lamp
from seam_onnx.surgery import NM, apply_masks, closed, cut_head, remove_masked
from seam_onnx.surgery.logits import logits_of
from seam_onnx.surgery.sparsity import holds, reduction_axes

RECIPE = SeamRecipe(schedule="gradual", epochs=12, least=1, batch=16, keep=0.3)

SEPARABLE = """(float[N, 4, 6, 6] x) => (float[N, 3] y)
  <float[8, 4, 3, 3] w1, float[8] b1, float[8, 1, 3, 3] w2, float[8] b2, float[6, 8, 1, 1] w3, float[6] s, float[6] t,
   float[6] m, float[6] v, float[3, 6] g, float[3] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  p = Sigmoid (a)
  b = Conv <group = 8, pads = [1, 1, 1, 1]> (p, w2, b2)
  q = Relu (b)
  c = Conv (q, w3)
  n = BatchNormalization (c, s, t, m, v)
  r = Relu (n)
  d = GlobalAveragePool (r)
  f = Flatten (d)
  y = Gemm <transB = 1> (f, g, h) }"""
"""Channels may die behind a Sigmoid, whose 0.5 a depthwise convolution pads with zeros, and before a BatchNormalization."""


# ---- what stays -----------------------------------------------------------------------------------------------------


def test_a_weight_counts_by_its_square_over_those_that_are_no_smaller():
    found = lamp(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
    assert torch.allclose(found, torch.tensor([[1 / 14, 4 / 13], [0.0, 1.0]]))


@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(0.125, 8, width=32), unique=True), st.floats(0.25, 4))
def test_the_measure_keeps_the_order_and_does_not_know_the_scale(weights, scale):
    found = lamp(torch.from_numpy(weights)).numpy()
    assert found.max() == 1.0
    assert (np.diff(found[np.argsort(weights)]) >= -1e-6).all()
    assert np.allclose(lamp(torch.from_numpy(weights * np.float32(scale))).numpy(), found, rtol=1e-4)


def sparse(pattern: NM | None = None) -> Sparse:
    model = build(DEEP)
    return Sparse(lower(model), reduction_axes(model), pattern)


def test_as_many_stay_as_may_and_no_layer_is_emptied():
    network = sparse()
    network.module.weights["w3"].data.mul_(1e-3)
    for share in (1.0, 0.5, 0.06, 0.002):
        network.choose(share)
        assert network.kept() == pytest.approx(share, abs=1 / network.size)
        assert all(network.mask(name).any() for name in network.axes)


def test_the_pattern_takes_its_share_and_no_more():
    network = sparse(NM(2, 4))
    network.choose(1.0)
    for name, axis in network.axes.items():
        mask = network.mask(name).numpy()
        if mask.shape[axis] % 4:
            assert mask.all()
        else:
            assert mask.mean() == 0.5
            assert holds(mask, axis, NM(2, 4))
    network.choose(0.2)
    assert network.kept() == pytest.approx(0.2, abs=1 / network.size)


# ---- what learns ----------------------------------------------------------------------------------------------------


def test_gradients_reach_masked_weights_until_the_masks_are_final():
    network, x = sparse().train(), torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network.choose(0.1)
    weight, mask = network.module.weights["w2"], network.mask("w2")

    def gradient() -> torch.Tensor:
        weight.grad = None
        network(x).square().sum().backward()
        return weight.grad

    assert gradient()[~mask].any()
    before = network(x)
    network.close(build(DEEP))
    assert not gradient()[~mask].any()
    assert gradient()[mask].any()
    assert not weight[~mask].any()
    assert torch.equal(network(x), before)


def test_a_search_trains_what_stays_and_leaves_zeros_where_the_masks_are():
    model, seen = build(DEEP), list[Event]()
    base = cut_head(model, (1, 3), rest=False)
    found = search_gradually(base, logits_of(base), views_of(model, toy(1, 3)), RECIPE, seen.append)
    again = search_gradually(base, logits_of(base), views_of(model, toy(1, 3)), RECIPE)
    assert found.masks.digest() == again.masks.digest()
    weights = {name: value.const_value.numpy() for name, value in found.model.initializers.items()}
    size = kept = 0
    for name in reduction_axes(base):
        mask = found.masks.masks[name]
        assert not weights[name][~mask].any()
        assert not np.array_equal(weights[name][mask], base.initializers[name].const_value.numpy()[mask])
        size, kept = size + mask.size, kept + int(mask.sum())
    assert found.kept == kept / size == pytest.approx(0.3, abs=1 / size)
    final = [p.val for p in found.curve if p.kept == found.kept]
    assert found.curve[found.epoch - 1].val == max(final)
    assert found.curve[0].kept > 0.8
    assert found.curve[found.epoch - 1].val > 0.9  # two colours
    assert [e.figures["val"] for e in seen if "val" in e.figures] == [p.val for p in found.curve]


def test_there_are_as_many_steps_as_asked_however_few_samples_there_are():
    model = build(DEEP)
    base, seen = cut_head(model, (1, 3), rest=False), list[Event]()
    search_gradually(
        base, logits_of(base), views_of(model, toy(1, 3)), replace(RECIPE, epochs=1, least=31), seen.append
    )
    assert seen[-1].done == seen[-1].total == 31
    assert SeamRecipe().least == 600


# ---- what is left for removal ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.03, 0.5), st.sampled_from([1, 4]))
def test_what_goes_depends_on_closed_masks_alone_and_changes_nothing(seed, share, step):
    rng = np.random.default_rng(seed)
    base = build(SEPARABLE)
    masks = {
        name: rng.random(base.initializers[name].const_value.numpy().shape) < share for name in ("w1", "w2", "w3", "g")
    }
    final = closed(base, MaskSet(masks, base.sha256))
    drawn = {
        name: rng.standard_normal(value.const_value.numpy().shape).astype(np.float32) * (0.1 if name == "w1" else 1)
        for name, value in base.initializers.items()
        if name != "v"
    }
    trained = build(SEPARABLE, **drawn)
    one, other = (remove_masked(model, final, step).pruned for model in (base, trained))
    shapes = [{n: v.const_value.numpy().shape for n, v in model.initializers.items()} for model in (one, other)]
    assert shapes[0] == shapes[1]
    assert [len(node.inputs) for node in one.graph] == [len(node.inputs) for node in other.graph]
    x = {"x": rng.standard_normal((3, 4, 6, 6)).astype(np.float32)}
    masked = apply_masks(trained, final)
    np.testing.assert_allclose(run(other, x)[0], run(masked, x)[0], rtol=1e-4, atol=1e-5)


def test_what_shifts_a_channel_without_data_is_silent_and_nothing_else():
    base = build(SEPARABLE)
    masks = {"w1": np.ones((8, 4, 3, 3), bool), "w3": np.ones((6, 8, 1, 1), bool)}
    masks["w1"][2] = masks["w3"][5] = False
    final = closed(base, MaskSet(masks, base.sha256))
    # b2 is not among them: a depthwise convolution pads 0.5 with zeros, so what it makes of it is no constant
    assert sorted(final.masks) == ["b1", "g", "s", "t", "w1", "w3"]
    assert np.flatnonzero(~final.masks["b1"]).tolist() == [2]
    assert np.flatnonzero(~final.masks["s"]).tolist() == np.flatnonzero(~final.masks["t"]).tolist() == [5]
    assert np.flatnonzero(~final.masks["g"].any(0)).tolist() == [5]
