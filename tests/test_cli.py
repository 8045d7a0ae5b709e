"""The `seam-onnx` command as a person meets it: what it writes and prints, and how it says no."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from commands import QUICK
from files import NET
from graphs import DIGITS, gap, parse, proto_of, run
from PIL import Image
from seam_onnx_cli.main import run as command

from seam_onnx.channels import analyze
from seam_onnx.judge import Judge
from seam_onnx.model import load
from seam_onnx.search.train import Trainer
from seam_onnx.surgery import apply_masks, channel_masks

DATA = DIGITS.parent / "data.npz"
SEAM_ONNX = Path(sys.executable).with_name("seam-onnx")


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def say(monkeypatch, capfd):
    """Run the command in this process."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["seam-onnx", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            command()
        return Said(left.value.code or 0, *capfd.readouterr())

    return call


def prune(*more: object, model: Path = DIGITS, labels: str = "3,8", data: Path = DATA) -> tuple[object, ...]:
    return ("prune", model, "--labels", labels, "--data", data, "--epochs", 1, *QUICK, *more)


def weights(*more: object) -> tuple[object, ...]:
    """A prune by masks on single weights."""
    return ("prune", DIGITS, "--labels", "3,8", "--data", DATA, "--granularity", "weight", *more)


def refused(said: Said, code: int, *words: str) -> None:
    """Exactly one line on stderr, with these words, and nothing on stdout."""
    assert said.code == code, said
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert said.out == ""
    for word in words:
        assert word in said.err


# ---- what works -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """One whole run on the shipped model, by the installed command."""
    folder = tmp_path_factory.mktemp("shipped")
    words = ["prune", DIGITS, "--labels", "3,8", "--data", DATA, "-o", folder / "new" / "small.onnx"]
    words += ["--json", folder / "report.json", "--batch", "1,16"]
    words += [f"--set=search.{one}" for one in ("least=240", "epochs=4", "rounds=3", "views=3", "proposals=2")]
    done = subprocess.run([SEAM_ONNX, *map(str, words)], capture_output=True, text=True, timeout=500, check=False)
    return folder, Said(done.returncode, done.stdout, done.stderr)


def test_prune_prints_a_table_and_says_nothing_on_stderr(shipped):
    _, said = shipped
    assert (said.code, said.err) == (0, "")
    for row in ("accuracy, wanted", "parameters", "MACs", "file", "latency, batch 1 ", "latency, batch 16 "):
        assert row in said.out
    assert "labels: 3, 8" in said.out
    assert "mean 0.3044" in said.out  # the preprocessing as it was resolved


def test_the_report_has_the_figures_of_the_table(shipped):
    folder, said = shipped
    report = json.loads((folder / "report.json").read_text())
    assert report["schema_version"] == 1
    test = report["proof"]["test"]
    for who in ("original", "restricted", "pruned"):
        assert f"({test[who]['correct']}/{test[who]['total']})" in said.out
    assert report["after"]["macs"] <= 0.3 * report["before"]["macs"]
    assert f"{report['after']['macs'] / report['before']['macs']:.1%}" in said.out
    assert f"{report['after']['file_bytes'] / 1024:.0f} KiB" in said.out
    assert report["after"]["file_bytes"] == (folder / "new" / "small.onnx").stat().st_size
    assert [c["batch"] for c in report["proof"]["latency"]["comparisons"]] == [1, 16]
    assert report["problem"]["labels"] == ["3", "8"]
    assert test["pruned"]["total"] == report["problem"]["samples"]["test"]


def test_the_pruned_model_answers_the_wanted_labels(shipped):
    folder, _ = shipped
    small, original = onnx.load(folder / "new" / "small.onnx"), onnx.load(DIGITS)
    onnx.checker.check_model(small, full_check=True)
    with np.load(DATA) as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    p = json.loads((DIGITS.parent / "preprocess.json").read_text())
    chosen = np.isin(y, (3, 8))
    x = ((x[chosen] * p["scale"] - p["mean"]) / p["std"]).transpose(0, 3, 1, 2).astype(np.float32)
    (scores,) = run(small, {small.graph.input[0].name: x})
    assert scores.shape == (len(x), 2)
    assert (np.array([3, 8])[scores.argmax(1)] == y[chosen]).mean() > 0.95
    assert [v.name for v in small.graph.input] == [v.name for v in original.graph.input]
    assert [v.name for v in small.graph.output] == [v.name for v in original.graph.output]
    assert small.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [d.dim_value for d in small.graph.output[0].type.tensor_type.shape.dim][1:] == [2]
    assert (small.ir_version, small.opset_import[0].version) == (original.ir_version, original.opset_import[0].version)


