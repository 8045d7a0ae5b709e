"""Gates: the grammar, its errors with their columns, and what holds."""

from pathlib import Path
from types import SimpleNamespace as Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import judged

from seam_onnx.errors import UsageError
from seam_onnx.figures import BENCH, PRUNE, VALIDATE, report_figures
from seam_onnx.gate_text import parse_gate, parse_gates
from seam_onnx.gates import Figure, Limit, Metric, check, failed, shown
from seam_onnx.validate import Latency, Parity, Timing

EVERYTHING = {**VALIDATE, **BENCH, **PRUNE}


@pytest.mark.parametrize(
    ("text", "metric", "operator", "limit"),
    [
        ("accuracy>=original-0.5pp", "accuracy", ">=", Limit(1.0, -0.005)),
        ("accuracy >= original + 1 pp", "accuracy", ">=", Limit(1.0, 0.01)),
        ("accuracy>97%", "accuracy", ">", Limit(0.0, 0.97)),
        ("accuracy>=.97", "accuracy", ">=", Limit(0.0, 0.97)),
        ("accuracy.low>=original", "accuracy.low", ">=", Limit(1.0, 0.0)),
        ("accuracy>=0.95*original", "accuracy", ">=", Limit(0.95, 0.0)),
        ("latency.p50<=0.6*original", "latency.p50", "<=", Limit(0.6, 0.0)),
        ("latency.p50@8 < original*60%", "latency.p50@8", "<", Limit(0.6, 0.0)),
        ("latency.p99<=60%*original+0.5ms", "latency.p99", "<=", Limit(0.6, 0.5)),
        ("latency.mean<=2.5ms", "latency.mean", "<=", Limit(0.0, 2.5)),
        ("load<1.5s", "load", "<", Limit(0.0, 1500.0)),
        ("latency.ratio.high<=0.9", "latency.ratio.high", "<=", Limit(0.0, 0.9)),
        ("size<=200KiB", "size", "<=", Limit(0.0, 204800.0)),
        ("memory<=0.5MiB", "memory", "<=", Limit(0.0, 524288.0)),
        ("macs<=1e6", "macs", "<=", Limit(0.0, 1e6)),
        ("recall.great white shark>=90%", "recall.great white shark", ">=", Limit(0.0, 0.9)),
        ("f1.user@2>=0.9", "f1.user@2", ">=", Limit(0.0, 0.9)),
    ],
)
def test_what_can_be_written(text, metric, operator, limit):
    gate = parse_gate(text, EVERYTHING)
    assert (gate.text, gate.metric, gate.operator) == (text, metric, operator)
    assert (gate.limit.factor, gate.limit.offset) == pytest.approx((limit.factor, limit.offset))


def test_a_flag_stands_alone():
    gate = parse_gate(" parity ", PRUNE)
    assert (gate.metric, gate.kind, gate.operator, gate.limit) == ("parity", "flag", None, None)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "a metric is missing"),
        (">=3", 1, "a metric is missing"),
        ("acuracy>=97%", 1, "use accuracy"),
        ("  acuracy>=97%", 3, "use accuracy"),
        ("recall.>=97%", 1, "not measured here"),
        ("accuracy", 9, "no comparison"),
        ("accuracy=97%", 9, "no comparison"),
        ("accuracy!=97%", 9, "no comparison"),
        ("accuracy>=", 11, "a number or 'original' is missing"),
        ("accuracy>=best", 11, "a number or 'original' is missing"),
        ("accuracy>=originals", 11, "a number or 'original' is missing"),
        ("accuracy>=97", 11, "write 97% or"),
        ("accuracy>=2pp", 11, "pp is a difference"),
        ("accuracy>=original-5%", 20, "0.95*original"),
        ("accuracy>=original-", 20, "a number is missing"),
        ("accuracy>=original-1ms", 20, "ms does not fit"),
        ("accuracy>=0.5*", 15, "a number or 'original' is missing"),
        ("accuracy>=original 0.5pp", 20, "'0.5pp' is not expected"),
        ("accuracy>=97% and size<1", 15, "not expected"),
        ("latency.p50<=3pp", 14, "pp is a difference"),
        ("latency.p50<=3KiB", 14, "KiB does not fit"),
        ("latency.p50<=3ms*original", 14, "ms cannot multiply"),
        ("latency.p50<=original*", 23, "a number is missing"),
        ("latency.ratio<=0.6*original", 20, "has no latency.ratio of its own"),
        ("agreement>=original", 12, "has no agreement of its own"),
        ("size@8<=1KiB", 5, "size has no batch sizes"),
        ("macs<=3%", 7, "% does not fit"),
        ("parity>=1", 7, "true or false"),
        ("latency.p50<=-1ms", 14, "a number or 'original' is missing"),
    ],
)
def test_errors_have_a_column(text, column, says):
    with pytest.raises(UsageError) as error:
        parse_gates(["accuracy>=0.5", text], EVERYTHING)
    assert f"column {column}:" in error.value.why
    assert says in str(error.value)
    assert repr(text) in error.value.what


