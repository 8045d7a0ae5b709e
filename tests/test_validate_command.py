"""validate, bench, their gates and the serving snippet: real models, the command line in this process.

Nothing here asserts that anything is fast.
"""

import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import DIGITS, cut_digits, seam
from files import halved
from PIL import Image
from reports import Elements

from seam_onnx.bench import BenchRequest, bench
from seam_onnx.comparison import ComparisonRequest, compare_models
from seam_onnx.data import Preprocess, resolve
from seam_onnx.errors import DataError, LabelError, ModelError
from seam_onnx.figures import BENCH, VALIDATE, check_bench, comparison_figures
from seam_onnx.gate_text import parse_gates
from seam_onnx.model import load, save
from seam_onnx.snippet import run_snippet, snippet
from seam_onnx.validate import answers, open_session

MODEL, DATA = DIGITS / "model.onnx", DIGITS / "data.npz"
QUICK = ("--rounds", 3, "--min-seconds", 0)


@pytest.fixture
def command(monkeypatch, capsys):
    return partial(seam, monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(folder):
    return cut_digits(folder / "small.onnx", "3,8")


@pytest.fixture(scope="module")
def worse(folder):
    """The digits model with half of its channels gone, untrained: all ten classes, few of them right."""
    return save(halved(load(MODEL)), folder / "worse.onnx")


def text_model(path: Path, body: str, shape: str = "3", classes: str = "4", **metadata: str) -> Path:
    graph = f"(float[N, {shape}] x) => (float[N, {classes}] y) {{ {body} }}"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> graph {graph}')
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, path)
    return path


# --- validate


def test_an_exact_cut_equals_the_restricted_original(small):
    found = compare_models(ComparisonRequest(MODEL, small, DATA, "3,8"))
    assert found.samples == found.paired.pruned.accuracy.total == 89
    assert found.paired.pruned.accuracy == found.paired.original.accuracy
    assert found.paired.pruned.confusion.tolist() == found.paired.original.confusion.tolist()
    assert found.paired.pruned.calibration_error == pytest.approx(found.paired.original.calibration_error, abs=1e-6)
    assert (found.paired.agreement.correct, found.paired.difference.p) == (89, 1.0)
    assert (found.classes, found.labels) == ({"original": 10, "pruned": 2}, ("3", "8"))
    assert not any("validation was split" in note for note in found.notes)


@pytest.mark.parametrize("labels", ["8,3", "3,8", None])
def test_labels_go_by_the_index_map_in_any_order(small, labels):
    found = compare_models(ComparisonRequest(MODEL, small, DATA, labels))
    assert found.paired.pruned.accuracy.correct == found.paired.original.accuracy.correct
    assert found.labels == tuple((labels or "3,8").split(","))


def test_a_model_without_metadata_goes_by_the_order_of_labels(folder):
    plain = cut_digits(folder / "plain.onnx", "3,8", stamp=False)
    ordered = compare_models(ComparisonRequest(MODEL, plain, DATA, "3,8"))
    swapped = compare_models(ComparisonRequest(MODEL, plain, DATA, "8,3"))
    assert ordered.paired.pruned.accuracy.correct == ordered.paired.original.accuracy.correct
    assert swapped.paired.pruned.accuracy.correct == 89 - ordered.paired.pruned.accuracy.correct
    with pytest.raises(LabelError, match="does not say which"):
        compare_models(ComparisonRequest(MODEL, plain, DATA))
    with pytest.raises(ModelError, match="neither the original's 10 nor the 3"):
        compare_models(ComparisonRequest(MODEL, plain, DATA, "1,2,3"))


def test_a_model_with_all_classes_is_restricted(worse):
    found = compare_models(ComparisonRequest(MODEL, worse, DATA, "1,3,8"))
    assert found.paired.pruned.confusion.shape == (3, 3)
    assert found.paired.pruned.accuracy.value < found.paired.original.accuracy.value
    assert found.paired.difference.c > found.paired.difference.b
    assert any("by the names" in note for note in found.notes)


