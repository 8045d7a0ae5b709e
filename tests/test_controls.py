"""What benchmarks hold the search against: as long a training, the same network, and rows that the table can read."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from graphs import build
from torch.nn.functional import conv2d, linear, pad
from toys import DEEP, searched, toy, views_of

from seam_onnx.labels import Wanted
from seam_onnx.masks import MaskSet
from seam_onnx.search import CostAim, Recipe
from seam_onnx.search.train import Trainer
from seam_onnx.search.training import Training
from seam_onnx.solution import Solution, encoded, read_solutions
from seam_onnx.surgery import cut_head
from seam_onnx.surgery.logits import logits_of

HERE = Path(__file__).parents[1]
DIGITS = HERE / "models" / "digits"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """What stands there imports what stands beside it."""
    monkeypatch.syspath_prepend(str(HERE / "benchmarks"))


def test_the_budget_is_what_a_search_trains(monkeypatch):
    """All steps are counted, also of the networks that it drops again, of which there may be fewer than it would try"""
    from controls import budget, trained

    steps, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, batch: (steps.append(1), step(self, batch))[1])
    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    recipe = Recipe(epochs=20, least=1, batch=60, cut=0.6, rounds=2, proposals=8, finalists=2)
    found = searched(base, views, CostAim("macs", 0.1, 2), recipe)
    expected = trained(recipe, [point.kept for point in found.visited])
    assert 2 * recipe.epochs < len(steps) <= 2 * expected + 2  # two batches an epoch, rounded twice
    assert budget(recipe, 0.1) == trained(recipe, [0.1**0.5, 0.1])


def test_a_budget_is_known_for_macs_alone():
    from controls import share_of

    assert share_of("macs=0.25") == 0.25
    with pytest.raises(ValueError, match="macs=RATIO"):
        share_of("max-drop=1")


def test_from_scratch_keeps_the_network_and_nothing_that_it_learnt(tmp_path):
    from controls import from_scratch

    mask = np.arange(64).reshape(64, 1, 1, 1) % 2 == 0
    values = {"w": np.full((32, 16, 3, 3), 7, np.float32), "b": np.full(32, 7, np.float32)}
    wanted = Wanted((3, 8), ("3", "8"), False, 10)
    chosen = Solution(wanted, "channel", MaskSet({"w": mask}, "abc"), values, 8, kept=0.1, output="def")
    (tmp_path / "found").write_bytes(encoded([chosen, chosen]))
    asked = {"model": "m", "labels": "3,8", "data": "d", "output": "o", "target": "macs=0.1"}
    settings = from_scratch(tmp_path / "found", tmp_path / "random", asked)
    (one,) = read_solutions(tmp_path / "random")
    assert (one.wanted, one.width_step, one.masks.digest()) == (wanted, 8, chosen.masks.digest())
    assert one.values["w"].std() == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    assert not one.values["b"].any()
    assert settings["cut"] == 0
    assert settings["epochs"] > Recipe().epochs


# ---- CIFAR's ResNet in torch ----------------------------------------------------------------------------------------


def weights(blocks: int = 1, classes: int = 3) -> dict[str, np.ndarray]:
    """Initializers as an export with folded normalisation has them."""
    from resnet import ResNet

    torch.manual_seed(0)
    net = ResNet(blocks, classes)
    found = {name: p.detach().numpy() for name, p in net.named_parameters() if "bn" not in name and "short" not in name}
    rng = np.random.default_rng(0)
    biases = {f"{n}_bias": rng.standard_normal(len(v)).astype(np.float32) for n, v in found.items() if "conv" in n}
    return found | biases


def reference(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network as the originals have it: a slice and padded channels where a stage begins."""

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return conv2d(x, w[f"{name}.weight"], w[f"{name}.weight_bias"], stride, 1)

    x = conv("conv1", x).relu()
    for stage in (1, 2, 3):
        inner = conv(f"layer{stage}.0.conv2", conv(f"layer{stage}.0.conv1", x, min(stage, 2)).relu())
        more = (inner.shape[1] - x.shape[1]) // 2
        x = (inner + (pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more)) if stage > 1 else x)).relu()
    return linear(x.mean((2, 3)), w["linear.weight"], w["linear.bias"])


def test_the_torch_module_is_the_exported_network():
    """Convolutions in place of padded shortcuts, and normalisation given back, change nothing"""
    from resnet import calibrated, loaded, multiply_adds

    given, x = weights(), torch.randn(16, 3, 32, 32)
    net = calibrated(loaded(given), x)
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference({k: torch.from_numpy(v) for k, v in given.items()}, x))
    pixels = {"conv1": 1024, "layer1": 1024, "layer2": 256, "layer3": 64, "linear": 1}
    convs = {n: v.size for n, v in given.items() if v.ndim > 1} | {"layer2.": 16 * 32, "layer3.": 32 * 64}
    assert multiply_adds(net) == sum(size * pixels[name.split(".")[0]] for name, size in convs.items())


