"""Removal of masked channels from whole models: how much goes, at which sizes the rest runs, and whose masks fit."""

import json

import numpy as np
import pytest
from graphs import DATA, DIGITS, build, feeds, gap, loaded, parse, run
from laws import dropped, pruned

from seam_onnx.channels import analyze
from seam_onnx.errors import UsageError
from seam_onnx.masks import MaskSet
from seam_onnx.model import load
from seam_onnx.surgery import (
    Inheritance,
    apply_masks,
    channel_masks,
    inheritance,
    plan_removal,
    remove_channels,
    remove_masked,
)


def test_everything_dropped_leaves_a_model_that_runs():
    model = load(DIGITS)
    channels = analyze(model)
    _, left = pruned(model, channel_masks(model, channels, channels.without(channels.free)))
    assert run(left, feeds(model, 3))[0].shape == (3, 10)


def test_nothing_dropped_changes_nothing():
    model = load(DIGITS)
    left = remove_channels(model, plan_removal(model, analyze(model)))
    assert {n: left.shapes.dims[n] for n in left.initializers} == {n: model.shapes.dims[n] for n in left.initializers}


@pytest.mark.parametrize("name", ["digits", "cifar10_resnet20_dynamo", "cifar10_resnet20_legacy13"])
def test_what_is_masked_is_removed(name):
    """ReLU networks: the pruned model costs no more than the analysis said"""
    path = DIGITS if name == "digits" else DATA / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    model = load(path)
    channels = analyze(model)
    alive = channels.without(dropped(channels, "0.5", 0))
    _, left = pruned(model, channel_masks(model, channels, alive))
    after = analyze(left)
    real, said = after.cost(after.everything()), channels.cost(alive)
    assert real.macs <= said.macs
    assert real.params <= said.params + 64  # biases that folding made


def test_masks_of_another_model_are_refused():
    model = load(DIGITS)
    with pytest.raises(UsageError, match="no such initializer"):
        apply_masks(model, MaskSet({"nothing": np.ones(3, bool)}, ""))
    name = next(iter(analyze(model).elements))
    with pytest.raises(UsageError, match="does not fit"):
        apply_masks(model, MaskSet({name: np.ones((2, 3, 4, 5, 6), bool)}, ""))


def test_what_became_of_each_tensor_is_told():
    """A branch of one hidden channel goes; the indices that a Gather reads are no weights"""
    # x -> Gather -> a (3 hidden) -> b, and the same -> c (1 hidden) -> d; both summed
    model = build(
        "(float[N, 4] x) => (float[N, 2] y) <float[3, 4] a, float[2, 3] b, float[1, 4] c, float[2, 1] d, int64[4] order>"
        "{ z = Gather<axis = 1>(x, order) p = Gemm<transB = 1>(z, a) q = Gemm<transB = 1>(p, b)"
        "  r = Gemm<transB = 1>(z, c) s = Gemm<transB = 1>(r, d) y = Add(q, s) }",
        order=np.arange(4),
    )
    left = remove_masked(model, MaskSet({"c": np.zeros((1, 4), bool)}, "")).pruned
    told = inheritance(model, left, {"b"})
    assert told == Inheritance(("b",), ("a",), ("s.constant",), ("c", "d"))


def test_a_plan_is_data_that_json_can_hold():
    model = load(DIGITS)
    channels = analyze(model)
    masked = apply_masks(model, channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0))))
    plan = plan_removal(masked, analyze(masked)).to_json()
    assert json.loads(json.dumps(plan)) == plan
    assert plan["axes"]


def test_a_model_of_any_size_stays_one():
    """Height and width are only given for the analysis; the pruned model runs at others, batch included"""
    text = """(float[N, 3, height, width] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[8] b, float[6, 8, 3, 3] v,
    float[6, 5] g, int64[1] two = {2}, int64[1] four = {4}, int64[1] none = {0}, float[1] one = {1.0},
    int64[1] channels = {8}>
    { a = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (a) m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
      s = Shape (r) first = Slice (s, none, two) last = Slice (s, two, four) sizes = Concat <axis = 0> (first, last)
      u = Resize <mode = "nearest"> (m, , , sizes) z = Add (u, r)
      n = Slice (s, none, one_) flat = Concat <axis = 0> (n, channels, minus) f = Reshape (z, flat) i = Reshape (f, s)
      c = Conv (i, v) p = GlobalAveragePool (c) q = Flatten (p) y = MatMul (q, g) }"""
    text = text.replace("float[1] one = {1.0}", "int64[1] one_ = {1}, int64[1] minus = {-1}")
    proto = parse(text)
    model = loaded(proto, height=8, width=8)
    channels = analyze(model)
    assert len(channels.free) == 14
    masked, left = pruned(model, channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0))))
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 8, 8), (3, 3, 12, 10), (2, 3, 16, 8)):
        inputs = {"x": rng.standard_normal(shape).astype(np.float32)}
        assert gap(run(left, inputs)[0], run(masked, inputs)[0]) < 1e-5
    assert left.shapes.dims["r"][1] < 8


def test_a_batch_that_is_fixed():
    """Four images at a time"""
    text = """(float[4, 3, 8, 8] x) => (float[4, 5] y) <float[8, 3, 3, 3] w, float[4, 8, 1, 1] k, float[48, 5] g,
    int64[2] s = {4, 48}, float[6, 8, 3, 3] v>
    { a = Conv (x, w) b = Mul (a, k) c = Conv <strides = [2, 2]> (b, v) d = Slice (c, l, l2, l3) f = Reshape (d, s)
      y = MatMul (f, g) }"""
    text = text.replace("int64[2] s", "int64[2] l = {0, 0}, int64[2] l2 = {2, 4}, int64[2] l3 = {2, 3}, int64[2] s")
    text = text.replace("float[48, 5]", "float[24, 5]").replace("{4, 48}", "{4, 24}")
    model = build(text)
    channels = analyze(model)
    for kind in ("0.5", "one", "all"):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, 1)))
        masked, left = pruned(model, masks)
        inputs = feeds(model)
        assert gap(run(left, inputs)[0], run(masked, inputs)[0]) < 1e-5
    assert len(channels.free) == 14


def test_no_relu_of_a_relu_is_left_where_a_branch_has_gone():
    # x -> conv -> relu -> [conv -> relu -> conv] + -> relu -> gemm
    model = build("""(float[N, 3, 4, 4] x) => (float[N, 5] y)
      <float[8, 3, 3, 3] w1, float[8, 8, 3, 3] w2, float[8, 8, 3, 3] w3, float[5, 8] g>
    { a = Conv <pads = [1, 1, 1, 1]> (x, w1)
      r = Relu (a)
      b = Conv <pads = [1, 1, 1, 1]> (r, w2)
      q = Relu (b)
      c = Conv <pads = [1, 1, 1, 1]> (q, w3)
      d = Add (r, c)
      e = Relu (d)
      p = GlobalAveragePool (e)
      f = Flatten (p)
      y = Gemm <transB = 1> (f, g) }""")
    masked = apply_masks(model, MaskSet({"w2": np.zeros((8, 8, 3, 3), bool)}, model.sha256))
    pruned = remove_channels(masked, plan_removal(masked, analyze(masked)))
    assert [node.op_type for node in pruned.graph] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    x = {"x": np.random.default_rng(0).standard_normal((3, 3, 4, 4)).astype(np.float32)}
    assert np.allclose(run(masked, x)[0], run(pruned, x)[0], atol=1e-6)
