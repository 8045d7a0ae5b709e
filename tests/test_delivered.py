"""What a prune delivers: never a slower model as an answer, the best of several seeds, and the same again when pinned."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import DIGITS, QUICK, seam

from seam_onnx.errors import UsageError
from seam_onnx.judge import Judge
from seam_onnx.model import load, sha256
from seam_onnx.pipeline import reengineer
from seam_onnx.progress import Event
from seam_onnx.rebuild import apply_solution
from seam_onnx.report import Report, SeedRun, Spread
from seam_onnx.request import Recipe, Request
from seam_onnx.search import Engine, engines, fastest_engine
from seam_onnx.solution import masks_beside, read_solutions
from seam_onnx.validate import Comparison, Interval, Latency, layer_times

SHORT = Recipe(epochs=1, least=8, rounds=1, views=1, proposals=1)


def prune(folder: Path, name: str = "two.onnx", **more: object) -> Report:
    request = Request(DIGITS / "model.onnx", "3,8", DIGITS / "data.npz", folder / name, engine="fp32/1", recipe=SHORT)
    return reengineer(replace(request, **more))


def timed_as(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> None:
    """The full timings come out as these ratios, one after the other."""
    race, given = Judge.race, iter(ratios)

    def found(self: Judge, path: Path, batches: tuple[int, ...]) -> Latency:
        ratio, latency = next(given), race(self, path, batches)
        verdict = "faster" if ratio < 0.95 else "slower" if ratio > 1.05 else "no difference"
        interval = Interval(ratio - 0.01, ratio + 0.01)
        one = replace(latency.comparisons[0], ratio=ratio, interval=interval, verdict=verdict)
        return replace(latency, comparisons=(one,))

    monkeypatch.setattr(Judge, "race", found)


@pytest.fixture
def quick(monkeypatch):
    """Timings of a few calls."""
    monkeypatch.setattr("seam_onnx.judge.measure", shortened)
    monkeypatch.setattr(layer_times, "layer_ms", lambda layer, provider, threads: 1e-6 * float(np.prod(layer.weight)))


def shortened(*given: object, **more: object) -> Latency:
    from seam_onnx.validate.latency import measure

    return measure(*given, **{**more, "rounds": 3, "min_seconds": 0.01, "max_seconds": 0.1})


# ---- never slower ----------------------------------------------------------------------------------------------------


def test_a_slower_model_gives_way_to_the_original(tmp_path, monkeypatch, quick):
    timed_as(monkeypatch, 1.2, 0.99)
    report = prune(tmp_path, recover="none")
    assert not report.search.met
    assert "120.0%" in report.search.unmet
    assert "the original restricted to the wanted labels" in report.search.unmet
    assert report.search.kept == 1
    assert report.after.macs == pytest.approx(report.before.macs, rel=0.01)
    test = report.proof.paired
    assert test.pruned.accuracy == test.original.accuracy
    stored = read_solutions(masks_beside(tmp_path / "two.onnx"))
    apply_solution(DIGITS / "model.onnx", stored[0], tmp_path / "again.onnx")
    assert sha256(tmp_path / "again.onnx") == sha256(tmp_path / "two.onnx")
    assert len(stored) > 1  # what was found is still there for other targets


def test_a_model_within_the_noise_is_delivered_and_not_called_faster(tmp_path, monkeypatch, capsys, quick):
    timed_as(monkeypatch, 1.0)
    output = tmp_path / "two.onnx"
    words = ("prune", DIGITS / "model.onnx", "--labels", "3,8", "--data", DIGITS / "data.npz", "-o", output)
    done = seam(monkeypatch, capsys, *words, *QUICK, "--recover", "none", "--engine", "fp32")
    assert done.code == 0
    assert "not measurably faster (100% of the original's p50)" in done.out
    assert "not reached" not in done.out
    assert "widths: multiples of 8 (--width-step; onnxruntime" in done.out
    assert load(output).graph.num_nodes() < load(DIGITS / "model.onnx").graph.num_nodes() + 1


def test_the_command_says_that_nothing_faster_was_found(tmp_path, monkeypatch, capsys, quick):
    timed_as(monkeypatch, 1.2, 0.99)
    words = (
        "prune",
        DIGITS / "model.onnx",
        "--labels",
        "3,8",
        "--data",
        DIGITS / "data.npz",
        "-o",
        tmp_path / "o.onnx",
    )
    done = seam(monkeypatch, capsys, *words, *QUICK, "--recover", "none", "--quiet")
    assert done.code == 0  # as any target that is missed; a gate on latency.ratio makes it 1
    assert "target macs=0.3 was not reached: what was found takes 120.0% of the original's p50" in done.out
    assert len(done.out.splitlines()) == 1


def test_a_latency_that_the_full_timing_denies_is_not_called_met(tmp_path, monkeypatch, quick):
    timed_as(monkeypatch, 0.7)
    monkeypatch.setattr(Judge, "latency_ratio", lambda self, model: 0.4)
    report = prune(tmp_path, target="latency=0.5", recover="none")
    assert not report.search.met
    assert report.search.unmet == "timed in full, it takes 70.0% of the original's p50 (69.0% to 71.0%)"


def test_a_search_believes_a_latency_at_the_far_end_of_its_interval(monkeypatch):
    interval = Interval(0.3, 0.5)
    monkeypatch.setattr(Judge, "timed", lambda self, model, seconds: timing_of(0.4, interval))
    assert Judge.latency_ratio(object.__new__(Judge), load(DIGITS / "model.onnx")) == interval.high


def timing_of(ratio: float, interval: Interval) -> Latency:
    return Latency((), (Comparison("pruned", "original", 1, ratio, interval, "faster"),), (), 0)


def test_layers_are_measured_before_a_search_for_milliseconds(tmp_path, monkeypatch, quick):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Judge, "latency_ratio", lambda self, model: 0.4)
    timed_as(monkeypatch, 0.4)
    told: list[Event] = []
    request = Request(DIGITS / "model.onnx", "3,8", DIGITS / "data.npz", tmp_path / "o.onnx", target="latency=0.5",
                      recover="none", recipe=SHORT)  # fmt: skip
    report = reengineer(request, told.append)
    layers = [event for event in told if event.stage == "layers"]
    assert layers
    assert layers[-1].done == layers[-1].total == len(layers)
    assert report.search.met
    assert report.search.kept < 0.9
    assert len(list((tmp_path / "cache" / "seam-onnx").iterdir())) == 1


# ---- seeds -----------------------------------------------------------------------------------------------------------


def test_the_best_of_several_seeds_is_delivered(tmp_path, quick):
    report = prune(tmp_path, seeds=3, recipe=replace(SHORT, seed=5, least=20))
    runs = report.search.runs
    assert [run.seed for run in runs] == [5, 6, 7]
    (chosen,) = [run for run in runs if run.chosen]
    assert chosen.accuracy == max(run.accuracy for run in runs)
    assert report.search.recipe["seed"] == chosen.seed
    assert report.search.kept == chosen.kept
    assert report.search.seconds >= sum(run.seconds for run in runs)
    accuracies = [run.accuracy for run in runs]
    assert report.search.spread["accuracy"].mean == pytest.approx(np.mean(accuracies))
    assert report.search.spread["accuracy"].deviation == pytest.approx(np.std(accuracies, ddof=1))


def test_seeds_of_the_weight_search(tmp_path, quick):
    from seam_onnx.request import SeamRecipe

    report = prune(tmp_path, granularity="weight", seeds=2, seam=SeamRecipe(epochs=5))
    assert [run.seed for run in report.search.runs] == [0, 1]
    assert report.search.engine == "fp32/1"


def test_one_figure_has_no_spread():
    assert Spread.of([0.5]) == Spread(0.5, 0.0)
    assert SeedRun(0, 0.5, 0.5, 1.0, True, True).chosen


# ---- the same again --------------------------------------------------------------------------------------------------


def test_the_same_seed_and_engine_give_the_same_masks_and_weights(tmp_path, quick):
    reports = [prune(tmp_path, f"{name}.onnx", recipe=replace(SHORT, least=16)) for name in ("a", "b")]
    one, two = (read_solutions(masks_beside(tmp_path / f"{name}.onnx")) for name in ("a", "b"))
    assert [s.masks.digest() for s in one] == [s.masks.digest() for s in two]
    assert [s.digest() for s in one] == [s.digest() for s in two]
    assert reports[0].search.engine == reports[1].search.engine == "fp32/1"
    other = prune(tmp_path, "c.onnx", recipe=replace(SHORT, least=16, seed=1))
    assert read_solutions(masks_beside(tmp_path / "c.onnx"))[0].digest() != one[0].digest()
    assert other.search.recipe["seed"] == 1


def test_what_an_engine_leaves_open():
    before = torch.get_num_threads()
    assert engines("fp32/3", "cpu") == [Engine(3, False)]
    assert engines("bf16/1", "cuda") == [Engine(1, True)]
    assert engines("bf16/1+compile", "cpu") == [Engine(1, True, True)]
    assert {engine.low for engine in engines("auto", "cpu")} == {False, True}
    assert {engine.low for engine in engines("fp32", "cpu")} == {False}
    assert {engine.threads for engine in engines("auto", "cpu")} == {1, before}
    for engine in engines("auto", "cpu"):
        assert engines(engine.name, "cpu") == [engine]


@pytest.mark.parametrize("text", ["fp16", "bf16/0", "bf16/", "fp32/-1", "auto,fp32", "fp32+compile/1"])
def test_engines_that_make_no_sense(text, tmp_path, monkeypatch, capsys):
    with pytest.raises(UsageError, match="engine"):
        engines(text, "cpu")
    words = ("--labels", "3,8", "--data", DIGITS / "data.npz", "-o", tmp_path / "o.onnx", f"--engine={text}")
    done = seam(monkeypatch, capsys, "prune", DIGITS / "model.onnx", *words)
    assert done.code == 2
    assert "engine" in done.err
    assert not list(tmp_path.iterdir())


def test_an_engine_that_cannot_run_is_refused(monkeypatch):
    monkeypatch.setattr("seam_onnx.search.engine.best_time", lambda *given: float("inf"))
    before = torch.get_num_threads()
    with (
        pytest.raises(UsageError, match="cannot run"),
        fastest_engine(torch.nn.Linear(2, 2), torch.zeros(1, 2), "bf16/1"),
    ):
        pass
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_train_alike(tmp_path):
    """A compiler changes no more than rounding does in a few steps"""
    few = Recipe(epochs=1, least=6, rounds=1, proposals=1, cut=0.5)
    plain, other = (prune(tmp_path, f"{len(k)}.onnx", recipe=few, engine=k) for k in ("fp32/1", "fp32/1+compile"))
    assert other.search.engine == "fp32/1+compile"
    losses = [[point.loss for point in report.search.curve] for report in (plain, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_widths_by_the_machine(tmp_path, monkeypatch, capsys):
    done = seam(
        monkeypatch, capsys, "prune", DIGITS / "model.onnx", "--labels", "3,8", "--data", DIGITS / "data.npz",
        "-o", tmp_path / "o.onnx", "--width-step", "some",
    )  # fmt: skip
    assert done.code == 2
    assert "a whole number above 0, or one of auto" in done.err
