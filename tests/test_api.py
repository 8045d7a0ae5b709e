"""The commands as functions, and what importing the package costs."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from commands import DIGITS, cut_digits
from refusals import refusal
from reports import report

import seam_onnx
from seam_onnx.data import RawSplits
from seam_onnx.errors import DataError, GateError, UsageError
from seam_onnx.request import Request
from seam_onnx.settings import dump

MODEL, DATA = DIGITS / "model.onnx", DIGITS / "data.npz"
FEW = {"epochs": 1, "least": 12, "rounds": 2, "views": 1, "proposals": 2}


def test_every_public_name_is_there_and_documented():
    assert seam_onnx.__all__ == sorted(seam_onnx.__all__)
    assert set(seam_onnx.__all__) <= set(dir(seam_onnx))
    for name in seam_onnx.__all__:
        assert getattr(seam_onnx, name).__name__ == name
        assert getattr(seam_onnx, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'prune'"):
        seam_onnx.prune  # noqa: B018


def test_importing_costs_nothing():
    code = "import sys, seam_onnx; sys.exit(any(m in sys.modules for m in ('numpy', 'onnx', 'torch', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recipes_init_and_inspection_do_without_torch_and_onnxruntime(tmp_path):
    code = f"""
import sys, seam_onnx
from seam_onnx.recipe import load_recipe
from seam_onnx.blank import blank_recipe
from seam_onnx.model import load
seam_onnx.inspect_model({str(MODEL)!r})
blank_recipe(load({str(MODEL)!r}), "m", "o")
import seam_onnx_cli.main
sys.exit("torch" in sys.modules or "onnxruntime" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("form", ["path", "arrays", "pair"])
def test_a_prune(form, tmp_path):
    with np.load(DATA) as arrays:
        given = {"path": str(DATA), "arrays": dict(arrays), "pair": (arrays["x_train"], arrays["y_train"])}[form]
    more = {} if form == "path" else {"mean": 0.3044, "std": [0.3759]}
    found = seam_onnx.reengineer(str(MODEL), [3, 8], given, tmp_path / "small.onnx", target="macs=0.4", **FEW, **more)
    assert found.problem.labels == ("3", "8")
    assert found.after.macs <= 0.4 * found.before.macs
    assert found.proof.test.restricted.value > 0.95
    assert found.recipe["search"]["epochs"] == 1
    said = {prop.key: prop.value for prop in onnx.load(tmp_path / "small.onnx").metadata_props}
    assert said["seam.recipe.sha256"] == found.recipe_hash
    assert found.recipe["data"]["path"] == (str(DATA) if form == "path" else "arrays")
    onnx.checker.check_model(onnx.load(tmp_path / "small.onnx"))


@pytest.fixture
def asked(monkeypatch):
    """The requests that reach the search, which is skipped."""
    found: list[Request] = []

    def stand_in(request: Request, observer: object) -> object:
        found.append(request)
        return report(recipe=dump(request))

    monkeypatch.setattr("seam_onnx.pipeline.reengineer", stand_in)
    return found


def test_a_report_is_a_recipe_again(asked, tmp_path):
    first = seam_onnx.reengineer(MODEL, "3", DATA, tmp_path / "o.onnx", granularity="weight", epochs=7, batches=(1, 16))
    again = seam_onnx.reengineer(recipe=first.recipe)
    other = seam_onnx.reengineer(recipe=first.recipe, output=tmp_path / "other.onnx", labels="8")
    assert asked[0] == asked[1]
    assert first.recipe_hash == again.recipe_hash != other.recipe_hash
    assert (asked[2].labels, asked[2].seam.epochs, asked[2].batches) == ("8", 7, (1, 16))


def test_a_recipe_file_and_keywords(asked, tmp_path):
    (tmp_path / "r.yaml").write_text(
        f"model: {MODEL}\ntask: {{labels: 3}}\nsearch: {{epochs: 5}}\noutput: {{json: r.json}}"
    )
    seam_onnx.reengineer(recipe=str(tmp_path / "r.yaml"), data=DATA, output=tmp_path / "o.onnx", epochs=2)
    assert (asked[0].recipe.epochs, asked[0].labels) == (2, "3")
    assert (tmp_path / "r.json").is_file()


def test_a_failed_gate_raises_once_everything_is_written(asked, tmp_path):
    with pytest.raises(GateError, match=r"gates: accuracy>=99%: FAILED, 94.00%") as caught:
        seam_onnx.reengineer(
            MODEL, "3", DATA, tmp_path / "o.onnx", require=["parity", "accuracy>=99%"], json=tmp_path / "r.json"
        )
    assert caught.value.exit_code == 1
    assert caught.value.report.proof.test.pruned.total == 200
    assert len(caught.value.failed) == 1
    assert (tmp_path / "r.json").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"epoch": 5}, ("keyword epoch", "did you mean epochs?")),
        ({"epochs": "many"}, ("epochs 'many'", "is not a number above 0")),
        ({"labels": [True]}, ("labels [True]", "a list of texts")),
        ({"labels": None}, ("labels", "is missing")),
        ({"granularity": "row"}, ("granularity 'row'", "one of channel, weight")),
        ({"json": "-"}, ("is for the command",)),
        ({"require": "acuracy>=1"}, ("use accuracy",)),
    ],
)
def test_what_makes_no_sense(more, words, asked, tmp_path):
    with refusal(UsageError, *words, code=2):
        seam_onnx.reengineer(**{"model": MODEL, "labels": "3", "data": DATA, "output": tmp_path / "o.onnx"} | more)
    assert not asked


def test_arrays_that_do_not_fit(asked, tmp_path):
    with refusal(DataError, "arrays x", "3 samples but 2 labels", code=2):
        seam_onnx.reengineer(MODEL, "3", (np.zeros((3, 8, 8), np.uint8), np.zeros(2, int)), tmp_path / "o.onnx")
    with refusal(DataError, "x_train", code=2):
        seam_onnx.reengineer(MODEL, "3", {"images": np.zeros((3, 8, 8), np.uint8)}, tmp_path / "o.onnx")
    seam_onnx.reengineer(MODEL, "3", (np.zeros((3, 8, 8), np.uint8), [0, 1, 2]), tmp_path / "o.onnx")
    assert isinstance(asked[0].data, RawSplits)
    assert len(asked[0].data.train) == 3


def test_the_other_functions(tmp_path):
    small = cut_digits(tmp_path / "small.onnx", "3,8")
    found = seam_onnx.compare_models(str(MODEL), small, DATA, labels=[3, 8])
    assert found.paired.agreement.value == 1
    timed = seam_onnx.bench_models(MODEL, str(small), rounds=3, min_seconds=0, batches=[1, 2])
    assert [model.name for model in timed.models] == ["model.onnx", "small.onnx"]
    assert seam_onnx.inspect_model(str(MODEL)).labels == tuple("0123456789")
    plan = seam_onnx.compact_model(small, tmp_path / "compact.onnx")
    assert plan.widths
    assert (tmp_path / "compact.onnx").is_file()
    with refusal(UsageError, "keyword split", "known are batches, data", code=2):
        seam_onnx.bench_models(MODEL, split="all")
