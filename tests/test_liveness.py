"""Exact removal on small graphs by hand: which channels go, which constants are folded, and what stays."""

import numpy as np
import pytest
from graphs import build, feeds, gap, run
from hypothesis import given, settings
from hypothesis import strategies as st

from seam_onnx.channels import analyze
from seam_onnx.model import Model
from seam_onnx.surgery import plan_removal, remove_channels

BN = "float[4] s, float[4] t, float[4] m, float[4] v"


def small(model: Model) -> Model:
    """What is left of a model whose silent channels are already silent; it computes the same."""
    left = remove_channels(model, plan_removal(model, analyze(model)))
    inputs = feeds(model, 2)
    for before, after in zip(run(model, inputs), run(left, inputs), strict=True):
        assert gap(after, before) < 1e-5
    return left


def ops(model: Model) -> list[str]:
    """Op types in graph order."""
    return [node.op_type for node in model.graph]


def array(model: Model, name: str) -> np.ndarray:
    """An initializer's contents."""
    return model.initializers[name].const_value.numpy()


def test_a_masked_batch_norm_channel_is_its_beta_and_is_folded():
    """Conv 4 -> BatchNormalization, gamma 0 in channel 1, beta 3 there -> Conv without padding"""
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 5, 6, 6] y)
    <float[4, 3, 1, 1] w, {BN}, float[5, 4, 3, 3] u, float[5] b>
    {{ a = Conv (x, w) c = BatchNormalization (a, s, t, m, v) y = Conv (c, u, b) }}"""
    model = build(text, s=np.array([1, 0, 1, 1]), t=np.array([0, 3, 0, 0]))
    left = small(model)
    assert left.shapes.dims["a"] == (1, 3, 8, 8)
    bias = next(n for n in left.graph if n.outputs[0].name == "y").inputs[2].const_value.numpy()
    assert np.allclose(bias, array(model, "b") + 3 * array(model, "u")[:, 1].sum((1, 2)), atol=1e-5)


@pytest.mark.parametrize(("pads", "width"), [("[0, 0, 0, 0]", 3), ("[1, 1, 1, 1]", 4), ("[0, 0, 0, 1]", 4)])
def test_a_constant_half_is_folded_unless_padding_interrupts_it(pads, width):
    """Conv 4 with channel 2 zero -> Sigmoid: 1/2 there -> Conv: under padding with zeros it is no constant"""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[2] = 0
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 5] y)
    <float[4, 3, 1, 1] w, float[5, 4, 3, 3] u>
    {{ a = Conv (x, w) c = Sigmoid (a) d = Conv <pads = {pads}> (c, u) e = GlobalMaxPool (d) y = Flatten (e) }}"""
    assert small(build(text, w=weight)).shapes.dims["a"][1] == width


def silent_rows(width: int, *rows: int) -> np.ndarray:
    """A 1 x 1 weight (width, 3) with zeros in some rows."""
    weight = np.random.default_rng(0).standard_normal((width, 3, 1, 1))
    weight[list(rows)] = 0
    return weight


