"""What the documents say is so: every command parses and, on the shipped model, runs; every flag and link exists."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import QUICK
from graphs import run as outputs
from seam_onnx_cli.main import run

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Every `$ seam-onnx ...` of the console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ seam-onnx ")]


@pytest.fixture
def call(monkeypatch, capsys):
    def run_in(words: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            run()
        said = capsys.readouterr()
        assert not left.value.code, said.err
        return said.out

    return run_in


def test_there_are_commands():
    assert len(commands(README)) >= 6
    assert {line.split()[1] for line in commands(README)} >= {"prune", "inspect", "compact"}


def test_the_commands_on_the_shipped_model_run(call, monkeypatch, tmp_path):
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    written = {"models/digits/model.onnx"}
    for line in commands(README):
        words = shlex.split(line)
        if words[2] not in written:
            continue
        quick = ["--epochs", "3", *([] if "weight" in words else QUICK)] if words[1] == "prune" else []
        assert call([*words, *quick]), line
        if "-o" in words:
            written.add(words[words.index("-o") + 1])
    assert len(written) >= 5
    (two,) = outputs(onnx.load("two.onnx"), {"image": np.zeros((3, 1, 8, 8), np.float32)})
    assert two.shape == (3, 2)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_flag_is_one_of_the_command(path, call):
    text = path.read_text(encoding="utf-8")
    for line in commands(text):
        words = shlex.split(line)
        known = call(["seam-onnx", words[1], "--help"])
        for word in words[2:]:
            if word.startswith("-") and word != "-":
                assert re.search(rf"(^|[\s,]){re.escape(word)}\b", known), f"{word} in {line}"


@pytest.mark.parametrize(
    "name", ["README.md", "docs/data.md", "docs/seam.md", "docs/report.md", "docs/how-it-works.md", "docs/recipes.md"]
)
def test_every_flag_in_the_text_exists(name, call):
    helps = "".join(
        call(["seam-onnx", c, "--help"]) for c in ("prune", "init", "apply", "inspect", "compact", "validate", "bench")
    ) + call(["seam-onnx", "--help"])
    text = (ROOT / name).read_text(encoding="utf-8")
    helps += "".join((ROOT / script).read_text(encoding="utf-8") for script in re.findall(r"benchmarks/\w+\.py", text))
    for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
        assert flag in helps or flag in ("--strict",), flag


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_the_code_map_is_the_code():
    listed = re.search(r"## Code map\n+```\n(.*?)```", README, re.S)[1]
    for line in listed.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_the_exit_codes_are_the_commands(call):
    said = " ".join(call(["seam-onnx", "--help"]).split())
    codes = re.findall(r"^\| (\d+) \| (\w+)", README, re.M)
    assert [code for code, _ in codes] == ["0", "1", "2", "3", "70", "130"]
    for code, word in codes:
        assert re.search(rf"\b{code} (\w+ )*?{word.rstrip(':')}", said), (code, word)


def test_the_two_commands_are_make_targets():
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^\$ make ([a-z-]+)", README, re.M):
        assert re.search(rf"^{target}:", rules, re.M)
