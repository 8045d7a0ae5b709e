"""Which initializers are weights, and which are constants of formulas."""

import pytest
from graphs import DATA, build
from toys import WRITTEN_OUT

from seam_onnx.model import load
from seam_onnx.search.learnt import learnt

SWISH = """(float[N, 3, 8, 8] x) => (float[N, 5] y)
  <float[3, 1, 1] mean, float[3, 1, 1] std, float[8, 3, 3, 3] w, float[8] b, float three = {3.0}, float zero = {0.0},
   float six = {6.0}, float[8] slope, float[8, 5] g>
{ z = Sub (x, mean)
  i = Div (z, std)
  c = Conv (i, w, b)
  h = Add (c, three)
  k = Clip (h, zero, six)
  p = Mul (c, k)
  q = Div (p, six)
  a = GlobalAveragePool (q)
  f = Flatten (a)
  t = Mul (f, slope)
  y = MatMul (t, g) }"""
"""The images' normalisation, a hard swish, and a scale for each channel. (N, 3, 8, 8) -> (N, 8, 6, 6) -> (N, 5)"""

MASKED = """(float[N, 4, 6] x) => (float[N, 4, 8] y)
  <float[6, 8] q, float[6, 8] k, float[6, 8] v, float[4, 4] mask, float scale = {0.35}, float[8, 8] o>
{ a = MatMul (x, q)
  b = MatMul (x, k)
  c = MatMul (x, v)
  t = Transpose <perm = [0, 2, 1]> (b)
  s = MatMul (a, t)
  r = Mul (s, scale)
  m = Add (r, mask)
  p = Softmax <axis = -1> (m)
  h = MatMul (p, c)
  y = MatMul (h, o) }"""
"""Attention with a mask on its scores: (N, 4 tokens, 6) -> (N, 4, 4) -> (N, 4, 8)"""

RECURRENT = """(float[4, 2, 3] x) => (float[4, 1, 2, 5] y) <float[1, 20, 3] w, float[1, 20, 5] r, float[1, 40] b>
{ y = LSTM <hidden_size = 5> (x, w, r, b) }"""
"""Its units are pinned, and yet its weights are weights. (4 steps, 2, 3) -> (4, 1, 2, 5)"""

TABLE = """(int64[N, 4] x) => (float[N, 4, 5] y) <float[9, 6] table, float[4, 6] place, float[6, 5] g>
{ e = Gather (table, x)
  p = Add (e, place)
  y = MatMul (p, g) }"""
"""Embeddings of words and of places. (N, 4) -> (N, 4, 6) -> (N, 4, 5)"""


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (WRITTEN_OUT, {"a", "b", "w", "gamma", "v", "g"}),
        (SWISH, {"w", "b", "slope", "g"}),
        (MASKED, {"q", "k", "v", "o"}),
        (RECURRENT, {"w", "r", "b"}),
        (TABLE, {"table", "place", "g"}),
    ],
)
def test_weights_are_learnt_and_constants_held(text, weights):
    assert learnt(build(text)) == weights


@pytest.mark.parametrize("name", ["imagenet_mobilenetv2_100_224_coral", "cifar10_resnet20_legacy13"])
def test_only_bounds_are_held_in_a_real_model(name):
    path = DATA / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    model = load(path)
    held = set(model.initializers) - learnt(model)
    bounds = {v.name for node in model.graph if node.op_type == "Clip" for v in node.inputs[1:] if v is not None}
    assert {n for n in held if model.initializers[n].dtype.is_floating_point()} == bounds