@pytest.mark.parametrize("reader", ["Conv <pads = [1, 1, 1, 1]> (c, u)", 'Conv <auto_pad = "SAME_UPPER"> (c, u, k)'])
def test_under_padding_one_constant_stands_for_all(reader):
    """Conv 6, of which 1, 2 and 4 are constants other than 0 -> Sigmoid -> padded Conv: the one nearest to 1 stays"""
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] d)
    <float[6, 3, 1, 1] w, float[6] b, float[5, 6, 3, 3] u, float[5] k>
    {{ a = Conv (x, w, b) c = Sigmoid (a) d = {reader} }}"""
    model = build(text, w=silent_rows(6, 1, 2, 4), b=np.array([0, -1, 2, 0, 0.5, 0]))
    left = small(model)
    assert np.array_equal(array(left, "w"), array(model, "w")[[0, 2, 3, 5]])
    assert np.array_equal(array(left, "u")[:, [0, 2, 3]], array(model, "u")[:, [0, 3, 5]])


def test_one_constant_stands_for_all_of_every_reader():
    """Two padded readers of one group, and one without padding: one channel stays, for both"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] d, float[N, 4, 8, 8] e, float[N, 2, 6, 6] f)
    <float[5, 3, 1, 1] w, float[5] b, float[5, 5, 3, 3] u, float[4, 5, 3, 3] v, float[2, 5, 3, 3] q>
    { a = Conv (x, w, b) c = Sigmoid (a) d = Conv <pads = [1, 1, 1, 1]> (c, u) e = Conv <pads = [1, 1, 1, 1]> (c, v)
      f = Conv (c, q) }"""
    left = small(build(text, w=silent_rows(5, 0, 2, 3)))
    assert left.shapes.dims["a"][1] == 3


@pytest.mark.parametrize(("silent", "width"), [((1, 2, 5, 6), 6), ((1, 2, 5), 8), ((1, 6), 8)])
def test_constants_of_a_grouped_reader_go_where_all_blocks_have_one(silent, width):
    """Conv 8 -> Sigmoid -> padded Conv in 2 groups of 4, which loses the same positions in both: 1 and 2, or none"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 6, 8, 8] d)
    <float[8, 3, 1, 1] w, float[8] b, float[6, 4, 3, 3] u>
    { a = Conv (x, w, b) c = Sigmoid (a) d = Conv <pads = [1, 1, 1, 1], group = 2> (c, u) }"""
    assert small(build(text, w=silent_rows(8, *silent))).shapes.dims["a"][1] == width


def test_a_transposed_convolution_keeps_one_constant():
    text = """(float[N, 3, 5, 5] x) => (float[N, 4, 7, 7] d) <float[5, 3, 1, 1] w, float[5] b, float[5, 4, 3, 3] u>
    { a = Conv (x, w, b) c = Sigmoid (a) d = ConvTranspose (c, u) }"""
    assert small(build(text, w=silent_rows(5, 0, 1, 3))).shapes.dims["a"][1] == 3


def test_a_weight_that_two_nodes_read_is_not_summed_up():
    """Each reader meets other constants"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] d, float[N, 4, 8, 8] e)
    <float[4, 3, 1, 1] w, float[4] b, float[4, 4, 3, 3] u>
    { a = Conv (x, w, b) c = Sigmoid (a) d = Conv <pads = [1, 1, 1, 1]> (c, u) f = Tanh (a)
      e = Conv <pads = [1, 1, 1, 1]> (f, u) }"""
    assert small(build(text, w=silent_rows(4, 0, 1, 3))).shapes.dims["a"][1] == 4


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(1, 2), st.booleans(), st.lists(st.booleans(), min_size=8, max_size=8), st.integers(0, 99))
def test_constants_under_padding_are_removed_exactly(group, batch_norm, silent, seed):
    """Conv 8 with any rows silent -> BatchNormalization or Sigmoid -> padded Conv -> padded Conv"""
    rng = np.random.default_rng(seed)
    middle = "BatchNormalization (a, s, t, m, v)" if batch_norm else "Sigmoid (a)"
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y)
    <float[8, 3, 1, 1] w, float[8] b, {BN.replace("4", "8")}, float[6, {8 // group}, 3, 3] u, float[5, 6, 3, 3] q>
    {{ a = Conv (x, w, b) c = {middle} d = Conv <pads = [1, 0, 2, 1], group = {group}> (c, u) r = Tanh (d)
      y = Conv <pads = [1, 2, 0, 1]> (r, q) }}"""
    constants = {"t": rng.integers(-1, 2, 8), "s": 1 - np.array(silent) * rng.integers(0, 2, 8)}
    model = build(text, seed=seed, w=silent_rows(8, *np.flatnonzero(silent)), **constants)
    width = small(model).shapes.dims["a"][1]
    if group == 1 and not batch_norm and any(silent):
        assert width == 9 - sum(silent)


