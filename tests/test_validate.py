"""validate: sessions, statistics, accuracy, parity, latency. Nothing here asserts that anything is fast.

The small models are ONNX text: `(inputs) => (outputs) { body }`, a dim that is a name is dynamic, `<...>` in
front of the body holds initializers.
"""

import gzip
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import seam_onnx.validate as validate
from seam_onnx.errors import (
    DataError,
    ModelError,
    NotOnnxError,
    ParityError,
    PathError,
    SeamError,
    UsageError,
)
from seam_onnx.judge import activated
from seam_onnx.validate import (
    Interval,
    LatencyProgress,
    Parity,
    Provider,
    Session,
    accuracy,
    agreement,
    answers,
    are_probabilities,
    as_logits,
    assert_parity,
    classification,
    compare,
    environment,
    file_bytes,
    mcnemar,
    measure,
    medians,
    model_cost,
    open_session,
    parity,
    peak_memory,
    provider_name,
    ratio_interval,
    to_json,
    verdict,
    wilson,
)
from seam_onnx.validate import timing as clock
from seam_onnx.validate.claim import comparisons, summarise
from seam_onnx.validate.timing import WarmUp, take_turns, warm_up

DATA = Path(__file__).parents[2] / "shared" / "data"


def text_model(signature: str, body: str) -> bytes:
    header = '<ir_version: 8, opset_import: ["": 17]>'
    return onnx.parser.parse_model(f"{header} graph {signature} {{ {body} }}").SerializeToString()


# y = 2x, dynamic batch
DOUBLE = text_model("(float[batch, 3] x) => (float[batch, 3] y)", "y = Add(x, x)")
# y = 2x, batch fixed at 4
DOUBLE_4 = text_model("(float[4, 3] x) => (float[4, 3] y)", "y = Add(x, x)")
# y = 2x + 0.5, dynamic batch
SHIFTED = text_model("(float[batch, 3] x) => (float[batch, 3] y) <float c = {0.5}>", "z = Add(x, x) y = Add(z, c)")
# rows that say which batch they were computed in: y = x + number of rows
COUNTS = text_model(
    "(float[batch, 3] x) => (float[batch, 3] y) <int64[1] one = {1}>",
    "s = Shape <end = 1> (x) n = Cast <to = 1> (s) y = Add(x, n)",
)


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"shared data file {name} is not here")
    return path


def rows(n: int) -> np.ndarray:
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


# sessions


def test_session_describes_the_model() -> None:
    session = open_session(DOUBLE)
    assert (session.input_name, session.input_shape, session.input_dtype) == ("x", ("batch", 3), np.float32)
    assert session.output_names == ("y",)
    assert (session.provider, provider_name(session)) == ("cpu", "CPUExecutionProvider")
    assert (session.name, session.fixed_batch, open_session(DOUBLE_4).fixed_batch) == ("<bytes>", None, 4)
    assert session.load_ms > 0


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 11])
def test_fixed_batch_is_chunked_and_padded(n: int) -> None:
    (y,) = open_session(DOUBLE_4).run(rows(n))
    np.testing.assert_array_equal(y, 2 * rows(n))


def test_dynamic_batch_is_chunked_by_the_batch_asked_for() -> None:
    (y,) = open_session(COUNTS).run(rows(5), batch=2)
    np.testing.assert_array_equal(y - rows(5), [[2] * 3] * 4 + [[1] * 3])


@pytest.mark.parametrize(
    ("kind", "dtype", "given", "expected"),
    [
        ("float16", np.float16, [1.5, 0, -1], [3, 0, -2]),
        ("double", np.float64, [1.5, 0, -1], [3, 0, -2]),
        ("int32", np.int32, [1.6, 0.2, -1.4], [4, 0, -2]),  # rounded
        ("uint8", np.uint8, [100.4, 0, -7], [200, 0, 0]),  # rounded and clipped
    ],
)
def test_input_is_cast_to_the_models_dtype(kind: str, dtype: type, given: list[float], expected: list[float]) -> None:
    # the addition stands between casts, as onnxruntime adds no uint8
    to = 1
    back = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = text_model(
        f"({kind}[batch, 3] x) => ({kind}[batch, 3] y)",
        f"f = Cast <to = {to}> (x) g = Add(f, f) y = Cast <to = {back}> (g)",
    )
    (y,) = open_session(model).run(np.array([given], dtype=np.float32))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[0], expected)


