"""Model files that cannot be worked on: each a one-line error of the right kind."""

import numpy as np
import onnx
import pytest
from files import NET, written
from graphs import build, loaded, parse
from onnx import TensorProto, helper
from refusals import refusal

from seam_onnx.errors import (
    BrokenModelError,
    ModelError,
    NotOnnxError,
    PathError,
    ShapeError,
)
from seam_onnx.model import check_finite, load
from seam_onnx.surgery import classes, cut_head

# ---- not ONNX, or not all of it -------------------------------------------------------------------------------------


def test_no_file(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path, tmp_path / ("n" * 300), tmp_path / "a\0b"):
        with refusal(PathError, code=2):
            load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"hello, this is no model\n",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        b"PK\x03\x04" + b"x" * 99,
    ],
)
def test_another_kind_of_file(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with refusal(NotOnnxError, "model.onnx"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_truncated_file(tmp_path, share):
    content = parse(NET).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content[: int(len(content) * share)])
    with refusal(NotOnnxError, "model.onnx"):
        load(tmp_path / "model.onnx")


def test_every_truncation_is_noticed(tmp_path):
    content = parse("(float[N, 2] x) => (float[N, 2] y) { y = Relu (x) }").SerializeToString()
    for end in range(len(content)):
        (tmp_path / "model.onnx").write_bytes(content[:end])
        with refusal(NotOnnxError):
            load(tmp_path / "model.onnx")


# ---- external data --------------------------------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path):
    """A model whose weights are in weights.bin."""
    return written(parse(NET), tmp_path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def test_missing_external_data(external):
    (external.parent / "weights.bin").unlink()
    with refusal(BrokenModelError, "weights.bin", "missing"):
        load(external)


def test_truncated_external_data(external):
    data = external.parent / "weights.bin"
    data.write_bytes(data.read_bytes()[:-4])
    with refusal(BrokenModelError, "weights.bin", "cut off"):
        load(external)


def test_hard_linked_external_data(external):
    (external.parent / "again.bin").hardlink_to(external.parent / "weights.bin")
    with refusal(BrokenModelError, "hard link", "copy"):
        load(external)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname"])
def test_external_data_elsewhere(external, location):
    proto = onnx.load(external, load_external_data=False)
    for initializer in proto.graph.initializer:
        next(e for e in initializer.external_data if e.key == "location").value = location
    external.write_bytes(proto.SerializeToString())
    with refusal(BrokenModelError):
        load(external)


def test_a_link_to_data_elsewhere(external, tmp_path_factory):
    data = external.parent / "weights.bin"
    data.rename(target := tmp_path_factory.mktemp("elsewhere") / "weights.bin")
    data.symlink_to(target)
    with refusal(BrokenModelError, "outside", "copy it beside the model"):
        load(external)


# ---- contradictions -------------------------------------------------------------------------------------------------


def changed(tmp_path, change):
    """A file with NET after a change."""
    proto = parse(NET)
    change(proto.graph)
    return written(proto, tmp_path)


def test_too_few_bytes_for_a_shape(tmp_path):
    with refusal(BrokenModelError, "'w'", "numbers"):
        load(changed(tmp_path, lambda g: setattr(g.initializer[0], "raw_data", b"\0" * 8)))


def test_a_missing_value(tmp_path):
    with refusal(BrokenModelError, "'nowhere'", "nothing makes"):
        load(changed(tmp_path, lambda g: g.node[1].input.__setitem__(0, "nowhere")))


def test_a_missing_output(tmp_path):
    with refusal(BrokenModelError, "'nowhere'"):
        load(changed(tmp_path, lambda g: setattr(g.output[0], "name", "nowhere")))


def test_a_value_made_twice(tmp_path):
    with refusal(BrokenModelError, "'a'"):
        load(changed(tmp_path, lambda g: g.node[1].output.__setitem__(0, "a")))
    with refusal(BrokenModelError, "'x'"):
        load(changed(tmp_path, lambda g: g.node[1].output.__setitem__(0, "x")))
    with refusal(BrokenModelError, "'w'"):
        load(changed(tmp_path, lambda g: g.node[1].output.__setitem__(0, "w")))


def test_a_cycle(tmp_path):
    with refusal(BrokenModelError, "cycle"):
        load(changed(tmp_path, lambda g: g.node[0].input.__setitem__(0, "f")))


@pytest.mark.parametrize("opset", [0, 1, 6, 999])
def test_opsets_out_of_range(tmp_path, opset):
    proto = parse(NET)
    proto.opset_import[0].version = opset
    with refusal(ModelError, f"opset {opset}", "version_converter"):
        load(written(proto, tmp_path))


def test_no_default_opset(tmp_path):
    proto = parse(NET)
    proto.opset_import[0].domain = "com.example"
    with refusal(ModelError, "no opset"):
        load(written(proto, tmp_path))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(tmp_path, number):
    weights = np.ones((8, 3, 3, 3), np.float32)
    weights[4, 1, 2, 0] = number
    model = loaded(parse(NET, w=weights))
    with refusal(BrokenModelError, "'w'", "NaN"):
        check_finite(model)
    check_finite(build(NET))


# ---- shapes ---------------------------------------------------------------------------------------------------------


def test_sizes_that_are_not_given():
    text = """(float[N, 3, height, width] x) => (float[N, 4] y)
    <float[4, 3, 3, 3] w>
    {{ a = Conv (x, w) b = GlobalAveragePool (a) y = Flatten (b) }}"""
    proto = parse(text.replace("{{", "{").replace("}}", "}"))
    with refusal(ShapeError, "height", "--shape"):
        loaded(proto)
    model = loaded(proto, height=8, width=6)
    assert model.shapes.dims["a"] == (1, 4, 6, 4)


@pytest.mark.parametrize("dims", [[0, 3, 8, 8], [-1, 3, 8, 8], [None, 3, 8, 8]])
def test_a_batch_that_is_written_as_no_size(tmp_path, dims):
    proto = parse(NET)
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, dims))
    assert load(written(proto, tmp_path)).shapes.dims["a"] == (1, 8, 8, 8)