def test_torch_pruning_reaches_its_share_in_multiples():
    pytest.importorskip("torch_pruning", reason="torch-pruning is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    from resnet import calibrated, loaded, multiply_adds
    from torch_pruned import Pruning

    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe(epochs=5, least=10, rounds=2))
    net = calibrated(loaded(weights()), training.samples(32).x)
    whole = multiply_adds(net)
    accuracy = Pruning(net, training, whole, 0.4).run()
    assert 0.1 * whole < multiply_adds(net) <= 0.4 * whole
    assert {len(m.bias) % 8 for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0}
    assert 0 <= accuracy <= 1


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_the_least_sparsity_is_found_and_made_last():
    from rivals import least

    made = []

    def macs(sparsity: float) -> float:
        made.append(sparsity)
        return 100 * (1 - round(sparsity, 1))

    assert least(macs, 31) == made[-1] == pytest.approx(0.65, abs=0.01)
    with pytest.raises(ValueError, match="does not reach"):
        least(lambda sparsity: 50.0, 31)


def test_a_foreign_model_has_a_row_in_the_table(tmp_path, monkeypatch):
    """The peer that returns the original loses nothing, and the table finds its row again"""
    from rivals import Made, foreign_row
    from subsets import main, place

    def peer(setup, output):
        shutil.copy(setup.request.model, output)
        return Made(0.5, "as it is")

    report = place(DIGITS / "model.onnx", "3,8", "macs=1", "onnxsim", tmp_path, [])
    asked = {
        "model": DIGITS / "model.onnx", "labels": "3,8", "data": DIGITS / "data.npz", "target": "macs=1",
        "output": report.with_suffix(".onnx"), "batches": (1, 16),
    }  # fmt: skip
    report.write_text(json.dumps(foreign_row(peer, asked)))
    argv = ["--models", str(DIGITS), "--images", "none.npz", "--work", str(tmp_path), "--out", str(tmp_path / "t.md")]
    more = ["--networks", "model", "--problems", "3,8", "0", "--targets", "macs=1", "--methods", "effect", "onnxsim"]
    monkeypatch.setattr(sys, "argv", ["subsets.py", *argv, *more, "--only-table"])
    main()
    once = (tmp_path / "t.md").read_text()
    (line,) = (line for line in once.splitlines() if line.startswith("| model | 3, 8"))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:3] == ["model", "3, 8", "onnxsim macs=1"]
    assert cells[6:9] == ["0.00", "100.0%", "100.0%"]
    assert len(cells) == 13
    report.unlink()  # the row stays in the .csv
    main()
    assert (tmp_path / "t.md").read_text() == once


def subset_row(labels: str, method: str, pruned: float, machine: str = "here", training: str = "muon, 80 epochs"):
    from subset_rows import Row

    return Row(
        "m", labels, method, training, "macs=0.1", 0.9, 0.95, pruned, 0.5, 1.0, 0.1, 0.1, 0.25, 0.25, 60.0, machine
    )


def test_rows_of_other_machines_stay_and_the_same_is_replaced(tmp_path):
    from subset_rows import merged, read, write

    old, other = subset_row("a, other", "effect", 0.9), subset_row("a, other", "effect", 0.8, "there")
    new = subset_row("a, other", "effect", 0.91)
    rows = merged([old, other], [new], order=lambda row: row.machine)
    assert rows == [new, other]
    write(tmp_path / "rows.csv", rows)
    assert read(tmp_path / "rows.csv") == rows
    assert read(tmp_path / "none.csv") == []


def test_methods_are_paired_with_the_search_of_the_same_machine_where_there_is_one():
    """Losses of 1 and 3 points more: 2 in the mean, standard error sqrt(2) / sqrt(2) = 1; `c` has no pair, nor has the
    one of `b` that was trained in another way"""
    from subset_rows import tables

    rows = [
        subset_row("a, other", "effect", 0.5, "there"), subset_row("a, other", "effect", 0.9),
        subset_row("b, other", "effect", 0.9, "there"), subset_row("a, other", "random", 0.89),
        subset_row("b, other", "random", 0.87), subset_row("c, other", "random", 0.5),
        subset_row("b, other", "random", 0.5, training="adamw, 50 epochs"),
    ]  # fmt: skip
    lines = tables(rows)
    place = lines.index("## Against the search")
    (line,) = (line for line in lines[place:] if line.startswith("| m | one against the rest | random"))
    assert [cell.strip() for cell in line.split("|")[5:-1]] == ["2", "+2.00", "1.00", "B"]


def test_a_page_keeps_what_stands_around_its_tables(tmp_path):
    from page import BEGIN, END, put

    page = tmp_path / "page.md"
    put(page, ["| one |"])
    assert page.read_text() == f"{BEGIN}\n\n| one |\n\n{END}\n"
    page.write_text(f"# Title\n\n{page.read_text()}\nwhat it says\n")
    put(page, ["| two |"])
    assert page.read_text() == f"# Title\n\n{BEGIN}\n\n| two |\n\n{END}\n\nwhat it says\n"