@pytest.mark.parametrize("shape", [(0, 3), (2, 4), (2, 3, 1), ()])
def test_data_that_do_not_fit_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="<bytes>, input x"):
        open_session(DOUBLE).run(np.zeros(shape, np.float32))


def test_output_without_a_batch_axis_runs_in_one_chunk_only() -> None:
    # a mean over everything: a scalar
    model = text_model("(float[batch, 3] x) => (float m)", "m = ReduceMean <keepdims = 0> (x)")
    session = open_session(model)
    assert session.run(rows(2))[0] == pytest.approx(2.5)
    with pytest.raises(ModelError, match=r"output m: shape \(\) for a batch of 1"):
        session.run(rows(2), batch=1)


def test_failure_while_running_is_a_model_error(capfd: pytest.CaptureFixture[str]) -> None:
    # batch declared dynamic, but the reshape holds for 2 rows only
    model = text_model("(float[batch, 3] x) => (float[two, three] y) <int64[2] s = {2, 3}>", "y = Reshape(x, s)")
    with pytest.raises(ModelError, match="batch of 5") as caught:
        open_session(model).run(rows(5))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (b"", NotOnnxError),
        (b"not a model at all", NotOnnxError),
        (DOUBLE[: len(DOUBLE) // 2], NotOnnxError),
        (text_model("(float[n] x) => (float[n] y)", "y = NoSuchOp(x)"), ModelError),
        (text_model("(float[n] x, float[n] z) => (float[n] y)", "y = Add(x, z)"), ModelError),
        (text_model("(string[n] x) => (string[n] y)", "y = Identity(x)"), ModelError),
    ],
)
def test_models_refused_on_one_line_and_silently(
    model: bytes, error: type[SeamError], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error) as caught:
        open_session(model)
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_paths_that_are_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="no such file"):
        open_session(tmp_path / "missing.onnx")
    with pytest.raises(PathError, match="is a folder"):
        open_session(tmp_path)


def test_initializers_that_are_graph_inputs_too_are_no_inputs() -> None:
    proto = onnx.load_from_string(SHIFTED)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, []))
    assert open_session(proto.SerializeToString()).input_name == "x"


def opened_or_refused(provider: Provider) -> Session | UsageError:
    try:
        return open_session(DOUBLE, provider)
    except UsageError as error:
        return error


@pytest.mark.parametrize("provider", ["auto", "cuda", "tensorrt"])
def test_provider_is_the_real_one_or_refused(provider: Provider, capfd: pytest.CaptureFixture[str]) -> None:
    found = opened_or_refused(provider)
    if isinstance(found, Session):
        assert found.provider == provider or (provider, found.provider) == ("auto", "cpu")
        assert provider_name(found).lower().startswith(found.provider)
    else:
        assert provider != "auto"
        assert f"provider {provider}" in str(found)
    assert capfd.readouterr() == ("", "")


def test_provider_that_the_build_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert open_session(DOUBLE, "auto").provider == "cpu"
    with pytest.raises(UsageError, match="not in this build"):
        open_session(DOUBLE, "cuda")
    with pytest.raises(NotOnnxError):
        open_session(b"broken", "cuda")  # the model is to blame, not the provider


QUANTISED = """<ir_version: 8, opset_import: ["" : 13]>
g (float[n, 4] x) => (float[n, 2] y)
<float one = {1.0}, uint8 zero = {0}, int8[4, 2] w = {127, 127, 127, 127, 127, -127, 127, -127}, int8 w_zero = {0},
 float step = {1024.0}, uint8 middle = {128}>
{
  q = QuantizeLinear(x, one, zero)
  d = DequantizeLinear(q, one, zero)
  v = DequantizeLinear(w, one, w_zero)
  s = MatMul(d, v)
  t = QuantizeLinear(s, step, middle)
  y = DequantizeLinear(t, step, middle)
}"""
"""x (N, 4) in 0..255, whole; 255 times 127 four times is 129,540, and two of those are more than 16 bits hold."""