def test_a_zero_is_removed_under_padding_as_well():
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[2] = 0
    text = """(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y)
    <float[4, 3, 1, 1] w, float[5, 4, 3, 3] u>
    { a = Conv (x, w) c = Relu (a) y = Conv <pads = [1, 1, 1, 1]> (c, u) }"""
    left = small(build(text, w=weight))
    assert left.shapes.dims["a"] == (1, 3, 8, 8)
    assert len(next(n for n in left.graph if n.outputs[0].name == "y").inputs) == 2


def test_an_average_that_counts_padding_interrupts_a_constant():
    weight = np.zeros((4, 3, 1, 1))
    weight[:2] = 1
    for count, width in ((0, 2), (1, 4)):
        text = f"""(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y)
        <float[4, 3, 1, 1] w, float[5, 4, 1, 1] u>
        {{ a = Conv (x, w) c = Sigmoid (a) p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1],
          count_include_pad = {count}> (c) y = Conv (p, u) }}"""
        assert small(build(text, w=weight)).shapes.dims["a"][1] == width


def test_channels_that_nothing_reads_go():
    """Conv 6, of which the reader's weight uses 2, 3 and 5"""
    reader = np.ones((4, 6, 1, 1))
    reader[:, [0, 1, 4]] = 0
    text = """(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)
    <float[6, 3, 1, 1] w, float[6] b, float[4, 6, 1, 1] u>
    { a = Conv (x, w, b) c = Exp (a) y = Conv (c, u) }"""
    model = build(text, u=reader)
    left = small(model)
    assert np.array_equal(array(left, "w"), array(model, "w")[[2, 3, 5]])
    assert np.array_equal(array(left, "b"), array(model, "b")[[2, 3, 5]])


def test_what_only_dead_channels_needed_goes_with_them():
    """Conv 5 -> Conv 4 -> Conv: channel 1 of the second is unread, and channel 3 of the first fed it alone"""
    second, third = np.ones((4, 5, 1, 1)), np.ones((2, 4, 1, 1))
    second[[0, 2, 3], 3] = 0
    third[:, 1] = 0
    text = """(float[N, 3, 8, 8] x) => (float[N, 2, 8, 8] y)
    <float[5, 3, 1, 1] w1, float[4, 5, 1, 1] w2, float[2, 4, 1, 1] w3>
    { a = Conv (x, w1) b = Relu (a) c = Conv (b, w2) d = Relu (c) y = Conv (d, w3) }"""
    left = small(build(text, w2=second, w3=third))
    assert (left.shapes.dims["a"][1], left.shapes.dims["c"][1]) == (4, 3)


def test_a_dead_residual_branch_goes_as_a_whole():
    """a + Conv(Relu(Conv(a))) where the last weight and bias are zero: nothing of the branch is left, nor the sum"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[4, 3, 3, 3] w1, float[6, 4, 3, 3] w2,
    float[4, 6, 3, 3] w3,
    float[4] b3, float[4, 5] g>
    { a = Conv <pads = [1, 1, 1, 1]> (x, w1) b = Conv <pads = [1, 1, 1, 1]> (a, w2) r = Relu (b)
      c = Conv <pads = [1, 1, 1, 1]> (r, w3, b3) d = Add (a, c) e = GlobalAveragePool (d) f = Flatten (e)
      y = MatMul (f, g) }"""
    left = small(build(text, w3=np.zeros((4, 6, 3, 3)), b3=np.zeros(4)))
    assert ops(left) == ["Conv", "GlobalAveragePool", "Flatten", "MatMul"]
    assert set(left.initializers) == {"w1", "g"}


def test_a_constant_residual_branch_leaves_its_constant():
    """The same with a bias: what is left of the branch is one initializer"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[4, 3, 3, 3] w1, float[4, 4, 3, 3] w3, float[4] b3,
    float[4, 5] g>
    { a = Conv <pads = [1, 1, 1, 1]> (x, w1) c = Conv <pads = [1, 1, 1, 1]> (a, w3, b3) d = Add (a, c)
      e = GlobalAveragePool (d) f = Flatten (e) y = MatMul (f, g) }"""
    left = small(build(text, w3=np.zeros((4, 4, 3, 3))))
    assert ops(left) == ["Conv", "Add", "GlobalAveragePool", "Flatten", "MatMul"]


