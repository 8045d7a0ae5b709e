"""Cutting the head of small classifiers: every form of last layer, and what cannot be cut."""

import numpy as np
import onnx
import pytest
from graphs import build, feeds, gap, loaded, parse, proto_of, run

from seam_onnx.channels import analyze
from seam_onnx.errors import ModelError
from seam_onnx.masks import MaskSet
from seam_onnx.surgery import channel_masks, class_scores, classes, classes_left, cut_head, remove_masked

BODY = "a = Conv (x, w) r = Relu (a) p = GlobalAveragePool (r) f = Flatten (p)"
HEADS = {
    "gemm": ("float[8, 6] g, float[6] h", "y = Gemm (f, g, h)"),
    "gemm turned": ("float[6, 8] g, float[1, 6] h", "y = Gemm <transB = 1, alpha = 0.5, beta = 3.0> (f, g, h)"),
    "gemm with one bias": ("float[8, 6] g, float[1] h", "y = Gemm (f, g, h)"),
    "matmul": ("float[8, 6] g", "y = MatMul (f, g)"),
    "matmul and add": ("float[8, 6] g, float[6] h", "b = MatMul (f, g) y = Add (h, b)"),
    "scaled": ("float[8, 6] g, float s = {2.0}", "b = MatMul (f, g) y = Mul (b, s)"),
    "scaled a class": ("float[8, 6] g, float[6] s", "b = MatMul (f, g) y = Div (b, s)"),
    "sigmoid": ("float[8, 6] g", "b = MatMul (f, g) y = Sigmoid (b)"),
    "convolution": ("float[6, 8, 1, 1] g, float[6] h", "b = Conv (p, g, h) y = Flatten (b)"),
    "convolution and pooling": ("float[6, 8, 1, 1] g", "b = Conv (r, g) c = GlobalAveragePool (b) y = Flatten (c)"),
    "normalised": (
        "float[8, 6] g, float[6] s, float[6] t, float[6] m, float[6] v",
        "b = MatMul (f, g) y = BatchNormalization (b, s, t, m, v)",
    ),
    "reshaped": ("float[6, 8, 1, 1] g, int64[2] i = {-1, 6}", "b = Conv (p, g) y = Reshape (b, i)"),
    "squeezed": ("float[6, 8, 1, 1] g, int64[2] i = {2, 3}", "b = Conv (p, g) y = Squeeze (b, i)"),
    "through identity": ("float[8, 6] g", "b = MatMul (f, g) c = Dropout (b) y = Identity (c)"),
}
SOFT = {
    "softmax": ("float[8, 6] g", "b = MatMul (f, g) y = Softmax (b)"),
    "log softmax": ("float[8, 6] g", "b = MatMul (f, g) y = LogSoftmax (b)"),
}


def model_of(weights: str, head: str):
    """x (N, 3, 8, 8) -> Conv 8 -> Relu -> mean -> the head, six classes"""
    return build(f"(float[N, 3, 8, 8] x) => (float[N, 6] y) <float[8, 3, 3, 3] w, {weights}> {{ {BODY} {head} }}")


@pytest.mark.parametrize("wanted", [(4, 1), (0,), (5, 4, 3, 2, 1, 0)])
@pytest.mark.parametrize("name", HEADS)
def test_wanted_columns_in_the_wanted_order(name, wanted):
    model = model_of(*HEADS[name])
    assert classes(model) == 6
    cut = cut_head(model, wanted, rest=False)
    inputs = feeds(model, 3)
    before, after = run(model, inputs)[0], run(cut, inputs)[0]
    assert after.shape == (3, len(wanted))
    assert gap(after, before[:, list(wanted)]) < 1e-5
    assert [v.name for v in cut.graph.outputs] == ["y"]


@pytest.mark.parametrize("name", HEADS)
def test_the_rest_is_the_logsumexp_of_the_others(name):
    """Of their logits: where the scores are sigmoids, these are the logarithms of the odds"""
    model = model_of(*HEADS[name])
    inputs = feeds(model, 3)
    cut = cut_head(model, (4, 1), rest=True)
    before, after = run(model, inputs)[0], run(cut, inputs)[0]
    if name == "sigmoid":
        before, after = (np.log(scores / (1 - scores)) for scores in (before, after))
    assert gap(after, np.column_stack([before[:, [4, 1]], np.logaddexp.reduce(before[:, [0, 2, 3, 5]], axis=1)])) < 1e-5
    assert [v.name for v in cut.graph.outputs] == ["y"]
    onnx.checker.check_model(proto_of(cut), full_check=True)


@pytest.mark.parametrize("opset", [7, 12, 13, 17, 18, 23])
def test_the_rest_has_its_part_of_the_probability(opset):
    """Split and ReduceLogSumExp took attributes once and take inputs now; the Reshape behind them says 6"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 6] y)
    <float[8, 3, 3, 3] w, float[6, 8, 1, 1] g, int64[2] i = {-1, 6}>
    { a = Conv (x, w) p = GlobalAveragePool (a) b = Conv (p, g) c = Reshape (b, i) y = Softmax (c) }"""
    model = build(text, opset)
    inputs = feeds(model, 3)
    cut = cut_head(model, (4, 1), rest=True)
    before, after = run(model, inputs)[0], run(cut, inputs)[0]
    assert gap(after, np.column_stack([before[:, [4, 1]], before[:, [0, 2, 3, 5]].sum(1)])) < 1e-5
    onnx.checker.check_model(proto_of(cut), full_check=True)


