"""Loading: every form in which ONNX writes the same network."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from files import NET, halved, written
from graphs import DATA, feeds, gap, parse, proto_of, run
from laws import lowering_gap
from onnx import helper

from seam_onnx.channels import analyze
from seam_onnx.model import load, save


@pytest.mark.parametrize("opset", [*range(7, 27)])
def test_opsets(tmp_path, opset):
    model = load(written(parse(NET, opset), tmp_path))
    assert model.opset == opset
    assert lowering_gap(model) < 1e-5
    small = halved(model)
    assert small.opset == opset
    assert small.shapes.dims["a"] == (1, 4, 8, 8)


def test_the_newest_opset_loads(tmp_path):
    opset = onnx.defs.onnx_opset_version()
    proto = parse(NET, opset)
    assert halved(load(written(proto, tmp_path))).opset == opset


def test_the_default_domain_by_its_long_name(tmp_path):
    proto = parse(NET)
    proto.opset_import[0].domain = "ai.onnx"
    model = load(written(proto, tmp_path))
    assert model.opset == 17
    assert [o.domain for o in proto_of(model).opset_import] == [""]


def test_external_data_is_read(tmp_path):
    proto = parse(NET)
    expected = run(proto, inputs := feeds(load(written(proto, tmp_path)), 2))[0]
    folder = tmp_path / "apart"
    folder.mkdir()
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    path = written(copy, folder, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = load(path)
    assert isinstance(model.initializers["w"].const_value, ir.ExternalTensor)
    assert gap(run(model, inputs)[0], expected) == 0
    assert halved(model).shapes.dims["w"] == (4, 3, 3, 3)


def test_a_relative_path_with_external_data(tmp_path, monkeypatch):
    written(parse(NET), tmp_path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    assert load("model.onnx").initializers["w"].const_value.numpy().shape == (8, 3, 3, 3)


def test_a_linked_model_with_its_data_in_the_links_folder(tmp_path):
    """Layout: store/blob, here/model.onnx -> store/blob, here/weights.bin."""
    (tmp_path / "store").mkdir()
    (tmp_path / "here").mkdir()
    path = written(parse(NET), tmp_path / "here", save_as_external_data=True, location="weights.bin", size_threshold=0)
    path.rename(tmp_path / "store" / "blob")
    path.symlink_to(tmp_path / "store" / "blob")
    assert load(path).initializers["w"].const_value.numpy().shape == (8, 3, 3, 3)


def test_functions_are_inlined(tmp_path):
    proto = parse(NET)
    body = [helper.make_node("Mul", ["u", "u"], ["s"]), helper.make_node("Add", ["s", "u"], ["v"])]
    function = helper.make_function("local", "Bend", ["u"], ["v"], body, [helper.make_opsetid("", 17)])
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.graph.node[1].CopyFrom(helper.make_node("Bend", ["a"], ["r"], domain="local"))
    model = load(written(proto, tmp_path))
    assert {n.op_type for n in model.graph} == {"Conv", "Mul", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
    assert not analyze(model).refused
    assert lowering_gap(model) < 1e-5


def test_constant_nodes_become_initializers(tmp_path):
    proto = parse(NET)
    for initializer in list(proto.graph.initializer):
        proto.graph.node.insert(0, helper.make_node("Constant", [], [initializer.name], value=initializer))
    del proto.graph.initializer[:]
    model = load(written(proto, tmp_path))
    assert set(model.initializers) == {"w", "b", "g", "h"}
    assert "Constant" not in {n.op_type for n in model.graph}
    assert lowering_gap(model) < 1e-5


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value_float = 0.5", np.float32(0.5)),
        ("value_floats = [0.5, 2.0]", np.array([0.5, 2], np.float32)),
        ("value_int = 3", np.int64(3)),
        ("value_ints = [3, 4]", np.array([3, 4])),
    ],
)
def test_every_kind_of_constant(tmp_path, attribute, expected):
    text = (
        f"(float[N, 2] x) => (float[N, 2] y) {{ c = Constant <{attribute}> () d = Cast <to = 1> (c) y = Add (x, d) }}"
    )
    model = load(written(parse(text), tmp_path))
    (constant,) = model.initializers.values()
    assert np.array_equal(constant.const_value.numpy(), np.asarray(expected, np.float32))
    assert constant.const_value.numpy().shape == np.shape(expected)


def test_initializers_behind_identity(tmp_path):
    proto = parse(NET)
    proto.graph.node[0].input[1] = "w_again"
    proto.graph.node.insert(0, helper.make_node("Identity", ["w"], ["w_again"]))
    model = load(written(proto, tmp_path))
    assert next(iter(model.graph)).inputs[1].const_value is not None
    assert lowering_gap(model) < 1e-5
    assert halved(model).shapes.dims["a"] == (1, 4, 8, 8)


def test_weights_computed_from_weights_are_folded(tmp_path):
    """w = Reshape(Transpose(v)) * 0.5"""
    text = """(float[N, 8] x) => (float[N, 5] y) <float[5, 8] v, float s = {0.5}>
    { t = Transpose (v) w = Mul (t, s) y = MatMul (x, w) }"""
    model = load(written(parse(text), tmp_path))
    assert [n.op_type for n in model.graph] == ["MatMul"]
    assert list(model.initializers) == ["w"]


def test_ir_3_initializers_are_inputs_and_stay_so(tmp_path):
    proto = parse(NET, opset=8, ir_version=3)
    for i in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(i.name, i.data_type, i.dims))
    model = load(written(proto, tmp_path))
    assert [v.name for v in model.graph.inputs] == ["x"]
    save(halved(model), tmp_path / "out.onnx")
    out = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(out, full_check=True)
    assert out.ir_version == 3
    assert {i.name for i in out.graph.input} == {"x", *(i.name for i in out.graph.initializer)}
    assert load(tmp_path / "out.onnx").shapes.dims["a"] == (1, 4, 8, 8)


def test_the_original_ir_3_file():
    path = DATA / "onnx" / "winml_SqueezeNet_fp16.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    model = load(path)
    assert (model.proto.ir_version, model.opset, len(model.graph.inputs)) == (3, 7, 1)
    assert (
        model.initializers["conv1_W"].const_value.dtype == ir.DataType.FLOAT16
        if "conv1_W" in model.initializers
        else True
    )


def test_a_graph_that_is_not_sorted(tmp_path):
    proto = parse(NET)
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert lowering_gap(load(written(proto, tmp_path))) < 1e-5


def test_nodes_without_names_or_with_the_same(tmp_path):
    proto = parse(NET)
    for node in proto.graph.node:
        node.name = "same"
    names = [n.name for n in load(written(proto, tmp_path)).graph]
    assert names[0] == "same"
    assert len(set(names)) == len(names)