def test_exact_sessions_never_clip_sums_of_quantised_products() -> None:
    session = open_session(onnx.parser.parse_model(QUANTISED).SerializeToString(), exact=True)
    for opened in (session, session.again()):
        (y,) = opened.run(np.full((8, 4), 255.0, np.float32))
        assert opened.exact
        np.testing.assert_array_equal(y, np.tile([[127 * 1024.0, 0.0]], (8, 1)))  # 129,540 in steps of 1024


def test_bad_session_options() -> None:
    with pytest.raises(UsageError, match="choose from cpu, cuda, tensorrt, auto"):
        open_session(DOUBLE, "gpu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="threads -1"):
        open_session(DOUBLE, threads=-1)


# statistics


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_wilson_known_values(correct: int, n: int, low: float, high: float) -> None:
    interval = wilson(correct, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_limits() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    for correct, n, level in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(DataError):
            wilson(correct, n, level)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_and_widens_with_the_level(case: tuple[int, int]) -> None:
    narrow, wide = wilson(*case, level=0.8), wilson(*case, level=0.99)
    assert narrow.contains(case[0] / case[1])
    assert 0 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1


def pairs(b: int, c: int, both: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return np.array([1] * b + [0] * c + [1] * both), np.array([0] * b + [1] * c + [1] * both)


def test_mcnemar_known_values() -> None:
    exact, large = mcnemar(*pairs(10, 2)), mcnemar(*pairs(30, 15))
    assert (exact.b, exact.c, exact.exact) == (10, 2, True)
    assert exact.p == pytest.approx(2 * 79 / 4096)
    assert (large.b, large.c, large.exact) == (30, 15, False)
    assert large.p == pytest.approx(0.03689, abs=1e-5)  # chi-square 14^2 / 45
    assert mcnemar(*pairs(0, 0)).p == 1.0
    with pytest.raises(DataError):
        mcnemar([True], [True, False])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_a_probability(b: int, c: int) -> None:
    one, other = mcnemar(*pairs(b, c)), mcnemar(*pairs(c, b))
    assert (one.b, one.c) == (other.c, other.b)
    assert one.p == other.p
    assert 0 < one.p <= 1
    assert b != c or one.p == 1


def test_ratio_interval_known_values() -> None:
    assert ratio_interval([0.5] * 10) == Interval(0.5, 0.5)
    assert ratio_interval([0.5]) == Interval(0.0, math.inf)
    two = ratio_interval([0.5, 2.0])  # mean logarithm 0, standard error ln 2, one degree of freedom
    assert (two.low, two.high) == pytest.approx((2**-12.706, 2**12.706))


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=12), st.floats(0.1, 10))
def test_ratio_interval_scales_with_the_ratios(ratios: list[float], factor: float) -> None:
    one, other = ratio_interval(ratios), ratio_interval([factor * ratio for ratio in ratios])
    assert (other.low, other.high) == pytest.approx((factor * one.low, factor * one.high))
    assert one.low <= math.exp(np.log(ratios).mean()) * (1 + 1e-9)


@pytest.mark.parametrize("count", [3, 10, 20])
def test_ratio_interval_covers_as_often_as_it_says(count: int) -> None:
    drawn = np.random.default_rng(0).lognormal(0, 0.01, (2000, count))
    assert np.mean([ratio_interval(row).contains(1.0) for row in drawn]) == pytest.approx(0.955, abs=0.02)


@pytest.mark.parametrize("bad", [[], [[1.0]], [0.0], [-1.0, 1.0], [math.nan], [math.inf]])
def test_ratio_interval_refuses_what_is_no_ratio(bad: list[float]) -> None:
    with pytest.raises(DataError):
        ratio_interval(bad)


# accuracy

# four samples of labels 0, 0, 1, 2, answered 0, 1, 1, 1
SCORES = np.array([[3, 1, 0], [0, 2, 1], [0, 5, 0], [0, 1, 0.5]])
LABELS = np.array([0, 0, 1, 2])


def test_classification_known_values() -> None:
    result = classification(SCORES, LABELS)
    assert (result.accuracy.correct, result.accuracy.total, result.accuracy.value) == (2, 4, 0.5)
    assert result.accuracy.interval == wilson(2, 4)
    np.testing.assert_array_equal(result.confusion, [[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert [label.support for label in result.labels] == [2, 1, 1]
    assert [label.precision for label in result.labels] == [1.0, pytest.approx(1 / 3), None]
    assert [label.recall for label in result.labels] == [0.5, 1.0, 0.0]
    assert [label.f1 for label in result.labels] == [pytest.approx(2 / 3), 0.5, 0.0]
    assert (result.balanced, result.ties) == (0.5, 0)


def test_labels_that_never_occur_are_undefined_not_zero() -> None:
    absent = classification(np.eye(3)[:2], [0, 1]).labels[2]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (None, None, None, 0)


def test_calibration_error_known_values() -> None:
    sure = np.array([[0.9, 0.1]] * 4)
    assert classification(sure, [0, 0, 0, 1]).calibration_error == pytest.approx(0.15)  # 75 % at 90 %
    mixed = np.array([[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2)  # 100 % at 90 %, 50 % at 60 %
    assert classification(mixed, [0, 0, 0, 1]).calibration_error == pytest.approx(0.1)
    assert classification(np.log(mixed), [0, 0, 0, 1]).calibration_error == pytest.approx(0.1)  # as logits


def test_kind_of_scores_decides_the_calibration() -> None:
    gap = (1 / 3 + 1 / 2) / 2
    cut = np.array([[0.2, 0.1, 0.7], [0.3, 0.3, 0.4]])[:, :2]  # two columns of a softmax over three
    assert not are_probabilities(cut)
    assert classification(cut, [0, 0], "probabilities").calibration_error == pytest.approx(gap)
    assert classification(cut, [0, 0], "logits").calibration_error != pytest.approx(gap)
    assert are_probabilities(np.full((2, 1000), 1 / 1000, np.float16))


@pytest.mark.parametrize("activation", [None, "Softmax", "LogSoftmax", "Sigmoid"])
def test_scores_are_taken_back_to_logits(activation):
    """Up to a constant a sample where they come of a softmax"""
    logits = np.random.default_rng(0).normal(0, 1.5, (50, 7)).astype(np.float32)  # of 12, a sigmoid leaves two digits
    found = as_logits(activated(logits, activation))
    offset = (found - logits).mean(1, keepdims=True) if activation in ("Softmax", "LogSoftmax") else 0
    assert np.allclose(found - offset, logits, atol=1e-3)
    assert found.dtype == np.float32


def test_saturated_sigmoids_stay_finite():
    found = as_logits(np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 1.0]], np.float32))
    assert np.isfinite(found).all()
    assert (found.argmax(1) == [1, 0]).all()


def test_ties_go_to_the_lowest_index_and_are_counted() -> None:
    constant = np.zeros((4, 3))
    result = classification(constant, LABELS)
    assert (result.accuracy.correct, result.ties) == (2, 4)
    np.testing.assert_array_equal(answers(constant), 0)


def test_agreement_counts_equal_answers() -> None:
    result = agreement(SCORES, -SCORES)
    assert (result.correct, result.total) == (0, 4)
    assert agreement(SCORES, 2 * SCORES + 1).value == 1.0
    with pytest.raises(DataError):
        agreement(SCORES, SCORES[:, :2])


def test_ruled_out_labels_may_be_minus_infinity() -> None:
    result = classification([[0.0, -math.inf], [-math.inf, -math.inf]], [0, 0])
    assert result.accuracy.value == 1.0
    assert result.calibration_error == pytest.approx(0.25)  # confidences 1 and 1/2, both right


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_name_the_sample(bad: float) -> None:
    scores = SCORES.copy()
    scores[2, 1] = bad
    for judge in (
        lambda: accuracy(scores, LABELS),
        lambda: classification(scores, LABELS),
        lambda: answers(scores),
    ):
        with pytest.raises(ModelError, match="sample 2 "):
            judge()


@pytest.mark.parametrize(
    ("labels", "error"), [([0, 0, 1], DataError), ([0, 0, 1, 3], DataError), ([0.0] * 4, DataError)]
)
def test_labels_that_do_not_fit_are_refused(labels: list[float], error: type[SeamError]) -> None:
    with pytest.raises(error, match="labels"):
        accuracy(SCORES, labels)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3, 2)])
