"""Recipes: what a file, `--set` and options come to, what is refused, and the recipe that `init` writes."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import DIGITS, seam
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal
from reports import report
from seam_onnx_cli.options import PRUNE, flag

from seam_onnx.errors import PathError, UsageError
from seam_onnx.hyperparameters import Recipe
from seam_onnx.keys import keys_of
from seam_onnx.recipe import load_recipe, parse_sets, recipe_settings
from seam_onnx.request import Request
from seam_onnx.settings import dump

MODEL, DATA = DIGITS / "model.onnx", DIGITS / "data.npz"
WHOLE = """\
model: model.onnx
task:
  labels: [cat, "@wanted.txt", "great white shark, Carcharodon"]
  names: names.json
data:
  path: photos
  mean: [.485, .456, .406]
  std: .2
  size: 240x320
  sizes: {seq: 128}
search:
  target: params=0.2
  epochs: 5
  rate: 1e-3
  temperature: 4
judge:
  batches: [1, 16]
  require: [accuracy>=original-0.5pp, parity]
output:
  path: out/small.onnx
  json: "-"
"""


def written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "prune.yaml").write_text(text, encoding="utf-8")
    return folder / "prune.yaml"


def test_a_whole_recipe(tmp_path):
    request = load_recipe(written(tmp_path, WHOLE)).build(Request)
    assert request.model == tmp_path / "model.onnx"
    assert request.labels == f'cat,@{tmp_path}/wanted.txt,"great white shark, Carcharodon"'
    assert (request.names, request.data) == (tmp_path / "names.json", tmp_path / "photos")
    assert (request.flags.mean, request.flags.std, request.flags.size) == ((0.485, 0.456, 0.406), (0.2,), (240, 320))
    assert (request.sizes, request.target, request.batches) == ({"seq": 128}, "params=0.2", (1, 16))
    assert (request.recipe.epochs, request.recipe.rate, request.recipe.temperature) == (5, 1e-3, 4)
    assert request.recipe.rounds == Request.__dataclass_fields__["recipe"].default_factory().rounds
    assert request.delivery.require == ("accuracy>=original-0.5pp", "parity")
    assert request.delivery.piped
    assert request.output == tmp_path / "out" / "small.onnx"


def test_quoted_and_absolute_labels_stay_as_they_are(tmp_path):
    path = written(tmp_path, f"task: {{labels: '\"@home\", 3-7 , @{tmp_path}/a.txt,@b.txt'}}")
    assert load_recipe(path)["labels"].value == f'"@home", 3-7 , @{tmp_path}/a.txt,@{tmp_path}/b.txt'


def test_what_is_dumped_is_a_recipe_for_the_same():
    request = recipe_settings(yaml.safe_load(WHOLE)).build(Request)
    again = recipe_settings(yaml.safe_load(yaml.safe_dump(dump(request)))).build(Request)
    assert dump(again) == dump(request)
    assert (again.recipe, again.flags, again.delivery) == (request.recipe, request.flags, request.delivery)


@given(st.dictionaries(st.sampled_from(["epochs", "batch", "rounds", "views"]), st.integers(1, 99)))
def test_set_is_a_recipe_on_one_line(values):
    sets = parse_sets([f"search.{name}={value}" for name, value in values.items()])
    assert sets.keys() == values.keys()
    assert {name: setting.value for name, setting in sets.items()} == values


def test_set_takes_yaml():
    sets = parse_sets(
        ["data.mean=[.1, .2]", "task.other=true", "task.labels=3,8", "search.rate=null", "data.sizes={n: 3}"]
    )
    assert [setting.value for setting in sets.values()] == [[0.1, 0.2], True, "3,8", None, {"n": 3}]


BAD = {
    "search: {epoch: 5}": ("prune.yaml: search.epoch", "did you mean search.epochs?"),
    "serach: {epochs: 5}": ("prune.yaml: serach", "did you mean search?"),
    "epochs: 5": ("prune.yaml: epochs", "did you mean search.epochs?"),
    "task: {epochs: 5}": ("task.epochs", "did you mean search.epochs?"),
    "search: 5": ("prune.yaml: search", "is a section", "such as search."),
    "search: {epochs: many}": ("prune.yaml: search.epochs 'many'", "is not a number above 0", "default is 80"),
    "search: {epochs: -1}": ("search.epochs -1", "above 0"),
    "search: {granularity: weight, epochs: 1.5}": ("search.epochs 1.5", "whole number", "default is 30"),
    "search: {rounds: [1]}": ("search.rounds [1]", "a whole number above 0"),
    "search: {granularity: row}": ("search.granularity 'row'", "one of channel, weight"),
    "task: {other: 1}": ("task.other 1", "true or false"),
    "task: {labels: [no, yes]}": ("task.labels", "quotes"),
    "task: {labels: 2020-01-01}": ("task.labels '2020-01-01'", "a text"),
    "data: {size: [1, 2, 3]}": ("data.size [1, 2, 3]", "is not a size"),
    "search: {epochs: 1, epochs: 2}": ("prune.yaml", "line 1", "epochs is given twice"),
    "search: {epochs: 1": ("prune.yaml", "is not YAML", "line 1"),
    "search: !!python/object:os.system {}": ("is not YAML",),
    "- 1": ("prune.yaml", "no table of sections"),
    "judge: {require: [acuracy>=1]}": ("column 1", "use accuracy"),
    "output: {report: '-'}": ("only --json can go to stdout",),
    "task: {labels: null}": ("labels", "is missing", "task.labels in a recipe"),
}


@pytest.fixture
def prune(monkeypatch, capsys, tmp_path):
    """`prune` up to the search; gives how it ended and what was asked of the search."""
    asked: list[Request] = []

    def stand_in(request: Request, observer: object) -> object:
        asked.append(request)
        return report(recipe=dump(request))

    monkeypatch.setattr("seam_onnx.pipeline.reengineer", stand_in)

    def call(*words: object):
        ran = seam(monkeypatch, capsys, "prune", *words)
        return ran, asked.pop() if asked else None

    return call


@pytest.mark.parametrize("text", BAD)
def test_a_recipe_that_makes_no_sense(text, prune, tmp_path):
    """Through the command: one line, exit code 2, and no search."""
    path = written(tmp_path, text)
    rest = [] if "labels" in text else ["--labels", "3,8"]
    ran, asked = prune(MODEL, "--recipe", path, *rest, "--data", DATA, "-o", tmp_path / "o.onnx")
    assert (ran.code, ran.out, ran.err.count("\n"), asked) == (2, "", 1, None), ran
    assert all(word in ran.err for word in BAD[text]), ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["prune.yaml"]


def test_a_recipe_that_is_not_there(prune, tmp_path):
    with refusal(PathError, "none.yaml", code=2):
        load_recipe(tmp_path / "none.yaml")
    assert prune(MODEL, "--recipe", tmp_path / "none.yaml")[0].code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("search.epochs", ("--set search.epochs", "is not KEY=VALUE")),
        ("search.epoch=5", ("--set search.epoch", "did you mean search.epochs?")),
        ("search.epochs=[", ("--set search.epochs", "is not YAML")),
    ],
)
def test_a_set_that_makes_no_sense(text, words):
    with refusal(UsageError, *words, code=2):
        parse_sets([text])


def test_precedence(prune, tmp_path):
    text = "search: {epochs: 5, rounds: 3, seed: 1, width_step: 4}\njudge: {require: [parity]}\ntask: {other: true}"
    words = ["--recipe", written(tmp_path, text), "--set", "search.epochs=7", "--set", "search.seed=2", "--seed", 3]
    words += ["--labels", "3,8", "--data", DATA, "-o", tmp_path / "o.onnx", "--set", "search.width_step=null"]
    ran, asked = prune(MODEL, *words)
    assert ran.code == 0, ran
    recipe = asked.recipe
    assert (recipe.epochs, recipe.rounds, recipe.seed, recipe.views, asked.width_step) == (7, 3, 3, Recipe().views, 8)
    assert (asked.other, asked.delivery.require) == (True, ("parity",))
    assert asked.command.startswith("seam-onnx prune")
    _, asked = prune(MODEL, *words, "--require", "size<=1MiB", "--set", "task.other=false")
    assert (asked.other, asked.delivery.require) == (False, ("size<=1MiB",))


def test_the_report_has_the_resolved_recipe(prune, tmp_path):
    path = written(
        tmp_path / "r",
        f"model: {MODEL}\ndata: {{path: {DATA}}}\noutput: {{json: r.json, report: r.html, path: o.onnx}}",
    )
    ran, asked = prune("--recipe", path, "--labels", "3,8", "--epochs", 2)
    assert (ran.code, ran.err) == (0, "")
    found = json.loads((tmp_path / "r" / "r.json").read_text())
    assert found["recipe"] == dump(asked)
    assert found["recipe"]["search"]["epochs"] == 2
    assert re.fullmatch("[0-9a-f]{64}", found["recipe_hash"])
    page = (tmp_path / "r" / "r.html").read_text()
    assert "<details><summary>The whole recipe</summary>" in page
    assert found["recipe_hash"] in page
    assert set(found["recipe"]) == {"model", "task", "data", "search", "judge", "output"}
    assert sum(len(part) for name, part in found["recipe"].items() if name != "model") == len(keys_of(Request)) - 1


def test_a_failed_gate_of_a_recipe_is_exit_1_and_everything_is_written(prune, tmp_path):
    text = "judge: {require: [parity, accuracy>=99.9%]}\noutput: {json: r.json, quiet: true}"
    ran, _ = prune(
        MODEL, "--recipe", written(tmp_path, text), "--labels", "3", "--data", DATA, "-o", tmp_path / "o.onnx"
    )
    assert (ran.code, ran.out.count("\n"), ran.err.count("\n")) == (1, 1, 1)
    assert "gate accuracy>=99.9%: FAILED, 94.00% against a limit of 99.90%" in ran.err
    assert [gate["holds"] for gate in json.loads((tmp_path / "r.json").read_text())["gates"]] == [True, False]


def test_json_to_stdout_and_nothing_else(prune, tmp_path):
    text = "judge: {require: [parity]}\noutput: {json: '-'}"
    ran, _ = prune(
        MODEL, "--recipe", written(tmp_path, text), "--labels", "3", "--data", DATA, "-o", tmp_path / "o.onnx"
    )
    assert (ran.code, ran.err, ran.json["gates"][0]["holds"]) == (0, "", True)


def test_no_colour_where_nobody_looks(prune, tmp_path):
    ran, _ = prune(MODEL, "--labels", "3", "--data", DATA, "-o", tmp_path / "o.onnx", "--require", "accuracy>=99.9%")
    assert ran.code == 1
    assert "\x1b" not in ran.out + ran.err


def test_the_help_has_every_option_in_its_section(monkeypatch, capsys):
    text = seam(monkeypatch, capsys, "prune", "--help").out
    for section in ("Arguments", "Options", "Task", "Data", "Search", "Judge", "Output"):
        assert f"\n{section}:\n" in text
    for name in PRUNE:
        assert re.search(rf"^  (-o, )?{flag(name)}( |$)", text, re.M), name
    assert "[80; weight: 30]" in " ".join(text.split())


# ---- init -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def init(monkeypatch, capsys):
    return partial(seam, monkeypatch, capsys, "init")


def test_init_names_what_the_model_says(init, tmp_path):
    ran = init(MODEL, "-o", tmp_path / "new" / "prune.yaml")
    assert (ran.code, ran.err) == (0, "")
    text = (tmp_path / "new" / "prune.yaml").read_text()
    assert "# The model has 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n  labels: null" in text
    assert "  size: [8, 8]" in text
    assert "  layout: nchw" in text
    assert f"# ONNX classifier, opset 7 or newer.\nmodel: {os.path.relpath(MODEL)}\n" in init(MODEL).out


def test_every_key_has_a_comment_and_its_default(init):
    text = init(MODEL).out
    found = yaml.safe_load(text)
    for key in keys_of(Request).values():
        assert key.text, f"{key.key}: write a string under its field"
        name = key.key.rpartition(".")[2]
        assert re.search(rf"^ *# .*\n *{name}: ", text, re.M), key.key
        assert name in (found[key.section] if key.section else found)
    bare = recipe_settings({"model": "m", "task": {"labels": "3"}, "data": {"path": "d"}, "output": {"path": "o"}})
    settings = recipe_settings(found)
    settings |= bare
    settings |= parse_sets(["data.size=null", "data.layout=null"])  # which the model decides
    assert settings.build(Request) == bare.build(Request)


def test_the_recipe_runs_once_it_is_filled_in(init, prune, tmp_path):
    path = tmp_path / "prune.yaml"
    init(MODEL, "-o", path)
    ran, _ = prune("--recipe", path)
    assert ran.code == 2
    assert "labels: is missing; give --labels, or task.labels in a recipe" in ran.err
    text = path.read_text().replace("labels: null", "labels: 3,8").replace("path: null", f"path: {DATA}")
    path.write_text(text)
    ran, asked = prune("--recipe", path)
    assert ran.code == 0, ran
    assert asked.model.samefile(MODEL)
    assert asked.output == tmp_path / "model-pruned.onnx"


def test_init_refuses(init, tmp_path):
    (tmp_path / "there.yaml").write_text("mine")
    assert init(MODEL, "-o", tmp_path / "there.yaml").code == 2
    assert init(tmp_path / "there.yaml").code == 3
    assert init(tmp_path / "absent.onnx").code == 2
    assert (tmp_path / "there.yaml").read_text() == "mine"
    assert init(MODEL, "-o", tmp_path / "there.yaml", "--force").code == 0