@pytest.mark.parametrize("names", ["8,3", "8,3,9", "a,b,c,d,e,f,g,h,i,j", ""])
def test_names_go_before_the_number_of_outputs(folder, names):
    """A model made elsewhere: the original with its columns gathered, and what its metadata calls them."""
    columns = [int(name) for name in names.split(",")] if names and names < "a" else list(range(10))
    proto = onnx.load(MODEL)
    proto.graph.node.add(op_type="Gather", input=["logits", "columns"], output=["mine"]).attribute.add(
        name="axis", i=1, type=onnx.AttributeProto.INT
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(columns), "columns"))
    proto.graph.output[0].name = "mine"
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(columns)
    onnx.helper.set_model_props(proto, {"names": names} if names else {})
    onnx.save(proto, folder / "foreign.onnx")
    for labels in ("3,8", "8,3") if len(columns) < 10 else ("3,8", "9,8,7,6,5,4,3,2,1,0"):
        found = compare_models(ComparisonRequest(MODEL, folder / "foreign.onnx", DATA, labels))
        assert found.paired.agreement.value == 1


def test_one_label_against_the_rest(folder):
    one = cut_digits(folder / "one.onnx", "3")
    found = compare_models(ComparisonRequest(MODEL, one, DATA))
    assert found.labels == ("3", "other")
    assert [row.support for row in found.paired.pruned.labels] == [46, 46]


def test_a_rest_is_made_of_the_other_columns(folder):
    three = cut_digits(folder / "three.onnx", "1,3,8")
    found = compare_models(ComparisonRequest(MODEL, three, DATA, "3"))
    assert (found.labels, found.paired.pruned.confusion.shape) == (("3", "other"), (2, 2))
    with pytest.raises(LabelError, match="made for the classes 1, 3, 8"):
        compare_models(ComparisonRequest(MODEL, three, DATA, "3,5"))


def test_all_samples_can_be_judged(small):
    found = compare_models(ComparisonRequest(MODEL, small, DATA, "3,8", split="all"))
    assert found.samples > 300
    assert any("all samples" in note for note in found.notes)


