"""One prune from file to file, by the library: every form of labels, both granularities, real models."""

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from graphs import DATA as REAL
from graphs import DIGITS, run
from onnx import helper, numpy_helper
from reports import SCHEMA

from seam_onnx.comparison import ComparisonRequest, compare_models
from seam_onnx.data import PreprocessFlags
from seam_onnx.errors import DataError, ModelError, PathError, UsageError
from seam_onnx.pipeline import Request, choose_device, reengineer
from seam_onnx.progress import Event
from seam_onnx.rebuild import apply_solution
from seam_onnx.report import Report
from seam_onnx.search import Recipe, SeamRecipe
from seam_onnx.solution import masks_beside, read_solutions

ARRAYS = DIGITS.parent / "data.npz"
FAST = Recipe(least=60, epochs=1, rounds=2, views=1, proposals=2)
ENOUGH = Recipe(least=180, epochs=3, rounds=3, views=3, proposals=2)


def request(folder: Path, labels: str, model: Path = DIGITS, data: Path = ARRAYS, **more: object) -> Request:
    return Request(model, labels, data, folder / "small.onnx", **{"recipe": FAST, **more})


def props(path: Path) -> dict[str, str]:
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def holds_together(report: Report) -> None:
    """What is true of every report."""
    total = report.proof.test.pruned.total
    assert total == report.proof.test.restricted.total == report.problem.samples["test"]
    assert report.proof.test.pruned.correct - report.proof.test.restricted.correct == (
        report.proof.difference.b - report.proof.difference.c
    )
    assert report.proof.surgery
    assert max(p.relative for p in report.proof.surgery) < 1e-4
    assert report.proof.lowering.relative < 1e-3
    assert report.after.file_bytes == Path(report.output).stat().st_size
    if report.search.target.startswith("macs"):
        assert report.after.macs == pytest.approx(report.search.kept * report.before.macs, rel=0.1)
    onnx.checker.check_model(onnx.load(report.output), full_check=True)


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_one_label_against_the_rest(tmp_path):
    report = reengineer(request(tmp_path, "7", recipe=ENOUGH))
    holds_together(report)
    assert report.problem.labels == ("7", "other")
    assert report.problem.indices == (7,)
    assert report.after.macs <= 0.3 * report.before.macs
    assert report.proof.test.pruned.value > 0.8
    with np.load(ARRAYS) as arrays:
        wanted = int((arrays["y_test"] == 7).sum())
    assert report.problem.samples["test"] == 2 * wanted
    said = props(tmp_path / "small.onnx")
    assert json.loads(said["names"]) == ["7", "other"]
    assert json.loads(said["seam.index_map"]) == {"7": 7}


def test_several_labels_in_the_order_asked_for(tmp_path):
    report = reengineer(request(tmp_path, "9,1-3,@" + str(listed(tmp_path, "5"))))
    holds_together(report)
    assert report.problem.labels == ("9", "1", "2", "3", "5")
    assert report.problem.indices == (9, 1, 2, 3, 5)
    assert report.proof.test.restricted.value >= report.proof.test.original.value
    small = onnx.load(tmp_path / "small.onnx")
    assert small.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 5


def listed(folder: Path, *lines: str) -> Path:
    (folder / "wanted.txt").write_text("\n".join(lines) + "\n")
    return folder / "wanted.txt"


def test_several_labels_and_the_rest(tmp_path):
    report = reengineer(request(tmp_path, "3,8", other=True))
    holds_together(report)
    assert report.problem.labels == ("3", "8", "other")
    assert any("as many other images" in note for note in report.problem.notes)
    x = np.zeros((2, 1, 8, 8), np.float32)
    assert run(onnx.load(tmp_path / "small.onnx"), {"image": x})[0].shape == (2, 3)


def test_all_labels(tmp_path):
    report = reengineer(request(tmp_path, "0-9", target="params=0.5"))
    holds_together(report)
    assert report.proof.test.original == report.proof.test.restricted
    assert report.after.params <= 0.5 * report.before.params


