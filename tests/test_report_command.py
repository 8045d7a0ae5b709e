"""`prune --report` and `--card`: what is written, and what is refused before the search starts."""

import json
import sys

import jsonschema
import pytest
from commands import DIGITS, seam
from reports import SCHEMA, Elements, report

PRUNE = ("prune", DIGITS / "model.onnx", "--labels", "3,8", "--data", DIGITS / "data.npz", "--epochs", 1)


def test_prune_writes_page_card_and_json_of_the_same_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("seam_onnx.pipeline.reengineer", lambda *_: report())
    html, readme, data = (tmp_path / "out" / name for name in ("report.html", "README.md", "report.json"))
    words = ("-o", tmp_path / "out" / "m.onnx", "--report", html, "--card", readme, "--json", data, "--quiet")
    ran = seam(monkeypatch, capsys, *PRUNE, *words, "--require", "size<=original")
    assert (ran.code, ran.err) == (0, "")
    plain = json.loads(data.read_text(encoding="utf-8"))
    jsonschema.validate(plain, SCHEMA)
    assert len(plain["gates"]) == 1
    right, total = (plain["proof"]["test"]["pruned"][name] for name in ("correct", "total"))
    for path in (html, readme):
        assert f"({right} of {total};" in path.read_text(encoding="utf-8")
    assert Elements(html.read_text(encoding="utf-8")).open == []


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Run prune where it must stop before it reads the model; gives its one line."""
    monkeypatch.setattr("seam_onnx.pipeline.reengineer", lambda *_: pytest.fail("the search started"))

    def call(*words: object) -> str:
        ran = seam(monkeypatch, capsys, *PRUNE, "-o", tmp_path / "m.onnx", *words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
        return ran.err

    return call


@pytest.mark.parametrize("option", ["--report", "--card"])
def test_pages_that_cannot_be_written_are_refused_before_the_search(option, refused, tmp_path):
    there = tmp_path / "there"
    there.write_text("mine")
    assert "exists already" in refused(option, there)
    assert "is a folder" in refused(option, tmp_path)
    assert "is no folder" in refused(option, there / "page")
    assert "is another file of this command" in refused(option, tmp_path / "m.onnx")
    assert "is another file of this command" in refused(option, tmp_path / "j", "--json", tmp_path / "j")
    assert "is another file of this command" in refused("--report", tmp_path / "p", "--card", tmp_path / "p")
    assert "is no file name" in refused(option, "-")
    assert "input file" in refused(option, DIGITS / "data.npz", "--force")
    assert there.read_text() == "mine"


def test_the_option_without_matplotlib_is_refused_before_the_search(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_svg", None)
    assert "pip install 'seam-onnx[report]'" in refused("--report", tmp_path / "r.html")