def test_probabilities_and_logits_are_judged_alike(folder):
    """Two classifiers by hand: scores are the input's own columns, one of them behind a softmax."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 4), dtype=np.float32), np.arange(200) % 4
    x[np.arange(200), y] += 1
    np.savez(folder / "columns.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    logits = text_model(folder / "logits.onnx", "y = Identity(x)", "4")
    soft = text_model(folder / "soft.onnx", "y = Softmax<axis = 1>(x)", "4")
    found = compare_models(ComparisonRequest(logits, soft, folder / "columns.npz", "0,2"))
    right = (x[y % 2 == 0][:, [0, 2]].argmax(1) * 2 == y[y % 2 == 0]).sum()
    assert found.paired.pruned.accuracy.correct == found.paired.original.accuracy.correct == right
    assert found.paired.free.correct == (x.argmax(1) == y)[y % 2 == 0].sum()
    assert found.paired.pruned.calibration_error == pytest.approx(found.paired.original.calibration_error, abs=1e-6)


def test_a_model_of_another_original_is_told(small, worse):
    found = compare_models(ComparisonRequest(worse, small, DATA, "3,8"))
    assert any("made from another original" in note for note in found.notes)


def test_no_class_scores_are_refused(folder):
    one = text_model(folder / "scalar.onnx", "y = ReduceSum(x)", "3", "1")
    with pytest.raises(ModelError, match="0 outputs with one score a class"):
        compare_models(ComparisonRequest(one, one, DATA))


def test_parity_with_a_masked_model(small, worse):
    same = compare_models(ComparisonRequest(MODEL, small, DATA, "3,8", masked=small))
    other = compare_models(ComparisonRequest(MODEL, worse, DATA, "3,8", masked=MODEL))
    assert comparison_figures(same)["parity"].value == 1
    assert comparison_figures(other)["parity"].value == 0
    assert "parity" not in comparison_figures(compare_models(ComparisonRequest(MODEL, small, DATA, "3,8")))


def test_validate_prints_tables(command, small):
    ran = command("validate", MODEL, small, "--labels", "3,8", "--data", DATA)
    assert (ran.code, ran.err) == (0, "")
    for text in ("balanced accuracy", "calibration error", "McNemar p", "pruned: label, answer", "index_map"):
        assert text in ran.out


def test_validate_prints_json_alone(command, small):
    ran = command(
        "validate", MODEL, small, "--labels", "3,8", "--data", DATA, "--json", "-", "--require", "accuracy>=original"
    )
    assert ran.code == 0
    assert ran.json["schema_version"] == 1
    assert ran.json["paired"]["pruned"]["accuracy"]["total"] == 89
    assert ran.json["gates"][0]["holds"] is True
    assert ran.json["gates"][0]["limit"] == pytest.approx(ran.json["paired"]["original"]["accuracy"]["value"])


def test_a_failed_gate_is_named_and_the_report_written(command, worse, tmp_path):
    report = tmp_path / "out" / "report.json"
    gates = ("--require", "accuracy>=original-0.5pp", "--require", "size<=1MiB", "--require", "parity")
    ran = command("validate", MODEL, worse, "--labels", "1,3,8", "--data", DATA, "--json", report, *gates)
    assert ran.code == 1
    assert "gate accuracy>=original-0.5pp: FAILED, " in ran.err
    assert "(original 100.00%)" in ran.err
    assert "gate parity: FAILED, was not measured" in ran.err
    assert "size<=1MiB" not in ran.err
    assert "gate size<=1MiB: holds" in ran.out
    assert [gate["holds"] for gate in json.loads(report.read_text())["gates"]] == [False, True, False]


def test_validate_writes_a_page(command, small, tmp_path):
    html, plain = tmp_path / "out" / "page.html", tmp_path / "page.json"
    words = ("validate", MODEL, small, "--labels", "3,8", "--data", DATA, "--report", html, "--json", plain)
    ran = command(*words, "--require", "recall.min>=50%")
    assert (ran.code, ran.err) == (0, "")
    text, found = html.read_text(encoding="utf-8"), json.loads(plain.read_text())["paired"]["pruned"]
    assert Elements(text).open == []
    assert f"{found['accuracy']['value']:.2%} ({found['accuracy']['correct']} of 89;" in text
    assert "recall.min&gt;=50%" in text
    assert "exists already" in command(*words).err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--report", "-"), "is no file name"),
        (("--report", DATA, "--force"), "input file"),
        (("--report", "same", "--json", "same"), "is another file of this command"),
    ],
)
def test_validate_refuses_a_page_that_cannot_be_written(command, small, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    ran = command("validate", MODEL, small, "--data", DATA, *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err
    assert not list(tmp_path.iterdir())


def test_a_senseless_gate_stops_before_any_work(command, tmp_path):
    ran = command("validate", tmp_path / "absent", tmp_path / "absent", "--data", DATA, "--require", "acuracy>=1")
    assert ran.code == 2
    assert "column 1" in ran.err
    assert ran.err.count("\n") == 1


def test_quiet_is_one_line(command, small):
    ran = command("validate", MODEL, small, "--data", DATA, "--quiet", "--require", "accuracy>=50%")
    assert (ran.code, ran.out.count("\n"), ran.err) == (0, 1, "")


# --- bench


def test_bench_keeps_every_sample_and_names_models(worse, folder):
    found = bench(BenchRequest((MODEL, worse, MODEL), batches=(1, 3), rounds=4, min_seconds=0))
    names = [model.name for model in found.models]
    assert names == [f"{MODEL} (1)", "worse.onnx", f"{MODEL} (2)"]
    assert [(t.model, t.batch, len(t.samples)) for t in found.latency.timings] == [
        (name, batch, 4) for batch in (1, 3) for name in names
    ]
    assert all(model.cost.load_ms > 0 and model.cost.file_bytes > 0 for model in found.models)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["schema_version"] == 1


def test_bench_gates_hold_for_every_model_but_the_first(worse):
    found = bench(BenchRequest((MODEL, worse, MODEL), batches=(1, 3), rounds=3, min_seconds=0))
    texts = ["size<original", "latency.p50@3<=100*original", "latency.ratio.high>=0", "latency.p50@7<=1s"]
    results = check_bench(parse_gates(texts, BENCH), found)
    assert [result.model for result in results] == ["worse.onnx"] * 4 + [f"{MODEL} (2)"] * 4
    assert [result.holds for result in results] == [True, True, True, False, False, True, True, False]
    assert (
        check_bench(parse_gates(["latency.p50<=1s"], BENCH), found)[0].value
        == found.latency.timing("worse.onnx", 1).p50
    )


def test_one_model_is_measured_alone(command):
    ran = command("bench", MODEL, *QUICK, "--require", "latency.p99<=100s", "--require", "size<original")
    assert ran.code == 1
    assert "gate model.onnx: latency.p99<=100s: holds" in ran.out
    assert "size<original: FAILED, the original has no such figure" in ran.err


def test_bench_prints_what_stands_behind_the_figures(command, worse, tmp_path):
    report = tmp_path / "bench.json"
    ran = command("bench", MODEL, worse, *QUICK, "--batch", "1,2", "--json", report)
    assert ran.code == 0
    for text in ("onnxruntime_build", "threads: 1", "peak memory", "items/s", "normal, seed 0", "worse.onnx, batch 2"):
        assert text in ran.out
    assert len(json.loads(report.read_text())["latency"]["timings"][0]["samples"]) == 3


def test_bench_takes_its_input_from_data(command):
    ran = command("bench", MODEL, *QUICK, "--batch", 2, "--data", DATA, "--json", "-")
    assert ran.code == 0
    assert ran.json["options"]["input"] == f"first samples of {DATA}"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["wide.onnx"], 3, "takes samples of 5, narrow.onnx of 3"),
        (["deep.onnx"], 3, "takes samples of 3x3, narrow.onnx of 3"),
        (["open.onnx"], 0, ""),
        (["absent.onnx"], 2, "no such file"),
        (["--batch", "0"], 2, "whole numbers above 0"),
        (["--require", "accuracy>=1"], 2, "is not measured here"),
        (["--provider", "abacus"], 2, "abacus"),
    ],
)
def test_bench_refuses(command, tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    for name, shape in (("narrow", "3"), ("wide", "5"), ("deep", "3, 3"), ("open", "K")):
        text_model(Path(f"{name}.onnx"), "y = Relu(x)", shape, shape)
    ran = command("bench", "narrow.onnx", *words, *QUICK)
    assert (ran.code, ran.err.count("\n")) == (code, int(code > 0))
    assert says in ran.err


def test_an_open_size_is_asked_for(command, tmp_path):
    model = text_model(tmp_path / "open.onnx", "y = Relu(x)", "K", "K")
    assert "give --shape K=SIZE" in command("bench", model, *QUICK).err
    assert command("bench", model, *QUICK, "--shape", "K=7").code == 0


# --- the example in docs


def test_the_github_actions_example_runs(command, small, tmp_path, monkeypatch):
    yaml = pytest.importorskip("yaml")
    text = (DIGITS.parents[1] / "docs" / "github-actions.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["gates"]["steps"]
    commands = [shlex.split(step["run"]) for step in steps if "seam-onnx " in step.get("run", "")]
    assert [words[1] for words in commands] == ["prune", "validate", "bench"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(DIGITS.parent)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "small.onnx").write_bytes(small.read_bytes())  # stands in for the prune of half a minute
    validate, bench = (command(*words[1:]) for words in commands[1:])
    assert (validate.code, validate.err) == (0, "")
    assert bench.code in (0, 1)  # whether it is faster is not for a test to say
    for words, ran in zip(commands[1:], (validate, bench), strict=True):
        for gate in [words[k + 1] for k, word in enumerate(words) if word == "--require"]:
            assert f"{gate}: " in ran.out + ran.err
    assert {path.name for path in (tmp_path / "build").glob("*.json")} == {"validate.json", "bench.json"}


def test_the_commands_do_without_torch(small):
    code = f"""