def test_an_operand_of_a_concat_goes_as_a_whole():
    """Conv 4 | Conv 6 -> Conv, whose weight reads nothing of the second"""
    reader = np.ones((5, 10, 1, 1))
    reader[:, 4:] = 0
    text = """(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y)
    <float[4, 3, 1, 1] w1, float[6, 3, 1, 1] w2, float[5, 10, 1, 1] u>
    { a = Conv (x, w1) b = Conv (x, w2) c = Concat <axis = 1> (a, b) y = Conv (c, u) }"""
    left = small(build(text, u=reader))
    assert ops(left).count("Conv") == 2
    assert "w2" not in left.initializers


def test_a_group_of_a_grouped_convolution_goes():
    """Conv 8 -> Conv in 4 groups of 2 -> Conv that does not read group 2: `group` falls to 3"""
    reader = np.ones((5, 8, 1, 1))
    reader[:, 4:6] = 0
    text = """(float[N, 3, 8, 8] x) => (float[N, 5, 6, 6] y)
    <float[8, 3, 1, 1] w1, float[8, 2, 3, 3] w2, float[5, 8, 1, 1] u>
    { a = Conv (x, w1) b = Conv <group = 4> (a, w2) y = Conv (b, u) }"""
    left = small(build(text, u=reader))
    grouped = next(n for n in left.graph if n.outputs[0].name == "b")
    assert grouped.attributes.get_int("group") == 3
    assert left.shapes.dims["w2"] == (6, 2, 3, 3)


def test_beta_zero_does_not_hide_what_is_folded():
    """Gemm with beta 0 has a bias that does not count; a constant folded into it must"""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[1] = 0
    text = """(float[N, 3, 2, 2] x) => (float[N, 5] y)
    <float[4, 3, 1, 1] w, float[16, 5] g, float[5] h>
    { a = Conv (x, w) b = Sigmoid (a) c = Flatten (b) y = Gemm <beta = 0.0> (c, g, h) }"""
    assert small(build(text, w=weight)).shapes.dims["a"][1] == 3


def test_an_output_folded_into_keeps_its_name():
    """MatMul has no bias: an Add behind it takes over the name of the output"""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[1] = 0
    text = """(float[N, 3, 2, 2] x) => (float[N, 5] y)
    <float[4, 3, 1, 1] w, float[16, 5] g>
    { a = Conv (x, w) b = Sigmoid (a) c = Flatten (b) y = MatMul (c, g) }"""
    left = small(build(text, w=weight))
    assert ops(left)[-2:] == ["MatMul", "Add"]
    assert [v.name for v in left.graph.outputs] == ["y"]
    assert ops(small(left)) == ops(left)


def test_names_that_are_taken_are_left_alone():
    """The node is called `fc` and somebody else's initializer `fc.bias`"""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[1] = 0
    text = """(float[N, 3, 2, 2] x) => (float[N, 5] y) <float[4, 3, 1, 1] w, float[16, 5] g, float[5] "fc.bias">
    { a = Conv (x, w) b = Sigmoid (a) c = Flatten (b) [fc] d = MatMul (c, g) y = Mul (d, "fc.bias") }"""
    model = build(text, w=weight)
    left = small(model)
    assert np.array_equal(array(left, "fc.bias"), array(model, "fc.bias"))


@pytest.mark.parametrize("number", [np.nan, np.inf, -1.0])
def test_statistics_that_are_no_variance_do_not_break_the_plan(number):
    """Conv 4 -> BatchNormalization whose variance is broken in one channel, which the reader does not use"""
    reader = np.ones((5, 4, 1, 1))
    reader[:, 2] = 0
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y) <float[4, 3, 1, 1] w, {BN}, float[5, 4, 1, 1] u>
    {{ a = Conv (x, w) c = BatchNormalization (a, s, t, m, v) y = Conv (c, u) }}"""
    model = build(text, u=reader, v=np.array([1, 1, number, 1]))
    left = remove_channels(model, plan_removal(model, analyze(model)))
    assert left.shapes.dims["a"][1] == 3
    assert np.isfinite(run(left, feeds(model, 2))[0]).all()