def test_the_metadata_says_what_the_outputs_are(shipped):
    folder, _ = shipped
    props = {p.key: p.value for p in onnx.load(folder / "new" / "small.onnx").metadata_props}
    assert json.loads(props["names"]) == json.loads(props["seam.labels"]) == ["3", "8"]
    assert json.loads(props["seam.index_map"]) == {"3": 3, "8": 8}
    assert props["seam.source.sha256"] == load(DIGITS).sha256


def test_only_what_was_asked_for_is_written(shipped):
    folder, _ = shipped
    written = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
    assert written == ["new", "new/small.masks.safetensors", "new/small.onnx", "report.json"]


def test_quiet_prints_one_line_and_force_replaces(say, tmp_path):
    output, report = tmp_path / "small.onnx", tmp_path / "r.json"
    for path in (output, report):
        path.write_text("old")
    refused(say(*prune("-o", output)), 2, "small.onnx", "exists already", "--force")
    refused(say(*prune("-o", tmp_path / "b.onnx", "--json", report)), 2, "r.json", "exists already")
    assert output.read_text() == report.read_text() == "old"
    said = say(*prune("-o", output, "--json", report, "--force", "--quiet"))
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    assert load(output).opset == load(DIGITS).opset
    assert json.loads(report.read_text())["command"].startswith("seam-onnx prune")


def test_json_to_stdout_is_json_and_nothing_else(say, tmp_path):
    said = say(*weights("-o", tmp_path / "small.onnx", "--json", "-", "--epochs", 1))
    assert (said.code, said.err) == (0, "")
    report = json.loads(said.out)
    assert report["search"]["granularity"] == "weight"
    assert report["search"]["recover"] == "head"
    assert report["search"]["target"] == ""


def digits_as_files(folder: Path, each: int) -> Path:
    """Some of the digits as class folders of PNG files, and the same as a table."""
    with np.load(DATA) as given:
        x, y = given["x_train"], given["y_train"]
    lines = ["path,label"]
    for label in range(10):
        (folder / "d" / str(label)).mkdir(parents=True)
        for k in np.flatnonzero(y == label)[:each]:
            Image.fromarray(x[k, :, :, 0]).save(folder / "d" / str(label) / f"{k}.png")
            lines.append(f"d/{label}/{k}.png,{label}")
    (folder / "d.csv").write_text("\n".join(lines))
    return folder / "d"


@pytest.mark.parametrize("form", ["d", "d.csv"])
def test_images_from_files(form, say, tmp_path):
    digits_as_files(tmp_path, 15)
    flags = ("--mean", ".3044", "--std", ".3759", "--channels", "gray", "--augment", "none", "--val", DATA)
    words = prune("-o", tmp_path / "o.onnx", "--json", "-", *flags, data=tmp_path / form)
    refused(say(*words), 2, "data.npz", "not divided")
    said = say(*words[:-2])
    assert (said.code, said.err) == (0, "")
    report = json.loads(said.out)
    assert report["problem"]["samples"] == {"train": 18, "val": 6, "test": 6}
    assert "mean 0.3044, std 0.3759, augment none" in report["problem"]["preprocess"]
    assert any("no test split" in note for note in report["problem"]["notes"])
    assert report["proof"]["test"]["restricted"]["value"] > 0.9


def test_inspect(say, tmp_path):
    said = say("inspect", DIGITS, "--json", tmp_path / "i.json")
    assert (said.code, said.err) == (0, "")
    found = json.loads((tmp_path / "i.json").read_text())
    assert "opset 17" in said.out
    assert f"{found['macs']:,.0f} MACs" in said.out
    assert "pinned: " in said.out
    assert found["labels"] == [str(k) for k in range(10)]
    assert {g["name"] for g in found["groups"]}
    for group in found["groups"]:
        assert group["name"] in said.out
        assert 0 < group["macs"] < found["macs"]
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert 0 <= found["params"] - sum(layer["params"] for layer in found["layers"]) < 10  # single numbers
    multiplying = [layer["node"] for layer in found["layers"] if layer["macs"]]
    assert multiplying == [n.name for n in load(DIGITS).graph if n.op_type in WEIGHTED]
    assert all(blocker["unblock"] for blocker in found["blockers"])
    only_json = say("inspect", DIGITS, "--json", "-")
    assert json.loads(only_json.out) == found