def test_outputs_without_a_label_axis_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="no label axis"):
        accuracy(np.zeros(shape), LABELS)


@settings(max_examples=50)
@given(hnp.arrays(np.float32, (7, 4), elements=st.floats(-50, 50, width=32)), st.data())
def test_classification_adds_up(scores: np.ndarray, data: st.DataObject) -> None:
    labels = data.draw(hnp.arrays(np.int64, 7, elements=st.integers(0, 3)))
    result = classification(scores[:, :, None, None], labels)
    assert result.confusion.sum() == 7
    assert np.trace(result.confusion) == result.accuracy.correct == accuracy(scores, labels).correct
    assert result.accuracy.interval.contains(result.accuracy.value)
    assert 0 <= result.calibration_error <= 1
    assert 0 <= result.balanced <= 1
    assert agreement(scores, np.eye(4)[labels]).correct == result.accuracy.correct


def test_a_pair_is_judged_on_the_same_samples() -> None:
    truth = np.array([0, 1, 1, 2])
    original, pruned = np.eye(3)[[0, 1, 0, 0]], np.eye(3)[[0, 0, 1, 1]]
    found = validate.paired(truth == 1, original, pruned, truth)
    assert [one.correct for one in (found.free, found.original.accuracy, found.pruned.accuracy)] == [2, 2, 2]
    assert (found.difference.b, found.difference.c, found.agreement.correct) == (1, 1, 1)
    assert found.pruned.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]


