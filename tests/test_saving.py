"""Saving: what the file said is kept, nothing half-written is ever seen, and no input is overwritten."""

import os

import onnx
import onnx_ir as ir
import pytest
from files import NET, halved, written
from graphs import feeds, gap, parse, proto_of, run
from onnx import TensorProto, helper

import seam_onnx.model
from seam_onnx.errors import PathError
from seam_onnx.model import load, save


def test_a_dynamic_batch_survives_pruning(tmp_path):
    model = load(written(parse(NET), tmp_path))
    save(halved(model), tmp_path / "small.onnx")
    out = onnx.load(tmp_path / "small.onnx")
    for value in (out.graph.input[0], out.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert run(out, feeds(model, 7))[0].shape == (7, 5)


@pytest.mark.parametrize("given", ["[0, 8]", "[-1, 8]"])
def test_a_computed_batch_survives_pruning(tmp_path, given):
    """Reshape(p, Concat(Shape(x)[0], 8)): exporters spell the batch out."""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[8, 5] g, int64[1] zero = {0},
    int64[1] c = {8}>
    { a = Conv (x, w) p = GlobalAveragePool (a) s = Shape (x) n = Gather (s, zero) t = Concat <axis = 0> (n, c)
      f = Reshape (p, t) y = MatMul (f, g) }"""
    model = load(written(parse(text), tmp_path))
    small = halved(model)
    assert small.shapes.dims["f"] == (1, 4)
    assert run(small, feeds(model, 3))[0].shape == (3, 5)


def test_names_docs_and_metadata_survive(tmp_path):
    proto = parse(NET, opset=18)
    proto.doc_string, proto.producer_name, proto.model_version = "a model", "someone", 7
    proto.graph.doc_string, proto.graph.node[0].doc_string = "a graph", "a node"
    proto.graph.node[0].name = "first"
    proto.graph.input[0].doc_string = "an image"
    helper.set_model_props(proto, {"names": "a,b,c,d,e", "licence": "ours"})
    model = load(written(proto, tmp_path))
    for number, changed in enumerate((model, halved(model))):
        save(changed, tmp_path / f"{number}.onnx")
        out = onnx.load(tmp_path / f"{number}.onnx")
        assert {p.key: p.value for p in out.metadata_props} == {"names": "a,b,c,d,e", "licence": "ours"}
        assert (out.doc_string, out.producer_name, out.model_version) == ("a model", "someone", 7)
        assert (out.graph.doc_string, out.graph.node[0].doc_string) == ("a graph", "a node")
        assert (out.graph.name, out.graph.node[0].name, out.graph.input[0].doc_string) == ("g", "first", "an image")
        assert (out.ir_version, out.opset_import[0].version) == (8, 18)
        assert {i.name for i in out.graph.initializer} == {"w", "b", "g", "h"}
        assert [v.name for v in (*out.graph.input, *out.graph.output)] == ["x", "y"]


def test_saving_twice_gives_the_same_bytes(tmp_path):
    model = load(written(parse(NET), tmp_path))
    first, second = save(model, tmp_path / "1.onnx"), save(model, tmp_path / "2.onnx")
    assert first.read_bytes() == second.read_bytes()


def test_weights_from_external_data_are_written_into_the_new_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path = written(parse(NET), tmp_path / "in", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load(path)
    expected = run(model, inputs := feeds(model, 2))[0]
    save(model, tmp_path / "out" / "model.onnx")
    assert os.listdir(tmp_path / "out") == ["model.onnx"]
    assert gap(run(load(tmp_path / "out" / "model.onnx"), inputs)[0], expected) == 0


@pytest.mark.parametrize("external", [False, True])
def test_large_weights_go_beside_the_model(tmp_path, monkeypatch, external):
    monkeypatch.setattr(seam_onnx.model, "LARGEST_INLINE", 100)
    how = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0} if external else {}
    model = load(written(parse(NET), tmp_path, **how))
    expected = run(model, inputs := feeds(model, 2))[0]
    (tmp_path / "out").mkdir()
    save(model, tmp_path / "out" / "big.onnx")
    assert sorted(os.listdir(tmp_path / "out")) == ["big.onnx", "big.onnx.data"]
    (tmp_path / "model.onnx").unlink()
    again = load(tmp_path / "out" / "big.onnx")
    assert isinstance(again.initializers["w"].const_value, ir.ExternalTensor)
    assert gap(run(again, inputs)[0], expected) == 0


def test_neither_the_input_nor_its_data_is_overwritten(tmp_path, monkeypatch):
    path = written(parse(NET), tmp_path, save_as_external_data=True, location="other.onnx.data", size_threshold=0)
    model = load(path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    (tmp_path / "link.onnx").symlink_to(path)
    for target in (path, tmp_path / "link.onnx"):
        for changed in (model, halved(model)):
            with pytest.raises(PathError, match="input file"):
                save(changed, target, overwrite=True)
    monkeypatch.setattr(seam_onnx.model, "LARGEST_INLINE", 100)
    with pytest.raises(PathError, match="input file"):
        save(model, tmp_path / "other.onnx", overwrite=True)
    (tmp_path / "link.onnx").unlink()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_existing_files_are_replaced_only_when_asked(tmp_path, monkeypatch):
    model = load(written(parse(NET), tmp_path))
    target = tmp_path / "out.onnx"
    target.write_text("precious")
    with pytest.raises(PathError, match="exists already"):
        save(model, target)
    assert target.read_text() == "precious"
    save(model, target, overwrite=True)
    assert load(target).opset == 17
    target.unlink()
    (tmp_path / "out.onnx.data").write_text("precious")
    monkeypatch.setattr(seam_onnx.model, "LARGEST_INLINE", 100)
    with pytest.raises(PathError, match="exists already"):
        save(model, target)
    assert (tmp_path / "out.onnx.data").read_text() == "precious"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bug")])
@pytest.mark.parametrize("old", [None, b"the old file"])
def test_an_interrupted_save_leaves_things_as_they_were(tmp_path, monkeypatch, error, old):
    model = load(written(parse(NET), tmp_path))
    target = tmp_path / "out.onnx"
    if old is not None:
        target.write_bytes(old)
    before = sorted(os.listdir(tmp_path))

    def broken(proto, path, **how):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(ir, "save", broken)
    with pytest.raises(PathError if isinstance(error, OSError) else type(error)):
        save(model, target, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == before
    assert old is None or target.read_bytes() == old


def test_places_that_cannot_be_written(tmp_path):
    model = load(written(parse(NET), tmp_path))
    (tmp_path / "file").write_text("x")
    for target in (tmp_path, tmp_path / "file" / "out.onnx", tmp_path / ("n" * 300), tmp_path / "a\0b"):
        with pytest.raises(PathError) as caught:
            save(model, target)
        assert "\n" not in str(caught.value)
    assert save(model, tmp_path / "deep" / "er" / "out.onnx").is_file()
    assert save(model, tmp_path / ("n" * 250)).is_file()


def test_a_type_that_is_not_float_survives(tmp_path):
    proto = parse(NET.replace("float", "double"))
    model = load(written(proto, tmp_path))
    small = halved(model)
    assert {i.data_type for i in proto_of(small).graph.initializer} == {TensorProto.DOUBLE}
