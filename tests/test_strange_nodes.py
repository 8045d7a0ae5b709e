"""Graphs with nodes that no rule follows: they load, what reaches such a node is pinned, and lowering names it."""

import numpy as np
from files import written
from graphs import build, feeds, gap, loaded, parse, run
from onnx import TensorProto, helper, numpy_helper
from refusals import refusal

from seam_onnx.channels import analyze
from seam_onnx.errors import ShapeError, UnsupportedOpError
from seam_onnx.lowering import lower
from seam_onnx.model import check_finite, load
from seam_onnx.surgery import plan_removal, remove_channels


def untouched(model, name: str) -> None:
    """Nothing is removed at the named weight, and the model still runs as before."""
    channels = analyze(model)
    everything = remove_channels(model, plan_removal(model, channels))
    inputs = feeds(model, 2)
    for before, after in zip(run(model, inputs), run(everything, inputs), strict=True):
        assert gap(after, before) < 1e-5
    assert everything.shapes.dims[name] == model.shapes.dims[name]


BRANCHES = """(float[N, 3, 8, 8] x, bool c) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w>
{ a = Conv (x, w)
  y = If (c) <then_branch = then () => (float[N, 8, 6, 6] t) { t = Relu (a) },
              else_branch = else () => (float[N, 8, 6, 6] e) { e = Neg (a) }> }"""
"""x -> Conv -> a, and both branches of the If read a from outside"""


def test_subgraphs_pin_what_they_read():
    proto = parse(BRANCHES)
    model = loaded(proto)
    channels = analyze(model)
    assert not len(channels.free)
    assert any("subgraph" in blocker.reason or blocker.op == "If" for blocker in channels.blockers)
    with refusal(UnsupportedOpError, "If"):
        lower(model)
    untouched_with_condition(model)


def untouched_with_condition(model) -> None:
    """The pruned file of BRANCHES runs as the original."""
    small = remove_channels(model, plan_removal(model, analyze(model)))
    x = feeds(model, 2)["x"]
    for condition in (True, False):
        inputs = {"x": x, "c": np.array(condition)}
        assert gap(run(small, inputs)[0], run(model, inputs)[0]) == 0


LOOP = """(float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w, int64 count = {3}, bool yes = {1}>
{ a = Conv (x, w)
  y = Loop (count, yes, a) <body = turn (int64 i, bool go, float[N, 8, 6, 6] u) => (bool on, float[N, 8, 6, 6] v)
    { on = Identity (go) v = Add (u, a) }> }"""


def test_a_loop_is_pinned():
    model = build(LOOP)
    assert not len(analyze(model).free)
    untouched(model, "w")
    with refusal(UnsupportedOpError, "Loop"):
        lower(model)


def test_an_operator_of_a_foreign_domain(tmp_path):
    """Conv -> Foreign -> Conv: what reaches it is pinned, and the lowering names it."""
    text = """(float[N, 3, 8, 8] x) => (float[N, 4, 4, 4] y) <float[8, 3, 3, 3] w, float[4, 8, 3, 3] v>
    { a = Conv (x, w) b = Relu (a) y = Conv (b, v) }"""
    proto = parse(text)
    proto.graph.node[1].domain, proto.graph.node[1].op_type = "com.example", "Foreign"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    proto.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", 8, 6, 6]))
    model = load(written(proto, tmp_path))
    channels = analyze(model)
    assert not len(channels.free)
    assert next(b.op for b in channels.blockers) == "Foreign"
    assert len(list(remove_channels(model, plan_removal(model, channels)).graph)) == 3
    with refusal(UnsupportedOpError, "Foreign"):
        lower(model)


def test_sequences():
    """Conv -> SequenceConstruct -> SequenceAt -> Relu."""
    model = build(
        """(float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w, int64 one = {1}>
        { a = Conv (x, w) s = SequenceConstruct (a, a) b = SequenceAt (s, one) y = Relu (b) }"""
    )
    assert not len(analyze(model).free)
    untouched(model, "w")
    with refusal(UnsupportedOpError, "Sequence"):
        lower(model)


def test_a_sequence_as_input(tmp_path):
    proto = parse("(float[N, 2] x) => (float[N, 2] y) { y = Relu (x) }")
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 2])
    proto.graph.input[0].CopyFrom(sequence)
    with refusal(ShapeError, "'x'"):
        load(written(proto, tmp_path))


def test_strings(tmp_path):
    """Two outputs, one of them names: y = Conv, z = a constant of strings."""
    proto = parse("(float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w> { y = Conv (x, w) }")
    names = numpy_helper.from_array(np.array(["cat", "dog"], object), "names")
    proto.graph.initializer.append(names)
    proto.graph.node.append(helper.make_node("Identity", ["names"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.STRING, [2]))
    model = load(written(proto, tmp_path))
    check_finite(model)
    small = remove_channels(model, plan_removal(model, analyze(model)))
    assert run(small, feeds(model))[1].tolist() == ["cat", "dog"]


def test_random_numbers_are_not_constants():
    """Conv + noise: the noise is drawn anew at every run."""
    text = """(float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w>
    { a = Conv (x, w) n = RandomNormal <shape = [1, 8, 6, 6]> () y = Add (a, n) }"""
    model = build(text)
    assert "RandomNormal" in {n.op_type for n in model.graph}
    assert "n" not in model.shapes.known
    small = remove_channels(model, plan_removal(model, analyze(model)))
    assert "RandomNormal" in {n.op_type for n in small.graph}


def test_an_input_that_is_an_output():
    proto = parse("(float[N, 3, 8, 8] x) => (float[N, 8, 6, 6] y) <float[8, 3, 3, 3] w> { y = Conv (x, w) }")
    proto.graph.output.append(proto.graph.input[0])
    model = loaded(proto)
    small = remove_channels(model, plan_removal(model, analyze(model)))
    inputs = feeds(model, 2)
    assert np.array_equal(run(small, inputs)[1], inputs["x"])
