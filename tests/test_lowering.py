"""The module that a model becomes: one parameter an initializer, gradients, writing back, and refusals."""

import numpy as np
import pytest
import torch
from graphs import DIGITS, build, feeds, gap, loaded, parse, run
from laws import torch_run
from onnx import TensorProto, helper

from seam_onnx.channels import analyze
from seam_onnx.errors import UnsupportedOpError
from seam_onnx.lowering import lower, write_back
from seam_onnx.model import load

SHARED = """(float[N, 3, 8, 8] x) => (float[N, 4] y, float[N, 4, 8, 8] b)
<float[4, 3, 1, 1] w, float[4, 4, 1, 1] v, float[4] t, int64[2] s = {0, -1}>
{ a = Conv (x, w) b = Conv (a, v, t) c = Conv (b, v, t) p = GlobalAveragePool (c) y = Reshape (p, s) }"""
"""x -> Conv w -> Conv v -> Conv v again -> mean; b is an output as well"""


def test_each_initializer_is_exactly_one_parameter():
    model = build(SHARED)
    module = lower(model)
    assert sorted(module.weights) == ["t", "v", "w"]
    assert len(list(module.parameters())) == 3
    for name, parameter in module.weights.items():
        assert parameter.dtype == torch.float32
        assert np.array_equal(parameter.detach().numpy(), model.initializers[name].const_value.numpy())


@pytest.mark.parametrize("opset", [9, 10, 17])
def test_what_a_resize_scales_by_is_no_parameter(opset):
    body = {9: "Upsample (a, f)", 10: "Resize (a, f)", 17: "Resize (a, , f)"}[opset]
    graph = f"(float[N, 3, 4, 4] x) => (float[N, 5, 8, 8] y) <float[5, 3, 1, 1] w> {{ a = Conv (x, w) y = {body} }}"
    graph = graph.replace("w>", "w, float[4] f = {1, 1, 2, 2}>")
    model = loaded(parse(graph, opset))
    assert list(lower(model).weights) == list(analyze(model).elements) == ["w"]
    assert gap(torch_run(lower(model), feeds(model, 2)), run(model, feeds(model, 2))[0]) < 1e-6


def test_gradients_reach_every_weight_through_both_readers():
    model = build(SHARED)
    module = lower(model)
    x = torch.from_numpy(feeds(model, 3)["x"])
    module(x).square().sum().backward()
    analytic = module.weights["v"].grad[1, 2, 0, 0].item()
    with torch.no_grad():
        values = []
        for step in (1e-3, -1e-3):
            module.weights["v"][1, 2, 0, 0] += step
            values.append(module(x).square().sum().item())
            module.weights["v"][1, 2, 0, 0] -= step
    assert analytic == pytest.approx((values[0] - values[1]) / 2e-3, rel=2e-2, abs=1e-3)


def test_an_inner_value_or_several():
    model = build(SHARED)
    inputs = feeds(model, 2)
    y, b = run(model, inputs)
    assert gap(torch_run(lower(model, "b"), inputs), b) < 1e-6
    with torch.no_grad():
        both = lower(model, "b", "y")(torch.from_numpy(inputs["x"]))
    assert gap(both[0].numpy(), b) < 1e-6
    assert gap(both[1].numpy(), y) < 1e-6


def test_an_input_or_an_initializer_as_output():
    model = loaded(parse("(float[N, 2] x) => (float[N, 2] y) <float[2] c> { y = Add (x, c) }"))
    x = torch.ones(3, 2)
    assert torch.equal(lower(model, "x")(x), x)
    assert lower(model, "c")(x).shape == (2,)


def test_the_module_is_in_evaluation_mode_and_keeps_statistics():
    """Conv -> BatchNormalization with stored statistics"""
    model = build(
        """(float[N, 3, 4, 4] x) => (float[N, 2, 4, 4] y)
        <float[2, 3, 1, 1] w, float[2] s, float[2] t, float[2] m, float[2] v>
        { a = Conv (x, w) y = BatchNormalization (a, s, t, m, v) }"""
    )
    module = lower(model)
    before = {name: weight.detach().clone() for name, weight in module.weights.items()}
    assert not module.training
    module.train()
    module(torch.randn(8, 3, 4, 4))
    assert all(torch.equal(before[name], weight) for name, weight in module.weights.items())