WEIGHTED = ("Conv", "Gemm")
"""Ops of the digits model that have weights."""


def test_inspect_draws_the_groups(say, tmp_path):
    said = say("inspect", DIGITS, "--svg", tmp_path / "d.svg")
    assert (said.code, said.err) == (0, "")
    drawn = ElementTree.fromstring((tmp_path / "d.svg").read_text())
    titles = [e.text for e in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == sum(n.op_type in WEIGHTED for n in load(DIGITS).graph)
    assert "10 pinned" in titles[-1]
    heights = [float(e.get("height")) for e in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert min(heights) > 0
    assert say("inspect", DIGITS, "--svg", "-").out == (tmp_path / "d.svg").read_text()
    refused(say("inspect", DIGITS, "--svg", DIGITS), 2, "is an input file")
    same = tmp_path / "x"
    refused(say("inspect", DIGITS, "--svg", same, "--json", same), 2, "--svg", "another file of this command")


def test_inspect_and_compact_start_without_what_they_do_not_use(tmp_path):
    """In processes of their own: neither torch nor onnxruntime, nor sympy, which takes longer than the work"""
    script = (
        "import sys\nfrom seam_onnx_cli.main import run\ntry:\n run()\nexcept SystemExit as left:\n assert not left.code\n"
        "print(sorted({'torch', 'onnxruntime', 'matplotlib', 'sympy.core'} & set(sys.modules)))"
    )
    for words in (["inspect", DIGITS, "--svg", tmp_path / "g.svg"], ["compact", DIGITS, "-o", tmp_path / "m.onnx"]):
        command_line = [sys.executable, "-c", script, *map(str, words)]
        ended = subprocess.run(command_line, capture_output=True, text=True, check=True)
        assert ended.stdout.splitlines()[-1] == "[]"


def test_compact_removes_what_a_mask_left_dead(say, tmp_path):
    model = load(DIGITS)
    channels = analyze(model)
    dead = np.concatenate([g.channels[: len(g.channels) // 2] for g in channels.groups])
    masked = proto_of(apply_masks(model, channel_masks(model, channels, channels.without(dead))))
    onnx.save(masked, tmp_path / "masked.onnx")
    words = ("compact", tmp_path / "masked.onnx", "--plan", tmp_path / "plan.json")
    planned = say(*words, "--dry-run")
    assert planned.code == 0
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["masked.onnx", "plan.json"]
    refused(say(*words, "-o", tmp_path / "small.onnx"), 2, "plan.json", "exists already")
    said = say(*words, "-o", tmp_path / "small.onnx", "--force")
    assert (said.code, said.err) == (0, "")
    assert "small.onnx: parameters" in said.out
    x = {"image": np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)}
    small = onnx.load(tmp_path / "small.onnx")
    assert gap(run(small, x)[0], run(masked, x)[0]) < 1e-5
    assert (tmp_path / "small.onnx").stat().st_size < 0.6 * (tmp_path / "masked.onnx").stat().st_size
    assert json.loads((tmp_path / "plan.json").read_text())


def test_compact_says_what_it_needs(say, tmp_path):
    refused(say("compact", DIGITS), 2, "output", "-o FILE")
    refused(say("compact", DIGITS, "-o", DIGITS, "--force"), 2, "model.onnx", "is an input file")


def test_help_version_and_nothing(say):
    assert say("--version").out.startswith("seam-onnx 0.")
    assert "Exit codes" in say("--help").out
    assert say().code == 2
    for name in ("prune", "inspect", "compact"):
        assert "Example" in say(name, "--help").out


# ---- stopping -------------------------------------------------------------------------------------------------------


def interrupt(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("where", "method"), [(Trainer, "step"), (Judge, "prove"), (Judge, "check_sanity")])
def test_ctrl_c_leaves_nothing(say, tmp_path, monkeypatch, where, method):
    monkeypatch.setattr(where, method, interrupt)
    said = say(*prune("-o", tmp_path / "new" / "small.onnx", "--json", tmp_path / "r.json"))
    assert said == Said(130, "", "interrupted: nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_was_there(say, tmp_path, monkeypatch):
    (tmp_path / "small.onnx").write_text("old")
    monkeypatch.setattr(Judge, "prove", interrupt)
    assert say(*prune("-o", tmp_path / "small.onnx", "--force")).code == 130
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("small.onnx", "old")]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process there")
def test_sigint_from_outside(tmp_path):
    words = [SEAM_ONNX, *map(str, weights("-o", tmp_path / "small.onnx", "--epochs", 3000))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(8)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert Said(running.returncode, out, err) == Said(130, "", "interrupted: nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_at_the_very_end_leaves_nothing(say, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(Judge, "prove", fail)
    refused(say(*prune("-o", tmp_path / "new" / "small.onnx")), 70, "RuntimeError: two lines", "--debug")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--target", "macs=0.1"),
        ("--set", "search.rounds=3"),
        ("--schedule", "published", "--keep", 0.1),
        ("--schedule", "published", "--set", "search.distill=0.5"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words, say, tmp_path):
    refused(say(*weights("-o", tmp_path / "small.onnx", *words)), 2, "does nothing with", "leave it out, or choose")


# ---- bad input: the model -------------------------------------------------------------------------------------------


def net(folder: Path, change: object = None, **how: object) -> Path:
    """A file with a tiny classifier of five classes for images 3x8x8, changed."""
    proto = parse(NET)
    if callable(change):
        change(proto)
    onnx.save(proto, folder / "model.onnx", **how)
    return folder / "model.onnx"


def with_nan(proto: onnx.ModelProto) -> None:
    array = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    array.flat[3] = np.nan
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))


def without_classes(proto: onnx.ModelProto) -> None:
    del proto.graph.node[2:]
    proto.graph.output[0].name = "r"
    proto.graph.output[0].type.tensor_type.ClearField("shape")


def with_unknown_op(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Frobnicate"
    proto.graph.node[1].domain = "my.own"
    proto.opset_import.append(onnx.helper.make_opsetid("my.own", 1))


def truncated(folder: Path) -> Path:
    whole = net(folder).read_bytes()
    (folder / "model.onnx").write_bytes(whole[: len(whole) * 2 // 3])
    return folder / "model.onnx"


def text(folder: Path) -> Path:
    (folder / "model.onnx").write_text("no model at all\n")
    return folder / "model.onnx"


def without_external(folder: Path) -> Path:
    path = net(folder, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()
    return path


BAD_MODELS = {
    "text": (text, 3, ("model.onnx", "not an ONNX file")),
    "truncated": (truncated, 3, ("model.onnx", "cut off", "export it again")),
    "external": (without_external, 3, ("weights.bin", "is missing", "beside the model")),
    "nan": (lambda f: net(f, with_nan), 3, ("'w'", "NaN", "export again")),
    "classes": (lambda f: net(f, without_classes), 3, ("class axis", "give a classifier")),
    "op": (lambda f: net(f, with_unknown_op), 3, ("Frobnicate",)),
    "missing": (lambda f: f / "none.onnx", 2, ("none.onnx", "no such file")),
    "folder": (lambda f: f, 2, ("no such file",)),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_model_that_cannot_be_worked_on(case, say, tmp_path):
    make, code, words = BAD_MODELS[case]
    (tmp_path / "in").mkdir()
    model = make(tmp_path / "in")
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8), y=np.arange(60) % 5)
    before = sorted(tmp_path.rglob("*"))
    refused(say(*prune("-o", tmp_path / "out" / "o.onnx", model=model, labels="1,2", data=data)), code, *words)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("case", ["text", "truncated", "external", "missing"])
def test_inspect_and_compact_refuse_the_same(case, say, tmp_path):
    make, code, words = BAD_MODELS[case]
    model = make(tmp_path)
    refused(say("inspect", model), code, *words)
    refused(say("compact", model, "-o", tmp_path / "out" / "o.onnx"), code, *words)
    assert not (tmp_path / "out").exists()


def test_debug_shows_a_traceback(tmp_path):
    words = [SEAM_ONNX, "--debug", "inspect", str(text(tmp_path))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "NotOnnxError" in done.stderr


# ---- bad input: labels, numbers, paths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("12", ("'12'", "0..9")),
        ("-3", ("'-3'", "0..9")),
        ("tree", ("'tree'", "no such class", "'0'")),
        ("3,3", ("class 3 again", "once")),
        ("3-12", ("0..9",)),
        ("", ("no label is named",)),
        ("@nowhere.txt", ("nowhere.txt", "No such file")),
    ],
)
def test_labels_that_the_model_does_not_have(labels, words, say, tmp_path):
    refused(say(*prune("-o", tmp_path / "o.onnx", labels=labels)), 2, *words)
    assert list(tmp_path.iterdir()) == []


def test_near_matches_of_an_unknown_label(say, tmp_path):
    (tmp_path / "n.txt").write_text(
        "\n".join(["aeroplane", "bicycle", "kitten", "puppy"] + [f"n{i}" for i in range(6)])
    )
    said = say(*prune("-o", tmp_path / "o.onnx", "--names", tmp_path / "n.txt", labels="areoplane"))
    refused(said, 2, "'areoplane'", "did you mean 'aeroplane'?")
    refused(say(*prune("-o", tmp_path / "o.onnx", "--names", tmp_path / "m.txt")), 2, "m.txt", "No such file")
    (tmp_path / "n.txt").write_text("a\nb\n")
    refused(say(*prune("-o", tmp_path / "o.onnx", "--names", tmp_path / "n.txt")), 2, "2 of them", "10 classes")


BAD_OPTIONS = {
    ("--target", "macs"): "macs=0.3",
    ("--target", "macs=1.5"): "macs=0.3",
    ("--target", "time=0.3"): "macs=0.3",
    ("--target", "macs=nan"): "macs=0.3",
    ("--batch", "0"): "list of whole numbers above 0; the default is 1",
    ("--batch", "1.5"): "above 0",
    ("--batch", "1,-4"): "above 0",
    ("--batch", "a"): "above 0",
    ("--mean", "a,b,c"): "--mean 'a,b,c': is not a list of numbers",
    ("--mean", "nan"): "list of numbers",
    ("--mean", ".1,.2"): "2 numbers for 1 channel",
    ("--std", "0"): "not 0",
    ("--scale", "inf"): "is not a number",
    ("--size", "big"): "is not a size",
    ("--size", "0"): "is not a size",
    ("--size", "9"): "the model takes",
    ("--layout", "nwhc"): "nchw, nhwc",
    ("--channels", "rgba"): "rgb, bgr",
    ("--augment", "rotate"): "crop, flip, zoom",
    ("--shape", "seq"): "name=size",
    ("--rate", "-1"): "is not a number above 0; the default is 0.003",
    ("--rate", "0"): "number above 0",
    ("--mask-rate", "nan"): "number above 0",
    ("--seed", "-1"): "--seed '-1': is not a whole number of at least 0",
    ("--epochs", "0"): "--epochs",
    ("--epochs", "many"): "--epochs 'many': is not a number above 0; the default is 80",
    ("--alpha", "-1"): "--alpha",
    ("--threads", "-2"): "--threads",
    ("--width-step", "0"): "--width-step",
    ("--granularity", "row"): "is not one of channel, weight",
    ("--recover", "all"): "one of none, bn, fast, finetune",
    ("--device", "abacus"): "abacus",
    ("--provider", "abacus"): "abacus",
    ("--frob", "1"): "No such option",
    ("--preprocess", "nowhere.json"): "nowhere.json",
    ("--val", "nowhere.npz"): "nowhere.npz",
    ("--names", "nowhere.txt"): "nowhere.txt",
    ("--data", "nowhere"): "nowhere",
}


@pytest.mark.parametrize("option", BAD_OPTIONS, ids=" ".join)
def test_an_option_that_makes_no_sense(option, say, tmp_path):
    refused(say(*prune("-o", tmp_path / "o.onnx", *option)), 2, BAD_OPTIONS[option])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_option(say):
    refused(say("prune", DIGITS, "--labels", "3"), 2, "data: is missing; give --data, or data.path in a recipe")
    refused(say("prune"), 2, "model: is missing", "seam-onnx prune --help")
    refused(say("frob"), 2, "frob", "--help")


def test_an_output_that_cannot_be_written(say, tmp_path):
    (tmp_path / "file").write_text("x")
    refused(say(*prune("-o", tmp_path)), 2, "is a folder", "give a file name")
    refused(say(*prune("-o", tmp_path / "file" / "o.onnx")), 2, "is no folder")
    refused(say(*prune("-o", tmp_path / "o.onnx", "--json", tmp_path / "file" / "r.json")), 2, "is no folder")
    refused(say(*prune("-o", tmp_path / "o.onnx", "--json", tmp_path / "o.onnx")), 2, "another file of this command")
    if Path("/proc/self").is_dir():
        refused(say(*prune("-o", "/proc/self/o.onnx")), 2, "/proc/self")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_input_is_ever_written_over(say, tmp_path):
    for source in (DIGITS, DATA, DIGITS.parent / "preprocess.json"):
        shutil.copy(source, tmp_path)
    model, data, config = (tmp_path / name for name in ("model.onnx", "data.npz", "preprocess.json"))
    before = {p: p.read_bytes() for p in (model, data, config)}
    (tmp_path / "link.onnx").symlink_to(model)
    for target in (*before, tmp_path / "link.onnx"):
        words = prune("--force", "--preprocess", config, model=model, data=data)
        refused(say(*words, "-o", target), 2, target.name, "is an input file")
        refused(say(*words, "-o", tmp_path / "o.onnx", "--json", target), 2, target.name, "is an input file")
    assert {p: p.read_bytes() for p in before} == before
    assert not (tmp_path / "o.onnx").exists()


# ---- bad input: data ------------------------------------------------------------------------------------------------


def arrays(folder: Path, **given: object) -> Path:
    np.savez(folder / "d.npz", **given)
    return folder / "d.npz"


def images(folder: Path) -> Path:
    """Ten classes of four images each."""
    for k in range(10):
        (folder / "d" / str(k)).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8), 20 * k + i, np.uint8)).save(folder / "d" / str(k) / f"{i}.png")
    return folder / "d"


def broken_image(folder: Path) -> Path:
    (images(folder) / "3" / "1.png").write_bytes(b"\x89PNG broken")
    return folder / "d"


def empty_class(folder: Path) -> Path:
    for file in (images(folder) / "3").iterdir():
        file.unlink()
    return folder / "d"


def table(folder: Path, *lines: str) -> Path:
    images(folder)
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    return folder / "d.csv"


X, Y = np.zeros((60, 8, 8, 1), np.uint8), np.arange(60) % 10
BAD_DATA = {
    "shape": (lambda f: arrays(f, x=np.zeros((60, 5), np.float32), y=Y), ("array of shape", ", 5)", "(N, H, W, C)")),
    "size": (lambda f: arrays(f, x=np.zeros((60, 9, 9, 1), np.float32), y=Y), ("8",)),
    "dtype": (lambda f: arrays(f, x=X.astype(np.int32), y=Y), ("int32", "uint8")),
    "labels": (lambda f: arrays(f, x=X, y=Y.astype(np.float32)), ("float32", "integers")),
    "outside": (lambda f: arrays(f, x=X, y=Y + 5), ("14", "0..9")),
    "lengths": (lambda f: arrays(f, x=X, y=Y[:50]), ("60 samples", "50 labels")),
    "keys": (lambda f: arrays(f, images=X, y=Y), ("'x_train'", "x and y")),
    "absent": (lambda f: arrays(f, x=X, y=np.where(Y == 8, 0, Y)), ("'8'", "no sample")),
    "constant": (lambda f: arrays(f, x=X, y=Y), ("near chance", "--mean", "--names")),
    "image": (broken_image, ("1.png", "does not decode", "repair or remove")),
    "empty class": (empty_class, ("d/3", "holds no image")),
    "csv column": (lambda f: table(f, "path,kind", "d/3/1.png,3"), ("path, kind",)),
    "csv one": (lambda f: table(f, "d/3/1.png"), ("line 1", "no label")),
    "csv file": (lambda f: table(f, "d/3/1.png,3", "d/3/9.png,3"), ("line 2", "d/3/9.png")),
    "text": (text, ("model.onnx", "no data set")),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_does_not_fit(case, say, tmp_path):
    make, words = BAD_DATA[case]
    data = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    refused(say(*prune("-o", tmp_path / "out" / "o.onnx", data=data)), 2, *words)
    assert sorted(tmp_path.rglob("*")) == before
