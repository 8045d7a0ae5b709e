"""N:M sparsity: which axis, what holds, and what a written file is found to hold."""

import numpy as np
import pytest
from commands import DIGITS, seam
from graphs import build
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seam_onnx.errors import UsageError
from seam_onnx.model import load
from seam_onnx.surgery import NM, parse_nm, sparse_layers
from seam_onnx.surgery.sparsity import holds, reduction_axes

TRT = NM(2, 4)
MIXED = """(float[N, 8, 4, 4] x) => (float[N, 6] y)
  <float[12, 8, 3, 3] conv, float[12, 4, 1, 1] grouped, float[12, 1, 3, 3] depthwise, float[12, 16] plain,
   float[6, 16] turned, int64[1] axes>
{ a = Conv <pads = [1, 1, 1, 1]> (x, conv)
  b = Conv <group = 3> (a, grouped)
  c = Conv <group = 12, pads = [1, 1, 1, 1]> (b, depthwise)
  d = GlobalAveragePool (c)
  e = Flatten (d)
  f = MatMul (e, plain)
  y = Gemm <transB = 1> (f, turned) }"""


def trt(weights: np.ndarray) -> bool:
    """The check as TensorRT's developer guide words it, for a weight (K, C, R, S)."""
    outputs, inputs, rows, columns = weights.shape
    return all(
        np.count_nonzero(weights[k, 4 * c : 4 * c + 4, r, s]) <= 2
        for k in range(outputs) for r in range(rows) for s in range(columns) for c in range(inputs // 4)
    )  # fmt: skip


@given(arrays(np.bool_, (2, 8, 1, 2)))
def test_the_pattern_is_tensorrts(bits):
    assert holds(bits, 1, TRT) == trt(bits)
    assert holds(bits.transpose(1, 0, 2, 3), 0, TRT) == trt(bits)


@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 9), st.integers(0, 9))
def test_of_ones_the_pattern_holds_where_groups_are_short(n, m, length, more):
    assert holds(np.ones((2, length)), 1, NM(n, m)) == (min(length, m) <= n)
    assert holds(np.zeros((length, more)), 0, NM(n, m))


def test_the_axis_is_the_one_that_is_summed_over():
    axes = reduction_axes(build(MIXED))
    assert axes == {"conv": 1, "grouped": 1, "depthwise": 1, "plain": 0, "turned": 1}


def test_a_weight_that_is_read_along_two_axes_is_dense():
    model = build("""(float[N, 4] x) => (float[N, 4] y) <float[4, 4] w>
        { a = MatMul (x, w)
          y = Gemm <transB = 1> (a, w) }""")
    (layer,) = sparse_layers(model, TRT)
    assert layer.reason == "is read along different axes"


def test_every_weight_is_accounted_for():
    sparse = np.tile(np.array([0.0, 1.0, 2.0, 0.0], np.float32)[None, :, None, None], (12, 2, 3, 3))
    layers = {one.weight: one for one in sparse_layers(build(MIXED, conv=sparse), TRT)}
    assert layers["conv"].reason == ""
    assert layers["conv"].kept == 0.5
    assert layers["conv"].shape == (12, 8, 3, 3)
    assert "more than 2 of 4" in layers["grouped"].reason
    assert layers["depthwise"].reason == "its 1 inputs are no multiple of 4"
    assert "more than 2 of 4" in layers["turned"].reason


@pytest.mark.parametrize("text", ["2", "4:2", "2:2", "0:4", "a:b", "2:4:8", "-1:4", ""])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(UsageError, match="is not N:M"):
        parse_nm(text)
    assert str(parse_nm(" 2:4 ")) == "2:4"


@pytest.mark.parametrize(("schedule", "more"), [("fast", ()), ("gradual", ("--set", "search.least=60"))])
def test_prune_writes_the_pattern_and_says_where(schedule, more, monkeypatch, capsys, tmp_path):
    model, output = DIGITS / "model.onnx", tmp_path / "sparse.onnx"
    prune = ("prune", model, "--labels", "3,8", "--data", DIGITS / "data.npz", "--granularity", "weight", "-o", output)
    words = ("--epochs", "6", "--schedule", schedule, "--nm", "2:4", "--width-step", "1000")
    ran = seam(monkeypatch, capsys, *prune, *words, *more)
    assert ran.code == 0, ran.err
    layers = {one.weight: one for one in sparse_layers(load(output), TRT)}
    held = {name for name, one in layers.items() if not one.reason}
    assert f"the pattern holds in {len(held)} of {len(layers)} weights" in " ".join(ran.out.split())
    whole = load(model)
    fitting = {name for name, axis in reduction_axes(whole).items() if whole.initializers[name].shape[axis] % 4 == 0}
    dead = {"block2.shortcut.conv.weight"} if schedule == "gradual" else set()  # in the original, and gone before
    assert held == fitting - dead != set()  # no channel goes at this step, so that no group is torn


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nm", "5:4"), "is not N:M"),
        (("--nm", "2:4", "--schedule", "published"), "--nm: does nothing with schedule published"),
        (
            ("--nm", "2:4", "--schedule", "gradual", "--head-rate", "1"),
            "--head-rate: does nothing with schedule gradual",
        ),
        (("--alpha", "3"), "--alpha: does nothing with schedule fast"),
    ],
)
def test_prune_refuses_what_masks_on_weights_cannot_serve(words, said, monkeypatch, capsys, tmp_path):
    prune = (
        "prune",
        DIGITS / "model.onnx",
        "--labels",
        "3,8",
        "--data",
        DIGITS / "data.npz",
        "-o",
        tmp_path / "o.onnx",
    )
    ran = seam(monkeypatch, capsys, *prune, "--granularity", "weight", *words)
    assert ran.code == 2
    assert said in ran.err