@pytest.mark.parametrize("dims", [["N", 3, 0, 8], ["N", 3, -1, 8], ["N", 3, None, 8], None])
def test_inputs_without_a_size(tmp_path, dims):
    proto = parse(NET)
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, dims))
    with refusal(ShapeError, "'x'"):
        load(written(proto, tmp_path))


def test_a_scalar_input():
    model = build("(float x, float[N, 4] z) => (float[N, 4] y) { y = Mul (x, z) }")
    assert model.shapes.dims["x"] == ()


# ---- no class axis --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("N, 8, 6, 6", "y = Conv (x, w)"),
        ("N, 1, 1, 1", "a = Conv (x, w) y = ReduceMean <axes = [1, 2, 3]> (a)"),
    ],
)
def test_no_class_axis(shape, body):
    model = build(f"(float[N, 3, 8, 8] x) => (float[{shape}] y) <float[8, 3, 3, 3] w> {{ {body} }}")
    with refusal(ModelError, "class axis"):
        classes(model)
    with refusal(ModelError, "class axis"):
        cut_head(model, (0,), rest=False)


def test_classes_that_no_layer_makes():
    """The classes are distances to the input: no row of a weight is a class."""
    model = build("(float[N, 5] x) => (float[N, 5] y) { y = Abs (x) }")
    assert classes(model) == 5
    with refusal(ModelError, "cannot be cut"):
        cut_head(model, (0,), rest=False)


def test_sparse_initializers(tmp_path):
    proto = parse("(float[N, 4] x) => (float[N, 3] y) <float[4, 3] w> { y = MatMul (x, w) }")
    del proto.graph.initializer[:]
    sparse = onnx.SparseTensorProto(dims=[4, 3])
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [2], [0, 5]))
    proto.graph.sparse_initializer.append(sparse)
    with refusal(ModelError, "sparse"):
        load(written(proto, tmp_path))


def test_refusals_print_nothing(tmp_path, capfd):
    with refusal(BrokenModelError):
        load(changed(tmp_path, lambda g: g.node[1].input.__setitem__(0, "nowhere")))
    assert capfd.readouterr() == ("", "")