# ---- recovery and granularity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recover", ["none", "bn", "finetune"])
def test_recovery(recover, tmp_path):
    report = reengineer(request(tmp_path, "3,8", recover=recover, target="macs=0.6"))
    holds_together(report)
    assert report.search.recover == recover
    assert report.after.macs <= 0.6 * report.before.macs
    assert {p.stage for p in report.search.curve} == ({"search"} if recover == "none" else {"search", "recover"})
    changed = {name: now for name, (_, now) in contents(report, report.weights.changed).items()}
    assert not changed if recover == "none" else "block3.project.bn.bias" in changed
    assert any(now.ndim > 1 for now in changed.values()) == (recover == "finetune")
    assert {f"/block3/clip/Constant{k}_output_0" for k in ("", "_1")} <= set(report.weights.held)


def contents(report: Report, names: Iterable[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What initializers hold in the original and in the pruned model."""
    files = [onnx.load(path).graph.initializer for path in (report.problem.model, report.output)]
    before, after = ({t.name: numpy_helper.to_array(t) for t in tensors} for tensors in files)
    return {name: (before.get(name, np.zeros(0)), after[name]) for name in names}


def test_weights(tmp_path):
    seam = SeamRecipe(epochs=12, batch=16, mask_rate=0.1)
    report = reengineer(request(tmp_path, "3", granularity="weight", seam=seam))
    holds_together(report)
    assert report.search.granularity == "weight"
    assert report.search.target == ""
    assert 0 < report.search.kept <= 1
    assert 0 < min(point.kept for point in report.search.curve) < 1
    assert report.search.recipe["mask_rate"] == 0.1
    assert report.weights.changed == ("seam.head.bias", "seam.head.weight")
    assert len(report.search.curve) == 12
    assert report.problem.labels == ("3", "other")
    assert json.loads(props(tmp_path / "small.onnx")["seam.labels"]) == ["3", "other"]


def test_the_observer_sees_every_stage(tmp_path):
    seen: list[Event] = []
    reengineer(request(tmp_path, "3,8"), seen.append)
    assert {event.stage for event in seen} == {"data", "search", "recover", "latency"}
    assert all(0 <= event.done <= event.total for event in seen)
    searching = [event.figures for event in seen if event.stage == "search"]
    assert set(searching[-1]) == {"loss", "accuracy", "kept"}


def test_a_report_is_json(tmp_path):
    report = reengineer(request(tmp_path, "3,8", batches=(1, 4)))
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["schema_version"] == 1
    assert [c["batch"] for c in plain["proof"]["latency"]["comparisons"]] == [1, 4]
    assert plain["widths"]
    jsonschema.validate(plain, SCHEMA)


def test_a_prune_proves_what_validate_finds(tmp_path):
    """Label by label, too: both commands judge by one function, one of them without reading the graph."""
    proved = reengineer(request(tmp_path, "3,5,8")).proof.paired
    found = compare_models(ComparisonRequest(DIGITS, tmp_path / "small.onnx", ARRAYS)).paired
    assert (found.free, found.agreement, found.difference) == (proved.free, proved.agreement, proved.difference)
    for mine, theirs in ((found.original, proved.original), (found.pruned, proved.pruned)):
        assert mine.labels == theirs.labels
        assert mine.confusion.tolist() == theirs.confusion.tolist()
        assert mine.calibration_error == pytest.approx(theirs.calibration_error, abs=1e-5)


# ---- other models of the same digits --------------------------------------------------------------------------------


def with_tail(folder: Path, op: str, **attributes: object) -> Path:
    """The digits model with one more node behind its logits."""
    proto = onnx.load(DIGITS)
    last = proto.graph.output[0]
    old, last.name = last.name, "answer"
    proto.graph.node.append(helper.make_node(op, [old], ["answer"], **attributes))
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(("op", "labels"), [("Softmax", "3"), ("LogSoftmax", "3,8")])
def test_a_model_that_ends_in_a_softmax(op, labels, tmp_path):
    report = reengineer(request(tmp_path, labels, with_tail(tmp_path, op, axis=1), recipe=ENOUGH))
    holds_together(report)
    assert report.proof.test.restricted.value > 0.95
    assert report.proof.test.pruned.value > 0.8
    (scores,) = run(onnx.load(tmp_path / "small.onnx"), {"image": np.zeros((4, 1, 8, 8), np.float32)})
    assert np.allclose((scores if op == "Softmax" else np.exp(scores)).sum(1), 1, atol=1e-5)


def test_a_model_that_ends_in_sigmoids(tmp_path):
    """All other classes together are the sum of their odds, not of what a sigmoid leaves of them"""
    report = reengineer(request(tmp_path, "3", with_tail(tmp_path, "Sigmoid"), recipe=ENOUGH))
    holds_together(report)
    assert report.proof.test.restricted.value > 0.95
    assert report.proof.test.pruned.value > 0.8
    (scores,) = run(onnx.load(tmp_path / "small.onnx"), {"image": np.zeros((4, 1, 8, 8), np.float32)})
    assert ((scores > 0) & (scores < 1)).all()
    found = compare_models(ComparisonRequest(tmp_path / "model.onnx", tmp_path / "small.onnx", ARRAYS)).paired
    assert found.difference == report.proof.difference


def test_weights_of_a_model_that_ends_in_a_softmax(tmp_path):
    model = with_tail(tmp_path, "Softmax", axis=1)
    seam = SeamRecipe(epochs=5, batch=16)
    report = reengineer(request(tmp_path, "3,8", model, granularity="weight", seam=seam))
    assert report.proof.test.pruned.value > 0.8


def test_a_second_output_beside_the_scores(tmp_path):
    proto = onnx.load(DIGITS)
    proto.graph.node.append(helper.make_node("GlobalAveragePool", ["image"], ["brightness"]))
    proto.graph.output.insert(
        0, helper.make_tensor_value_info("brightness", onnx.TensorProto.FLOAT, ["batch", 1, 1, 1])
    )
    onnx.save(proto, tmp_path / "model.onnx")
    report = reengineer(request(tmp_path, "3,8", tmp_path / "model.onnx", recipe=ENOUGH))
    assert report.proof.test.pruned.value > 0.8
    image = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    brightness, scores = run(onnx.load(report.output), {"image": image})
    assert np.allclose(brightness.reshape(-1), image.mean((1, 2, 3)), atol=1e-6)
    assert scores.shape == (4, 2)


def test_classes_that_something_else_reads_cannot_be_cut(tmp_path):
    proto = onnx.load(DIGITS)
    proto.graph.node.append(helper.make_node("ArgMax", [proto.graph.output[0].name], ["answer"], axis=1, keepdims=0))
    proto.graph.output.append(helper.make_tensor_value_info("answer", onnx.TensorProto.INT64, ["batch"]))
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"cannot be cut .*ArgMax"):
        reengineer(request(tmp_path, "3,8", tmp_path / "model.onnx"))


# ---- refusals -------------------------------------------------------------------------------------------------------


def shuffled(folder: Path) -> Path:
    """The digits with labels that say nothing."""
    with np.load(ARRAYS) as arrays:
        given = dict(arrays)
    rng = np.random.default_rng(0)
    given["y_train"], given["y_test"] = rng.permutation(given["y_train"]), rng.permutation(given["y_test"])
    np.savez(folder / "data.npz", **given)
    (folder / "preprocess.json").write_text((DIGITS.parent / "preprocess.json").read_text())
    return folder / "data.npz"


@pytest.mark.parametrize("labels", ["3,8", "3", "0-9"])
def test_labels_that_say_nothing_are_noticed(labels, tmp_path):
    with pytest.raises(DataError, match=r"near chance .*--mean .*--names"):
        reengineer(request(tmp_path, labels, data=shuffled(tmp_path)))
    assert not (tmp_path / "small.onnx").exists()


def test_a_wrong_scale_is_noticed(tmp_path):
    flags = PreprocessFlags(mean=(300.0,))
    with pytest.raises(DataError, match="near chance"):
        reengineer(request(tmp_path, "3,8", flags=flags))


@pytest.mark.parametrize(
    ("field", "value"),
    [("target", "macs=7"), ("granularity", "row"), ("recover", "all"), ("device", "abacus"), ("provider", "abacus")],
)
def test_requests_that_make_no_sense(field, value, tmp_path):
    with pytest.raises(UsageError, match=str(value)):
        reengineer(request(tmp_path, "3,8", **{field: value}))


def test_the_output_is_no_input(tmp_path):
    (tmp_path / "small.onnx").write_bytes(DIGITS.read_bytes())
    with pytest.raises(PathError, match="exists already"):
        reengineer(request(tmp_path, "3,8"))
    with pytest.raises(PathError, match="is an input file"):
        reengineer(request(tmp_path, "3,8", tmp_path / "small.onnx", overwrite=True))


def test_external_data_of_the_input_is_no_output(tmp_path):
    onnx.save(
        onnx.load(DIGITS), tmp_path / "m.onnx", save_as_external_data=True, location="small.onnx", size_threshold=0
    )
    before = (tmp_path / "small.onnx").read_bytes()
    with pytest.raises(PathError, match="is an input file"):
        reengineer(request(tmp_path, "3,8", tmp_path / "m.onnx", overwrite=True))
    assert (tmp_path / "small.onnx").read_bytes() == before


def test_an_image_input_of_two_kinds_is_refused(tmp_path):
    proto = onnx.load(DIGITS)
    proto.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, ["batch", 10]))
    old, proto.graph.output[0].name = proto.graph.output[0].name, "masked"
    proto.graph.node.append(helper.make_node("Add", [old, "mask"], ["masked"]))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="2 inputs"):
        reengineer(request(tmp_path, "3,8", tmp_path / "m.onnx"))


def test_devices():
    assert str(choose_device("cpu")) == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")


# ---- real models and images -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """A few hundred real images of ten classes."""

    path: Path
    flags: PreprocessFlags


@pytest.fixture(scope="session")
def cifar(tmp_path_factory) -> Images:
    if not (REAL / "load.py").is_file():
        pytest.skip("no real images: the folder shared/data beside the checkout is absent")
    spec = importlib.util.spec_from_file_location("real_images", REAL / "load.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    arrays, rng = {}, np.random.default_rng(0)
    for split, count in (("train", 900), ("test", 600)):
        x, y, names = reader.load("cifar10", split)
        chosen = rng.permutation(len(y))[:count]
        arrays |= {f"x_{split}": x[chosen], f"y_{split}": y[chosen], "names": np.array(names)}
    path = tmp_path_factory.mktemp("cifar") / "cifar10.npz"
    np.savez(path, **arrays)
    return Images(path, PreprocessFlags(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))


@pytest.mark.parametrize("exporter", ["dynamo", pytest.param("legacy13", marks=pytest.mark.slow)])
def test_a_real_resnet_of_either_exporter(exporter, cifar, tmp_path):
    model = REAL / "onnx" / f"cifar10_resnet20_{exporter}.onnx"
    if not model.is_file():
        pytest.skip(f"no real model: {model.name} is absent")
    recipe = Recipe(least=8, epochs=1, rounds=1, views=1, proposals=1)
    report = reengineer(request(tmp_path, "cat,dog", model, cifar.path, flags=cifar.flags, recipe=recipe))
    holds_together(report)
    assert report.problem.labels == ("cat", "dog")
    assert report.problem.indices == (3, 5)
    assert report.proof.test.restricted.value > 0.8
    assert report.after.macs <= 0.3 * report.before.macs
    assert onnx.load(report.output).opset_import[0].version == onnx.load(model).opset_import[0].version
    assert report.search.convolved
    (first, *_) = read_solutions(masks_beside(Path(report.output)))
    apply_solution(model, first, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == Path(report.output).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "legacy13"])
def test_weights_of_a_real_resnet(exporter, cifar, tmp_path):
    model = REAL / "onnx" / f"cifar10_resnet20_{exporter}.onnx"
    if not model.is_file():
        pytest.skip(f"no real model: {model.name} is absent")
    seam = SeamRecipe(epochs=5)
    report = reengineer(
        request(tmp_path, "ship", model, cifar.path, flags=cifar.flags, granularity="weight", seam=seam)
    )
    holds_together(report)
    assert report.problem.labels == ("ship", "other")
    assert report.proof.test.pruned.value > 0.7
