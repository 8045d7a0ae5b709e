"""Broken graphs at random: whatever is done to a file, inspect and compact refuse it as a SeamError or work on it.

A mutation takes a small valid model of many op kinds and breaks it at one or two drawn places, as a bug in an exporter
or in a script that edits models would.
"""

from contextlib import suppress

import onnx
from graphs import loaded, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from seam_onnx.channels import analyze
from seam_onnx.errors import SeamError
from seam_onnx.inspection import inspect_model
from seam_onnx.model import check_finite
from seam_onnx.surgery import plan_removal, remove_channels

TEXT = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[8] b, float[8] s, float[8] t, float[8] m,
float[8] v, int8[8, 8, 1, 1] q, float[8] qs, int8[8] qz, float as = {0.05}, uint8 az = {128}, float[8, 1, 3, 3] d,
int64[4] shape = {0, 2, 4, 64}, int64[4] back = {0, 8, 8, 8}, float[8, 5] g, float[5] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w, b) c = BatchNormalization (a, s, t, m, v) e = Relu (c)
  i = QuantizeLinear (e, as, az) j = DequantizeLinear (i, as, az) k = DequantizeLinear <axis = 0> (q, qs, qz)
  l = Conv (j, k) n = Conv <group = 8, pads = [1, 1, 1, 1]> (l, d) o = Add (n, e) r = Reshape (o, shape)
  u = Transpose <perm = [0, 2, 1, 3]> (r) z = Reshape (u, back) p = Concat <axis = 1> (z, o)
  f1, f2 = Split <axis = 1> (p) p2 = GlobalAveragePool (f1) f = Flatten (p2) y = Gemm (f, g, h) }"""
OPS = (
    "Conv",
    "Gemm",
    "Einsum",
    "LSTM",
    "If",
    "Scan",
    "QLinearConv",
    "Attention",
    "Softmax",
    "Nonsense",
    "MatMul",
    "Split",
)


def mutate(model: onnx.ModelProto, draw) -> None:
    """Break one thing."""
    graph = model.graph
    node = draw(st.sampled_from(graph.node))
    tensor = draw(st.sampled_from(graph.initializer))
    names = sorted({name for n in graph.node for name in (*n.input, *n.output)})
    kind = draw(st.sampled_from(range(12)))
    if kind == 0:
        graph.node.remove(node)
    elif kind == 1 and node.input:
        node.input[draw(st.integers(0, max(0, len(node.input) - 1)))] = draw(st.sampled_from([*names, "", "nowhere"]))
    elif kind == 2:
        del node.input[draw(st.integers(0, max(0, len(node.input) - 1))) :]
    elif kind == 3:
        node.op_type = draw(st.sampled_from(OPS))
    elif kind == 4:
        node.domain = draw(st.sampled_from(["com.microsoft", "ai.onnx", "com.example"]))
    elif kind == 5:
        del node.attribute[:]
    elif kind == 6 and node.attribute:
        attribute = draw(st.sampled_from(node.attribute))
        attribute.CopyFrom(
            helper.make_attribute(attribute.name, draw(st.sampled_from([-7, 0, [0], [9, 9], 1.5, "no"])))
        )
    elif kind == 7:
        graph.initializer.remove(tensor)
    elif kind == 8:
        dims = [draw(st.sampled_from([0, 1, 2, 8])) for _ in tensor.dims]
        tensor.CopyFrom(
            helper.make_tensor(tensor.name, tensor.data_type, dims, [1] * int(onnx.numpy_helper.np.prod(dims)))
        )
    elif kind == 9:
        node.output[0] = draw(st.sampled_from([*names, ""]))
    elif kind == 10:
        graph.node.insert(draw(st.integers(0, len(graph.node))), node)
    else:
        model.opset_import[0].version = draw(st.sampled_from([0, 7, 9, 12, 21, 999]))


@st.composite
def broken(draw: st.DrawFn) -> onnx.ModelProto:
    model = parse(TEXT)
    for _ in range(draw(st.integers(1, 2))):
        mutate(model, draw)
    return model


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken())
def test_no_broken_graph_is_a_crash(proto):
    with suppress(SeamError):
        model = loaded(proto)
        inspect_model(model)
        check_finite(model)
        remove_channels(model, plan_removal(model, analyze(model)))


def test_the_unbroken_graph_is_worked_on():
    model = loaded(parse(TEXT))
    assert len(analyze(model).free) >= 8
