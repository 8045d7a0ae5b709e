"""`seam-onnx apply` and what prune leaves for it: the same file, bit for bit, or a refusal."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import QUICK, Ran, seam
from graphs import DIGITS

from seam_onnx import atomic
from seam_onnx.judge import Judge
from seam_onnx.model import load, serialized
from seam_onnx.pipeline import Request, reengineer
from seam_onnx.rebuild import assemble, rebuild
from seam_onnx.search import Recipe, SeamRecipe
from seam_onnx.settings import dump, recipe_hash
from seam_onnx.solution import Solution, encoded, read_solutions

DATA = DIGITS.parent / "data.npz"
FAST = Recipe(least=12, epochs=1, rounds=2, views=1, proposals=2)


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Path:
    """A pruned model with its masks; tests copy what they change."""
    given = Request(DIGITS, "3,8", DATA, tmp_path_factory.mktemp("pets") / "pets.onnx", recipe=FAST)
    reengineer(given)
    return given.output


@pytest.fixture
def call(monkeypatch, capsys):
    return lambda *words: seam(monkeypatch, capsys, *words)


def refused(ran: Ran, code: int, *words: str) -> None:
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran
    assert all(word in ran.err for word in words), ran.err


def masks_of(model: Path) -> Path:
    return model.with_suffix(".masks.safetensors")


def changed(pets: Path, folder: Path, **fields: object) -> Path:
    """Masks with other fields, and with a digest that is right."""
    path = folder / "changed.masks.safetensors"
    path.write_bytes(encoded([dataclasses.replace(solution(pets), **fields)]))
    return path


def solution(pets: Path) -> Solution:
    return read_solutions(masks_of(pets))[0]


# ---- bit for bit ----------------------------------------------------------------------------------------------------


def test_apply_gives_the_same_bytes(pets, call, tmp_path):
    ran = call("apply", DIGITS, masks_of(pets), "-o", tmp_path / "new" / "again.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert "3, 8; the file that was proved" in ran.out
    assert (tmp_path / "new" / "again.onnx").read_bytes() == pets.read_bytes()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["again.onnx"]


@pytest.mark.parametrize("recover", ["none", "bn"])
@pytest.mark.parametrize("labels", ["7", "0-4"])
def test_other_labels_and_recoveries(labels, recover, tmp_path):
    given = Request(
        DIGITS, labels, DATA, tmp_path / "x.onnx", other=True, recover=recover, target="params=0.5", recipe=FAST
    )
    reengineer(given)
    one = solution(given.output)
    assert serialized(rebuild(load(DIGITS), one)) == given.output.read_bytes()
    assert bool(one.values) == (recover != "none")


def test_single_weights(tmp_path):
    seam_recipe = SeamRecipe(epochs=6, batch=16, mask_rate=0.1, seed=3)
    given = Request(DIGITS, "3", DATA, tmp_path / "x.onnx", granularity="weight", seam=seam_recipe)
    reengineer(given)
    one = solution(given.output)
    assert serialized(rebuild(load(DIGITS), one)) == given.output.read_bytes()
    assert all(name.startswith("seam.head") for name in one.values)  # nothing else was trained


@pytest.mark.parametrize(("labels", "keep"), [("3", 0.06), ("3,8", 0.02), ("3,8", 0.3)])
def test_single_weights_that_were_trained(labels, keep, tmp_path):
    seam_recipe = SeamRecipe(schedule="gradual", epochs=4, least=60, batch=16, keep=keep)
    given = Request(DIGITS, labels, DATA, tmp_path / "x.onnx", granularity="weight", width_step="1", seam=seam_recipe)
    report = reengineer(given)
    one = solution(given.output)
    assert serialized(rebuild(load(DIGITS), one)) == given.output.read_bytes()
    assert not any(name.startswith("seam.head") for name in one.values)
    assert (report.search.granularity, report.search.recover) == ("weight", "finetune")
    assert report.search.kept <= keep + 0.001


def test_only_metadata_come_after_the_proof(pets):
    model, one = load(DIGITS), solution(pets)
    proved, file = onnx.ModelProto.FromString(serialized(assemble(model, one))), onnx.load(pets)
    assert proved.graph.SerializeToString(deterministic=True) == file.graph.SerializeToString(deterministic=True)


def test_what_the_file_says_of_itself(pets, call):
    said = {p.key: p.value for p in onnx.load(pets).metadata_props}
    assert json.loads(said["names"]) == json.loads(said["seam.labels"]) == ["3", "8"]
    assert said["seam.masks.sha256"] == solution(pets).digest()
    assert said["seam.source.sha256"] == load(DIGITS).sha256
    assert said["seam.recipe.sha256"] == recipe_hash(dump(Request(DIGITS, "3,8", DATA, pets, recipe=FAST)))
    test, latency = json.loads(said["seam.test"]), json.loads(said["seam.latency"])
    assert test["original"]["total"] == test["pruned"]["total"] > 0
    assert latency["low"] <= latency["ratio"] <= latency["high"]
    assert 0 < json.loads(said["seam.size"])["macs"] <= 0.31
    shown = call("inspect", pets)
    assert f"seam.source.sha256: {said['seam.source.sha256']}" in shown.out
    assert call("inspect", pets, "--json", "-").json["provenance"]["seam.labels"] == said["seam.labels"]
    assert call("inspect", DIGITS, "--json", "-").json["provenance"] == {}


def test_apply_loads_neither_torch_nor_onnxruntime(pets, tmp_path):
    words = ["apply", str(DIGITS), str(masks_of(pets)), "-o", str(tmp_path / "x.onnx")]
    code = (
        f"import sys; sys.argv[1:] = {words!r}\nfrom seam_onnx_cli.main import run\ntry: run()\n"
        "except SystemExit as e: print(e.code or 0, {'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_masks_of_another_model(pets, call, tmp_path):
    proto = onnx.load(DIGITS)
    proto.doc_string = "another"
    onnx.save(proto, tmp_path / "model.onnx")
    ran = call("apply", tmp_path / "model.onnx", masks_of(pets), "-o", tmp_path / "x.onnx")
    refused(ran, 2, "belong to another model", "the very file that was pruned")
    assert not (tmp_path / "x.onnx").exists()


def test_files_that_are_no_masks(pets, call, tmp_path):
    content = masks_of(pets).read_bytes()
    for bad, word in (
        (content[: len(content) // 2], "cut off"),
        (content[:-2] + bytes([content[-2] ^ 255]) + content[-1:], "is damaged"),
        (content.replace(b"seam-onnx masks 4", b"seam-onnx masks 9"), "has format"),
        (pets.read_bytes(), "not a safetensors file"),
    ):
        (tmp_path / "bad").write_bytes(bad)
        refused(call("apply", DIGITS, tmp_path / "bad", "-o", tmp_path / "x.onnx"), 2, word)
    refused(call("apply", DIGITS, tmp_path / "none", "-o", tmp_path / "x.onnx"), 2, "no such file")
    refused(call("apply", tmp_path / "none", masks_of(pets), "-o", tmp_path / "x.onnx"), 2, "no such file")
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


def test_shapes_that_do_not_fit(pets, call, tmp_path):
    one = solution(pets)
    name, mask = next(iter(one.masks.masks.items()))
    value = next(iter(one.values))
    ones = np.ones((7, 1, 1, 1), bool)
    for fields, word in (
        ({"masks": dataclasses.replace(one.masks, masks={name: ones})}, "does not fit"),
        ({"masks": dataclasses.replace(one.masks, masks={"nowhere": mask})}, "no such initializer"),
        ({"masks": dataclasses.replace(one.masks, kept={"nowhere": mask})}, "no such node"),
        ({"masks": dataclasses.replace(one.masks, kept={"/stem/conv/Conv": ones})}, "does not fit"),
        ({"values": {value: np.zeros(3, np.float32)}}, "does not fit"),
        ({"values": {"nowhere": np.zeros(3, np.float32)}}, "no such initializer"),
        ({"wanted": dataclasses.replace(one.wanted, classes=12)}, "12 classes, not 10"),
    ):
        ran = call("apply", DIGITS, changed(pets, tmp_path, **fields), "-o", tmp_path / "x.onnx")
        refused(ran, 2, word)
    several = tmp_path / "several.masks.safetensors"
    several.write_bytes(encoded([one, one]))
    refused(call("apply", DIGITS, several, "--point", 2, "-o", tmp_path / "x.onnx"), 2, "holds 2")
    assert not (tmp_path / "x.onnx").exists()


def test_another_file_than_the_proved_one_is_not_written(pets, call, tmp_path):
    ran = call("apply", DIGITS, changed(pets, tmp_path, output="0" * 64), "-o", tmp_path / "x.onnx")
    refused(ran, 3, "not the file that was proved", "use seam-onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_apply_writes_over_nothing_unasked(pets, call, tmp_path):
    (tmp_path / "x.onnx").write_text("mine")
    words = ("apply", DIGITS, masks_of(pets), "-o", tmp_path / "x.onnx")
    refused(call(*words), 2, "exists already", "--force")
    assert call(*words, "--force").code == 0
    assert (tmp_path / "x.onnx").read_bytes() == pets.read_bytes()
    (tmp_path / "m.onnx").write_bytes(DIGITS.read_bytes())
    (tmp_path / "m").write_bytes(masks_of(pets).read_bytes())
    for output in ("m.onnx", "m"):
        ran = call("apply", tmp_path / "m.onnx", tmp_path / "m", "-o", tmp_path / output, "--force")
        refused(ran, 2, "is an input file")
    assert (tmp_path / "m.onnx").read_bytes() == DIGITS.read_bytes()


# ---- both files or none ---------------------------------------------------------------------------------------------


def prune(output: Path, *more: object) -> tuple[object, ...]:
    return ("prune", DIGITS, "--labels", "3,8", "--data", DATA, "--epochs", 1, *QUICK, "--quiet", "-o", output, *more)


def test_force_covers_both_files(call, tmp_path):
    output = tmp_path / "pets.onnx"
    masks_of(output).write_text("mine")
    refused(call(*prune(output)), 2, "pets.masks.safetensors", "exists already")
    assert masks_of(output).read_text() == "mine"
    assert not output.exists()
    assert call(*prune(output, "--force")).code == 0
    assert call("apply", DIGITS, masks_of(output), "-o", tmp_path / "again.onnx").code == 0


def test_the_masks_are_no_other_file_of_the_command(call, tmp_path):
    output = tmp_path / "pets.onnx"
    refused(call(*prune(output, "--json", masks_of(output))), 2, "--json", "another file of this command")
    data = tmp_path / "d.masks.safetensors"
    data.write_bytes(DATA.read_bytes())
    words = ("prune", DIGITS, "--labels", "3,8", "--data", data, "-o", tmp_path / "d.onnx", "--force")
    refused(call(*words), 2, "is an input file")


def test_resuming_from_what_does_not_fit_is_refused(call, tmp_path):
    output = tmp_path / "pets.onnx"
    assert call(*prune(output)).code == 0
    again = ("prune", DIGITS, "--data", DATA, "--quiet", "-o", tmp_path / "x.onnx", "--resume-from", masks_of(output))
    refused(call(*again, "--labels", "1,2"), 2, "is about 3, 8", "search anew")
    refused(call(*again, "--labels", "3,8", "--granularity", "weight"), 2, "--resume-from: does nothing with")
    refused(call(*again, "--labels", "3,8", "--width-step", "4"), 2, "in steps of 8 channels", "give --width-step 8")
    none = tmp_path / "none.masks.safetensors"
    refused(call(*again[:-1], none, "--labels", "3,8"), 2, "none.masks.safetensors", "no such file")
    damaged = tmp_path / "damaged.masks.safetensors"
    damaged.write_bytes(masks_of(output).read_bytes()[:500])
    refused(call(*again[:-1], damaged, "--labels", "3,8"), 2, "damaged.masks.safetensors")
    assert not (tmp_path / "x.onnx").exists()


def write_both(output: Path) -> None:
    with atomic.writing(output) as path:
        path.write_text("model")
        masks_of(path).write_text("masks")


@pytest.mark.parametrize("number", [0, 1])
def test_ctrl_c_while_the_files_are_put_in_place(number, pets, tmp_path, monkeypatch):
    """Between the renames Ctrl-C waits; before them nothing is there."""
    seen: list[Path] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if len(seen) == number:
            signal.raise_signal(signal.SIGINT)
        seen.append(self)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_both(tmp_path / "x.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"x.onnx", "x.masks.safetensors"}


def test_ctrl_c_before_leaves_neither(call, tmp_path, monkeypatch):
    monkeypatch.setattr(Judge, "prove", lambda *_: signal.raise_signal(signal.SIGINT))
    assert call(*prune(tmp_path / "pets.onnx")).code == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process there")
def test_ctrl_c_while_the_command_is_loaded(tmp_path):
    """A stand-in for typer, the first thing that is imported, interrupts."""
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from seam_onnx_cli.__main__ import run; run()"
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