import sys
from pathlib import Path
from seam_onnx.comparison import ComparisonRequest, compare_models
from seam_onnx.figures import comparison_figures
comparison_figures(compare_models(ComparisonRequest(Path({str(MODEL)!r}), Path({str(small)!r}), Path({str(DATA)!r}))))
import seam_onnx.bench
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- serving


def digits_preprocess() -> Preprocess:
    return resolve((None, 1, 8, 8), DIGITS / "preprocess.json")


def test_the_snippet_answers_as_the_tool_does(small, tmp_path):
    with np.load(DATA) as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    mine = np.flatnonzero((y == 3) | (y == 8))[:3]
    preprocess = digits_preprocess()
    (scores,) = open_session(small).run(preprocess(x[mine]))
    (tmp_path / "small.onnx").write_bytes(small.read_bytes())
    script = tmp_path / "serve.py"
    script.write_text(snippet(tmp_path / "small.onnx", preprocess, ("3", "8")))
    for index, answer in zip(mine, answers(scores), strict=True):
        Image.fromarray(x[index, ..., 0]).save(tmp_path / "image.png")
        assert run_snippet(script, tmp_path / "image.png") == ("3", "8")[answer]


def test_the_snippet_is_short_and_needs_onnxruntime_and_pillow_alone(small):
    lines = snippet(small, digits_preprocess(), ("3", "8")).splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert len([line for line in lines if line and line not in imports]) <= 15
    assert imports == [
        "import sys", "from pathlib import Path", "import numpy as np", "import onnxruntime", "from PIL import Image",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(size=(6, 9)),
        Preprocess(size=(6, 9), resample="nearest", scale=1.0, mean=(103.9, 116.8, 123.7), channels="bgr"),
        Preprocess(size=(6, 5), resize="shorter", resize_to=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        Preprocess(size=(7, 7), resize="shorter", layout="nhwc", resample="bicubic"),
        Preprocess(size=(5, 6), channels="gray"),
        Preprocess(layout="nhwc"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "I;16"])
def test_the_snippets_input_is_the_tools(preprocess, mode, tmp_path):
    """The steps of the script, executed here on an image, against `Preprocess`, bit for bit."""
    from seam_onnx.data.decode import decode

    rng = np.random.default_rng(1)
    shape = {"L": (11, 13), "I;16": (11, 13), "RGBA": (11, 13, 4)}.get(mode, (11, 13, 3))
    kind = np.uint16 if mode == "I;16" else np.uint8
    pixels = rng.integers(np.iinfo(kind).max, size=shape).astype(kind)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    count, sides = preprocess.channel_count, preprocess.size or (11, 13)
    dims = (count, *sides) if preprocess.layout == "nchw" else (*sides, count)
    body = "f = Flatten(x) y = Softmax(f)"
    model = text_model(tmp_path / "m.onnx", body, ", ".join(map(str, dims)), str(np.prod(dims)))
    script = snippet(model, preprocess, [str(k) for k in range(np.prod(dims))])
    start, end = script.index("image = Image.open"), script.index("session = ")
    scope = {"Image": Image, "np": np, "sys": type("sys", (), {"argv": ["", str(tmp_path / "image.png")]})}
    exec(script[start:end], scope)
    expected = preprocess.normalize(decode([tmp_path / "image.png"], preprocess))[0]
    assert scope["x"].dtype == np.float32
    np.testing.assert_array_equal(scope["x"], expected)


def test_the_snippet_fills_a_fixed_batch_and_casts(tmp_path):
    graph = "(float16[4, 3, 2, 2] x) => (float16[4, 12] y) { y = Flatten(x) }"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> graph {graph}')
    onnx.save(proto, tmp_path / "fixed.onnx")
    script = tmp_path / "serve.py"
    script.write_text(snippet(tmp_path / "fixed.onnx", Preprocess(size=(2, 2)), [f"n{k}" for k in range(12)]))
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[1, 0, 2] = 255  # blue, second row: 2 * 4 + 2
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert run_snippet(script, tmp_path / "image.png") == "n10"
    with pytest.raises(ModelError, match="fails on"):
        run_snippet(script, tmp_path / "absent.png")


def test_no_snippet_without_images_or_names(small):
    with pytest.raises(DataError, match="does not take images"):
        snippet(small, Preprocess(layout="none"), ("3", "8"))
    with pytest.raises(DataError, match="1 names for 2 outputs"):
        snippet(small, digits_preprocess(), ("3",))


def test_every_metric_of_validate_is_measured(small):
    found = compare_models(ComparisonRequest(MODEL, small, DATA, "3,8", masked=small))
    figures = comparison_figures(found)
    families = {name.partition(".")[0] + ".*" for name in figures} | set(figures)
    assert set(VALIDATE) <= families