# parity


def test_compare_judges_relative_to_the_references_range() -> None:
    a, b = np.array([[0.0, 10.0]]), np.array([[0.0, 10.5]])
    assert compare([a], [b]) == Parity(0.5, 10.0, 0.05, 1)


def test_compare_reports_the_output_that_differs_most() -> None:
    large, small = np.array([[0.0, 1000.0]]), np.array([[0.0, 1.0]])
    found = compare([large, small], [large + 1, small + 0.5])
    assert (found.max_abs, found.relative) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([2.0, 2.0], [2.0, 2.5], Parity(0.5, 2.0, 0.25, 2)),  # constant: against its magnitude
        ([0.0, 0.0], [0.0, 0.5], Parity(0.5, 1.0, 0.5, 2)),  # zero: as it is
        # rounding noise is no range
        ([1.0, 1 + 2**-23], [1.0, 1.0], Parity(2**-23, 1 + 2**-23, 2**-23 / (1 + 2**-23), 2)),
    ],
)
def test_compare_constant_outputs(a: list[float], b: list[float], expected: Parity) -> None:
    assert compare([np.array(a, np.float32)], [np.array(b, np.float32)]) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_a_number_on_one_side_only_is_an_infinite_difference(bad: float) -> None:
    good, broken = np.array([1.0, 2.0]), np.array([1.0, bad])
    assert compare([good], [broken]).relative == math.inf
    assert compare([broken], [good]).relative == math.inf
    assert compare([broken], [broken]).max_abs == 0
    with pytest.raises(ParityError):
        assert_parity(compare([good], [broken]), 1e9, "test")


def test_compare_refuses_other_shapes_and_numbers() -> None:
    a = np.zeros((2, 3))
    for other in ([], [a, a], [a[:, :2]]):
        with pytest.raises(ParityError):
            compare([a], other)
    with pytest.raises(ParityError):
        compare([], [])


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=16)), st.integers(-6, 6))
def test_parity_of_equals_is_zero_and_free_of_scale(a: np.ndarray, power: int) -> None:
    assert compare([a], [a.copy()]).relative == 0
    b = a[::-1]
    scale = np.float32(2.0**power)
    plain, scaled = compare([a], [b]), compare([a * scale], [b * scale])
    assert scaled.relative == plain.relative
    assert compare([b], [a]).max_abs == plain.max_abs