def test_a_pruned_model_can_be_pruned_again():
    model = cut_head(model_of(*HEADS["gemm"]), (4, 1), rest=True)
    assert cut_head(model, (0, 1, 2), rest=False) is model
    assert cut_head(model, (0, 1), rest=True) is model


def test_of_two_classes_the_other_is_the_rest():
    model = cut_head(model_of(*HEADS["gemm"]), (2, 3), rest=False)
    cut = cut_head(model, (1,), rest=True)
    inputs = feeds(model, 3)
    assert np.array_equal(run(cut, inputs)[0], run(model, inputs)[0][:, [1, 0]])
    assert class_scores(cut) is None


def test_rows_of_other_classes_go_as_channels_do():
    """Masked in the sum, two of four: what is left sums up the others, with or without removal"""
    model = cut_head(model_of(*HEADS["gemm"]), (4, 1), rest=True)
    channels = analyze(model)
    rows = next(mix for mix in channels.mixes if mix.node == "seam.rest.sum")
    masks = channel_masks(model, channels, channels.without(channels.roots[rows.labels[[0, 2]]]))
    removal = remove_masked(model, masks)
    inputs = feeds(model, 3)
    before, after = run(model, inputs)[0], run(removal.pruned, inputs)[0]
    assert gap(after, run(removal.masked, inputs)[0]) < 1e-6
    assert np.array_equal(after[:, :2], before[:, :2])
    assert (after[:, 2] < before[:, 2]).all()
    assert removal.pruned.shapes.dims[class_scores(removal.pruned)] == (1, 4)
    assert np.array_equal(classes_left(masks, 6), [0, 1, 3, 5])
    assert np.array_equal(classes_left(MaskSet({}, ""), 6), np.arange(6))


@pytest.mark.parametrize("name", SOFT)
def test_probabilities_are_those_among_the_wanted(name):
    model = model_of(*SOFT[name])
    inputs = feeds(model, 3)
    before, after = run(model, inputs)[0], run(cut_head(model, (4, 1), rest=False), inputs)[0]
    if name == "log softmax":
        before, after = np.exp(before), np.exp(after)
    assert np.allclose(after.sum(1), 1, atol=1e-6)
    assert gap(after, before[:, [4, 1]] / before[:, [4, 1]].sum(1, keepdims=True)) < 1e-5


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_softmax_before_opset_13(opset):
    """Over everything from axis 1 on: (N, 6, 1, 1) as in SqueezeNet"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 6, 1, 1] y) <float[8, 3, 3, 3] w, float[6, 8, 1, 1] g>
    { a = Conv (x, w) p = GlobalAveragePool (a) b = Conv (p, g) y = Softmax (b) }"""
    model = build(text, opset)
    inputs = feeds(model, 3)
    before, after = run(model, inputs)[0], run(cut_head(model, (4, 1), rest=False), inputs)[0]
    assert after.shape == (3, 2, 1, 1)
    assert gap(after, before[:, [4, 1]] / before[:, [4, 1]].sum(1, keepdims=True)) < 1e-5


def test_other_outputs_stay_whole():
    """One number beside the scores, from the same features"""
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 6] y, float[N, 1] z)
    <float[8, 3, 3, 3] w, float[8, 6] g, float[8, 1] k>
    {{ {BODY} y = MatMul (f, g) z = MatMul (f, k) }}"""
    model = build(text)
    inputs = feeds(model, 3)
    before, after = run(model, inputs), run(cut_head(model, (2, 3), rest=False), inputs)
    assert gap(after[0], before[0][:, [2, 3]]) < 1e-5
    assert np.array_equal(after[1], before[1])


REFUSED = {
    "a softmax that something reads": ("float[8, 6] g", "b = MatMul (f, g) c = Softmax (b) y = Mul (c, c)"),
    "classes of two layers": (
        "float[8, 3] g, float[8, 3] h",
        "b = MatMul (f, g) c = MatMul (f, h) y = Concat <axis = 1> (b, c)",
    ),
    "less their mean": ("float[8, 6] g", "b = MatMul (f, g) m = ReduceMean <axes = [1]> (b) y = Sub (b, m)"),
    "one layer read twice": ("float[8, 3] g", "b = MatMul (f, g) y = Concat <axis = 1> (b, b)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_is_refused(name):
    with pytest.raises(ModelError, match="cannot be cut") as caught:
        cut_head(model_of(*REFUSED[name]), (0, 1), rest=False)
    assert "\n" not in str(caught.value)


def test_scores_twice_are_refused():
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 6] y, float[N, 6] z)
    <float[8, 3, 3, 3] w, float[8, 6] g>
    {{ {BODY} y = MatMul (f, g) z = Softmax (y) }}"""
    with pytest.raises(ModelError, match="class axis"):
        cut_head(loaded(parse(text)), (0, 1), rest=False)