def test_writing_back_what_was_not_changed_changes_nothing():
    model = load(DIGITS)
    again = write_back(model, lower(model))
    for name, value in model.initializers.items():
        assert np.array_equal(again.initializers[name].const_value.numpy(), value.const_value.numpy())
    inputs = feeds(model, 2)
    assert np.array_equal(run(again, inputs)[0], run(model, inputs)[0])


def test_writing_back_what_was_trained():
    model = build(SHARED)
    module = lower(model)
    with torch.no_grad():
        module.weights["v"].mul_(0.5)
    again = write_back(model, module)
    inputs = feeds(model, 2)
    assert gap(run(again, inputs)[0], torch_run(module, inputs)) < 1e-5
    assert np.array_equal(again.initializers["w"].const_value.numpy(), model.initializers["w"].const_value.numpy())


@pytest.mark.parametrize("kind", ["float16", "double", "bfloat16"])
def test_types_are_kept_when_writing_back(kind):
    text = f"({kind}[N, 3] x) => ({kind}[N, 2] y) <float[3, 2] w> {{ y = MatMul (x, v) }}"
    proto = parse(text, w=np.ones((3, 2)))
    code = getattr(TensorProto, kind.upper())
    proto.graph.initializer[0].CopyFrom(helper.make_tensor("v", code, [3, 2], np.arange(6) / 4))
    model = loaded(proto)
    module = lower(model)
    with torch.no_grad():
        module.weights["v"].mul_(2)
    tensor = write_back(model, module).initializers["v"].const_value
    assert tensor.dtype.value == code
    assert np.array_equal(tensor.numpy().astype(np.float64).ravel(), np.arange(6) / 2)


def test_an_op_without_a_lowering_is_refused_by_name():
    proto = parse("(float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }")
    proto.graph.node[0].op_type, proto.graph.node[0].name = "Unheard", "somewhere"
    proto.graph.node[0].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 3))
    with pytest.raises(UnsupportedOpError, match=r"somewhere.*Unheard"):
        lower(loaded(proto))


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_what_the_table_lacks_goes_through_onnx2torch(opset):
    """x -> MatMul -> product over the columns"""
    model = build(
        """(float[N, 4] x) => (float[N] y) <float[4, 3] w>
        { a = MatMul (x, w) y = ReduceProd <axes = [1], keepdims = 0> (a) }""",
        opset,
    )
    inputs = feeds(model, 3)
    module = lower(model)
    assert gap(torch_run(module, inputs), run(model, inputs)[0]) < 1e-6
    module(torch.from_numpy(inputs["x"])).sum().backward()
    assert module.weights["w"].grad.abs().sum() > 0


def test_several_inputs():
    model = build("(float[N, 2] a, float[N, 2] b) => (float[N, 2] y) { y = Sub (a, b) }")
    inputs = feeds(model, 3)
    with torch.no_grad():
        y = lower(model)(*map(torch.from_numpy, inputs.values()))
    assert np.array_equal(y.numpy(), inputs["a"] - inputs["b"])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 4, 8])
def test_a_strided_1x1_convolution_reads_what_it_does_not_skip(channels, layout):
    """Gradients too, for images (2, C, 7, 8) in both layouts; see the comment in `ops.contraction.conv`"""
    graph = f"(float[2, {channels}, 7, 8] x) => (float[2, 8, 4, 3] y) <float[8, {channels}, 1, 1] w>"
    model = build(f"{graph} {{ y = Conv <strides: ints = [2, 3]> (x, w) }}")
    module = lower(model)
    (weight,) = module.parameters()
    x = torch.randn(2, channels, 7, 8).contiguous(memory_format=layout).requires_grad_()
    module(x).square().sum().backward()
    found = [x.grad.clone(), weight.grad.clone()]
    x.grad = weight.grad = None
    torch.einsum("nchw,oc->nohw", x[:, :, ::2, ::3], weight[:, :, 0, 0]).square().sum().backward()
    torch.testing.assert_close(found, [x.grad, weight.grad])