def test_parity_of_two_models(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    path.write_bytes(DOUBLE)
    assert parity(path, open_session(DOUBLE_4), rows(5)).max_abs == 0
    off = parity(DOUBLE, SHIFTED, rows(5))
    assert off == Parity(0.5, 28.0, 0.5 / 28, 5)
    assert_parity(off, 0.02, "shifting")
    with pytest.raises(ParityError, match=r"shifting: outputs differ by 0\.0179"):
        assert_parity(off, 0.01, "shifting")


# latency


def test_measure_reports_every_model_at_every_batch() -> None:
    seen: list[LatencyProgress] = []
    sessions = {"first": open_session(DOUBLE), "second": open_session(SHIFTED)}
    latency = measure(sessions, rows(2), batches=(4, 1), rounds=12, min_seconds=0, seed=3, progress=seen.append)
    assert [(t.model, t.batch) for t in latency.timings] == [
        ("first", 1),
        ("second", 1),
        ("first", 4),
        ("second", 4),
    ]
    assert [(c.model, c.reference, c.batch) for c in latency.comparisons] == [
        ("second", "first", 1),
        ("second", "first", 4),
    ]
    assert [p.round for p in seen] == [*range(1, 21), *range(1, 21)]  # 12 at least, as many in each of 10 openings
    assert latency.notes == ()
    for timing in latency.timings:
        assert (len(timing.samples), timing.openings) == (20, 10)
        assert timing.warmup_calls >= 100
        assert 0 < min(timing.samples) <= timing.p50 <= timing.p90 <= timing.p95 <= timing.p99
        assert timing.throughput == pytest.approx(1e3 * timing.batch / timing.mean)
    for comparison in latency.comparisons:
        assert comparison.verdict == verdict(comparison.interval)
    assert latency.timing("second", 4).batch == 4
    with pytest.raises(UsageError):
        latency.timing("third")


def test_fixed_batch_is_measured_at_its_own_and_noted() -> None:
    fixed, free = open_session(DOUBLE_4), open_session(DOUBLE)
    alone = measure({"a": fixed}, rows(1), batches=(1,), rounds=2, min_seconds=0)
    assert [(t.model, t.batch) for t in alone.timings] == [("a", 4)]
    assert alone.notes == ("a has its batch fixed at 4: not measured at 1",)
    mixed = measure({"a": fixed, "b": free}, rows(1), batches=(1,), rounds=2, min_seconds=0)
    assert [(t.model, t.batch) for t in mixed.timings] == [("b", 1), ("a", 4), ("b", 4)]
    assert [(c.model, c.batch) for c in mixed.comparisons] == [("b", 4)]


def test_time_limits_decide_the_rounds() -> None:
    session = open_session(DOUBLE)
    short = measure({"a": session}, rows(1), rounds=500, max_seconds=0)
    assert (len(short.timings[0].samples), short.timings[0].openings) == (12, 3)
    few = measure({"a": session}, rows(1), rounds=3, min_seconds=0, max_seconds=0)
    assert len(few.timings[0].samples) == 3
    more = measure({"a": session}, rows(1), rounds=1, min_seconds=0.05)
    assert len(more.timings[0].samples) > 1


def test_measure_refuses_nonsense() -> None:
    session = open_session(DOUBLE)
    for sessions, options in (({}, {}), ({"a": session}, {"batches": (0,)}), ({"a": session}, {"rounds": 0})):
        with pytest.raises(UsageError):
            measure(sessions, rows(1), **options)
    with pytest.raises(DataError):
        measure({"a": session}, rows(0))
    with pytest.raises(DataError):
        measure({"a": session}, np.zeros((1, 7), np.float32))


def test_turns_are_interleaved_shuffled_and_preceded_by_one_free_call() -> None:
    def order(seed: int) -> list[str]:
        log: list[str] = []
        calls = {name: (lambda name=name: log.append(name)) for name in "ab"}
        found = take_turns(calls, {"a": 1, "b": 2}, 20, np.random.default_rng(seed), lambda _: log.append("|"))
        assert {name: len(samples) for name, samples in found.items()} == {"a": 20, "b": 20}
        return "".join(log).strip("|").split("|")

    assert set(order(0)) == {"aabbb", "bbbaa"}
    assert order(0) == order(0) != order(1)


def test_warm_up_stops_when_stable_or_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = iter([50.0, 9, 5, 4, 3] + [1.0] * 100)
    monkeypatch.setattr(clock, "_sample", lambda call, loops: next(steady))
    state = warm_up(lambda: None)
    assert (state.calls, state.ms, state.stable) == (20, 1.0, True)
    rising = iter(1.2**n for n in range(1000))
    monkeypatch.setattr(clock, "_sample", lambda call, loops: next(rising))
    assert not warm_up(lambda: None).stable


def test_samples_last_long_enough_for_the_clock() -> None:
    assert [WarmUp(10, ms, True).loops for ms in (0.05, 0.19, 0.2, 30.0)] == [4, 2, 1, 1]


def test_verdict_needs_the_whole_interval_clear_of_one() -> None:
    assert verdict(Interval(0.5, 0.9)) == "faster"
    assert verdict(Interval(1.1, 1.5)) == "slower"
    assert verdict(Interval(0.5, 1.0)) == "no difference"
    assert verdict(Interval(0.95, 0.985)) == "no difference"  # within 2 %, as two sessions of one file
    assert verdict(Interval(0.95, 0.985), margin=0) == "faster"


@given(st.floats(0, 1), st.floats(1, 10), st.floats(0, 0.5))
def test_an_interval_with_one_in_it_is_never_a_gain(low: float, high: float, margin: float) -> None:
    assert verdict(Interval(low, high), margin) == "no difference"


def test_comparisons_of_known_samples() -> None:
    session, warm = open_session(DOUBLE), [WarmUp(10, 1.0, True)] * 10
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (3, 100))
    timings = [
        summarise(name, 1, session, warm, tuple(scale * row))
        for name, scale, row in zip(("old", "new", "same"), (2.0, 1.0, 2.0), noise, strict=True)
    ]
    new, same = comparisons(timings, "old")
    assert (new.verdict, same.verdict) == ("faster", "no difference")
    assert new.interval.contains(new.ratio)
    assert new.ratio == pytest.approx(0.5, abs=0.05)