@pytest.mark.parametrize(("table", "metric"), [(VALIDATE, "latency.p50"), (BENCH, "accuracy"), (PRUNE, "load")])
def test_a_command_refuses_what_it_does_not_measure(table, metric):
    with pytest.raises(UsageError, match="is not measured here"):
        parse_gate(f"{metric}>=1", table)


@given(st.text(alphabet="acuryoigl.p50@*%<>=+- ms", max_size=20))
def test_any_text_is_a_gate_or_a_usage_error(text):
    try:
        gate = parse_gate(text, {"accuracy": Metric("share"), "latency.p50": Metric("ms", batched=True)})
    except UsageError as error:
        why = error.why
    else:
        why = f"column of {gate.metric}" if gate.limit else ""
    assert why.startswith("column ")


FIGURES = {
    "accuracy": Figure(0.925, 0.93),
    "latency.p50": Figure(6.0, 10.0),
    "agreement": Figure(0.9),
    "size": Figure(2048.0, 4096.0),
    "parity": Figure(1.0),
    "recall.cat": Figure(float("nan"), 0.5),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accuracy>=original-0.5pp", True),  # 0.93 - 0.005 is 0.925 but for rounding
        ("accuracy>original-0.5pp", False),
        ("accuracy>original-0.6pp", True),
        ("accuracy>=original-0.4pp", False),
        ("accuracy>=0.995*original", False),
        ("latency.p50<=0.6*original", True),
        ("latency.p50<0.6*original", False),
        ("latency.p50<=0.5*original+1ms", True),
        ("agreement>=90%", True),
        ("size<=2KiB", True),
        ("parity", True),
    ],
)
def test_what_holds(text, holds):
    (result,) = check([parse_gate(text, EVERYTHING)], FIGURES)
    assert result.holds is holds
    assert failed([result]) == (() if holds else (result,))
    assert str(result).startswith(f"{text}: {'holds' if holds else 'FAILED'}, ")


def test_a_failed_gate_names_its_figures():
    (result,) = check([parse_gate("accuracy>=original-0.4pp", VALIDATE)], FIGURES, "small.onnx")
    assert str(result) == (
        "small.onnx: accuracy>=original-0.4pp: FAILED, 92.50% against a limit of 92.60% (original 93.00%)"
    )
    assert (result.value, result.limit) == pytest.approx((0.925, 0.926))


@pytest.mark.parametrize("text", ["latency.p50@8<=9ms", "recall.cat>=0", "recall.dog>=0", "load<1s"])
def test_what_was_not_measured_holds_nothing(text):
    (result,) = check([parse_gate(text, EVERYTHING)], FIGURES)
    assert not result.holds
    assert result.value is None
    assert "was not measured" in str(result)


def test_an_original_without_a_figure_holds_nothing():
    (result,) = check([parse_gate("accuracy>=original", VALIDATE)], {"accuracy": Figure(0.9)})
    assert not result.holds
    assert "original has no such figure" in str(result)


def test_a_false_flag_fails():
    gate = parse_gate("parity", PRUNE)
    (result,) = check([gate], {"parity": Figure(0.0)})
    assert str(result) == "parity: FAILED, false"
    assert check([gate], {})[0].holds is False


def test_figures_are_shown_with_their_unit():
    shares = [shown(0.5, kind) for kind in ("share", "ratio", "ms", "rate", "bytes", "count", "flag")]
    assert shares == ["50.00%", "0.5", "0.5 ms", "0.5/s", "0.0 KiB", "0", "true"]


def test_a_prunes_figures():
    proof = Namespace(
        paired=judged(),
        latency=Latency((timing("original", 2.0), timing("pruned", 1.0)), (), (), 0),
        surgery=(Parity(1e-6, 1.0, 1e-6, 16), Parity(1e-5, 1.0, 1e-5, 16)),
    )
    before, after = (Namespace(file_bytes=n, params=10 * n, macs=100 * n) for n in (200, 50))
    problem = Namespace(labels=("cat", "dog"))
    figures = report_figures(Namespace(problem=problem, proof=proof, before=before, after=after))
    left_out = {"latency.ratio", "latency.ratio.high"}  # of a comparison
    assert set(PRUNE) <= set(figures) | left_out | {"precision.*", "recall.*", "f1.*"}
    assert figures["recall.min"].value <= figures["recall.dog"].value
    texts = ("parity", "accuracy>=original-2pp", "macs<=25%*original", "latency.p50@1<=0.5*original")
    assert not failed(check(parse_gates(texts, PRUNE), figures))
    assert [figures[name] for name in ("accuracy.free", "params")] == [Figure(0.94, 0.75), Figure(500, 2000)]


def timing(model: str, ms: float) -> Timing:
    return Timing(model, 1, "cpu", 1, 10, True, 1, 1, ms, ms, ms, ms, ms, 1 / ms, (ms,))


def test_every_metric_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "gates.md").read_text()
    for name in EVERYTHING:
        plain = name.replace("*", "LABEL")
        assert f"`{plain}`" in text or f"`.{plain.rpartition('.')[2]}`" in text, name
