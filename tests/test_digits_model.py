import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

HERE = Path(__file__).parents[1] / "models" / "digits"
SPLITS = {"train": 1347, "test": 450}


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    with np.load(HERE / "data.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def preprocess() -> dict[str, Any]:
    return json.loads((HERE / "preprocess.json").read_text())


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(HERE / "model.onnx")


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def images(data: dict[str, np.ndarray], preprocess: dict[str, Any]) -> np.ndarray:
    x = (data["x_test"] * preprocess["scale"] - preprocess["mean"]) / preprocess["std"]
    return x.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.fixture(scope="module")
def card() -> str:
    return (HERE / "README.md").read_text()


def test_accuracy_is_the_cards(session, images, data, card):
    (logits,) = session.run(None, {"image": images})
    right, total = int((logits.argmax(1) == data["y_test"]).sum()), len(images)
    assert f"test accuracy: {right}/{total} ({right / total:.2%})\n" in card
    assert f"| Test accuracy | {right} of {total} images" in card
    assert re.findall(r"^ +value: (\S+)$", card, re.M) == [f"{right / total:.4f}"]


def test_parameters_are_the_cards(model, card):
    sizes = {i.name: int(np.prod(i.dims)) for i in model.graph.initializer}
    identities = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity"}
    count = 0
    for node in model.graph.node:
        weights = {"Conv": 3, "Gemm": 3, "BatchNormalization": 3}.get(node.op_type, 0)
        count += sum(sizes[identities.get(name, name)] for name in node.input[1:weights])
    assert f"| Parameters | {count:,} |" in card
    assert f"\nparameters: {count:,}\n" in card


def test_card_has_front_matter(card):
    _, front, _ = card.split("---\n", 2)
    keys = set(re.findall(r"^(\S+):", front, re.M))
    assert keys >= {"license", "library_name", "tags", "datasets", "metrics", "model-index"}


def test_model_is_valid_and_small(model):
    onnx.checker.check_model(model, full_check=True)
    assert (HERE / "model.onnx").stat().st_size < 1_000_000
    assert {o.domain: o.version for o in model.opset_import} == {"": 17}


def test_labels_agree(model, session, data):
    labels = json.loads((HERE / "labels.json").read_text())
    assert labels == [str(digit) for digit in range(10)]
    assert json.loads({p.key: p.value for p in model.metadata_props}["names"]) == labels
    assert data["names"].tolist() == labels
    assert session.get_outputs()[0].shape == ["batch", len(labels)]


def test_batch_is_free(session, images):
    three = session.run(None, {"image": images[:3]})[0]
    singles = [session.run(None, {"image": image[None]})[0] for image in images[:3]]
    assert three.shape == (3, 10)
    np.testing.assert_allclose(np.concatenate(singles), three, atol=1e-4)


@pytest.mark.parametrize("split", SPLITS)
def test_data_looks_like_images(data, split):
    x, y = data[f"x_{split}"], data[f"y_{split}"]
    assert (x.dtype, x.shape) == (np.uint8, (SPLITS[split], 8, 8, 1))
    assert (y.dtype, y.shape) == (np.int64, (SPLITS[split],))
    assert (x.min(), x.max()) == (0, 255)


def test_split_keeps_class_proportions(data):
    train, test = np.bincount(data["y_train"]), np.bincount(data["y_test"])
    assert len(train) == len(test) == 10
    assert np.abs(test - (train + test) / 4).max() <= 1


def test_preprocessing_was_measured_on_the_training_images(data, preprocess):
    pixels = data["x_train"] * preprocess["scale"]
    assert preprocess["mean"] == [pytest.approx(pixels.mean(), abs=1e-4)]
    assert preprocess["std"] == [pytest.approx(pixels.std(), abs=1e-4)]
    rest = {key: preprocess[key] for key in preprocess.keys() - {"scale", "mean", "std"}}
    assert rest == {"size": [8, 8], "layout": "nchw", "channels": "gray", "augment": ["crop"]}


def test_graph_has_the_parts_that_it_is_shipped_for(model):
    shapes = {i.name: list(i.dims) for i in model.graph.initializer}
    nodes = {op: [n for n in model.graph.node if n.op_type == op] for op in ("Conv", "BatchNormalization", "Add")}
    assert len(nodes["Conv"]) == len(nodes["BatchNormalization"]) == 9
    assert len(nodes["Add"]) == 3
    groups = [next(a.i for a in n.attribute if a.name == "group") for n in nodes["Conv"]]
    assert sorted(groups) == [1] * 8 + [96]
    assert shapes["block3.depthwise.conv.weight"] == [96, 1, 3, 3]
    assert shapes["block2.shortcut.conv.weight"] == [48, 32, 1, 1]