def test_openings_that_differ_widen_the_interval() -> None:
    """Samples that hardly vary within an opening say nothing of what another opening would give."""
    session, warm = open_session(DOUBLE), [WarmUp(10, 1.0, True)] * 4
    old = summarise("old", 1, session, warm, tuple(np.full(400, 1.0)))
    new = summarise("new", 1, session, warm, tuple(np.repeat([0.9, 1.05, 0.92, 1.01], 100)))
    (one,) = comparisons([old, new], "old")
    assert medians(new).tolist() == [0.9, 1.05, 0.92, 1.01]
    assert one.interval.low < 0.9 < 1.05 < one.interval.high
    assert one.verdict == "no difference"


def test_models_are_opened_anew_in_alternating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    again = Session.again

    def watched(session: Session) -> Session:
        opened.append(session.name)
        return again(session)

    monkeypatch.setattr(Session, "again", watched)
    sessions = {name: replace(open_session(DOUBLE), name=name) for name in "ab"}
    measure(sessions, rows(1), rounds=4, min_seconds=0)
    assert "".join(opened) == "baabba"  # the first opening is the sessions given


def test_input_and_outputs_can_be_bound_to_a_device() -> None:
    session = open_session(DOUBLE)
    binding = clock._bind(session, session.prepare(rows(2)), "cpu")
    session.ort.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], 2 * rows(2))


# cost and environment


def test_file_bytes_counts_external_data(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y) { y = MatMul(x, w) }'
    )
    proto.graph.initializer.append(weight)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert file_bytes(path) == path.stat().st_size + 36
    assert open_session(path).run(np.eye(3, dtype=np.float32))[0].sum() == 9
    (tmp_path / "text").write_text("no model")
    with pytest.raises(NotOnnxError):
        file_bytes(tmp_path / "text")


def test_cost_of_a_model_is_its_own_not_this_process(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    path.write_bytes(DOUBLE)
    ballast = np.ones(60_000_000)  # 480 MB; Linux would count them in a child's ru_maxrss
    cost = model_cost(path, loads=1)
    assert ballast.nbytes == 480_000_000
    assert cost.file_bytes == len(DOUBLE)
    assert cost.load_ms > 0
    assert cost.peak_bytes is None or 10_000_000 < cost.peak_bytes < 400_000_000


def test_peak_memory_needs_to_know_the_shape(tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(text_model("(float[n, m] x) => (float[n, m] y)", "y = Relu(x)"))
    assert peak_memory(path) is None
    peak = peak_memory(path, item=(3,))
    assert sys.platform == "win32" or (peak is not None and peak > 10_000_000)


def test_environment_is_text_and_names_no_place() -> None:
    facts = environment()
    wanted = {
        "cpu",
        "cores",
        "simd",
        "os",
        "python",
        "onnxruntime",
        "onnxruntime_build",
        "providers",
        "numpy",
    }
    assert wanted <= set(facts) <= wanted | {"gpu"}
    assert all(isinstance(value, str) and value for value in facts.values())
    assert str(Path.home()) not in " ".join(facts.values())


# the package


def test_results_become_json() -> None:
    latency = measure({"a": open_session(DOUBLE)}, rows(1), rounds=3, min_seconds=0)
    results = {
        "latency": latency,
        "classification": classification(SCORES, LABELS),
        "parity": Parity(math.inf, 1.0, math.inf, 1),
        "mcnemar": mcnemar(*pairs(3, 1)),
        "size": np.int64(3),
    }
    read = json.loads(json.dumps(to_json(results), allow_nan=False))
    assert read["latency"]["timings"][0]["samples"] == list(latency.timings[0].samples)
    assert read["classification"]["accuracy"]["value"] == 0.5
    assert read["classification"]["confusion"][0] == [1, 1, 0]
    assert float(read["parity"]["max_abs"]) == math.inf
    assert read["size"] == 3
    with pytest.raises(TypeError, match="object"):
        to_json(object())


def test_public_names_exist_and_the_package_needs_no_torch() -> None:
    assert validate.__all__ == sorted(validate.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(validate, name) for name in validate.__all__)
    code = "import sys, seam_onnx.validate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# real models


def test_mnist_from_the_model_zoo_has_its_accuracy() -> None:
    model = real("onnx/ort_mnist.onnx")  # IR 3, batch fixed at 1, pixels 0..255
    with gzip.open(real("mnist/t10k-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(real("mnist/t10k-labels-idx1-ubyte.gz")) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    (scores,) = open_session(model).run(images.astype(np.float32))
    found = accuracy(scores, labels)
    assert found.total == 10_000
    assert found.correct == pytest.approx(9891, abs=2)  # another CPU may round differently
    assert found.interval.contains(0.9891)


def test_half_precision_squeezenet_runs() -> None:
    session = open_session(real("onnx/winml_SqueezeNet_fp16.onnx"))  # initializers are graph inputs too
    x = np.random.default_rng(0).uniform(-120, 130, (3, 3, 224, 224)).astype(np.float32)
    (scores,) = session.run(x)
    assert (session.input_name, session.input_dtype, session.fixed_batch) == ("data_0", np.float16, 1)
    assert (scores.shape, scores.dtype) == ((3, 1000, 1, 1), np.float16)
    assert are_probabilities(scores.reshape(3, -1))
    assert classification(scores, answers(scores)).accuracy.value == 1.0


def test_the_same_network_from_both_exporters_agrees() -> None:
    a, b = (real(f"onnx/cifar10_resnet20_{name}.onnx") for name in ("dynamo", "legacy13"))
    x = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    assert_parity(parity(a, b, x), 1e-5, "exporting")
