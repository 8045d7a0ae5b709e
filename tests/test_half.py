"""Half precision: search runs in float32, and what is stored keeps its type. The same small network in both types."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from graphs import DATA, feeds, gap, loaded, parse, run
from laws import dropped, lowering_gap, pruned
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

from seam_onnx.channels import analyze
from seam_onnx.lowering import lower, write_back
from seam_onnx.model import load
from seam_onnx.surgery import channel_masks

TYPES = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}
SQUEEZENET = DATA / "onnx" / "winml_SqueezeNet_fp16.onnx"


def network(kind: str):
    """x -> Conv 8 -> Relu -> Conv 6 -> mean -> Gemm 5, weights of the type, input and output float32"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <T[8, 3, 3, 3] w, T[8] b, T[6, 8, 3, 3] v, T[5, 6] g>
    { i = Cast <to = K> (x) a = Conv <pads = [1, 1, 1, 1]> (i, w, b) r = Relu (a) c = Conv (r, v)
      p = GlobalAveragePool (c) f = Flatten (p) l = Gemm <transB = 1> (f, g) y = Cast <to = 1> (l) }"""
    return loaded(parse(text.replace("T[", f"{kind}[").replace("K", str(int(TYPES[kind]))), 22, 10))


@pytest.mark.parametrize("kind", TYPES)
def test_search_in_float32_and_weights_in_their_own_type(kind):
    model = network(kind)
    module = lower(model)
    assert {p.dtype for p in module.weights.values()} == {torch.float32}
    channels = analyze(model)
    masks = channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0)))
    masked, left = pruned(model, masks)
    assert {v.const_value.dtype for v in left.initializers.values()} == {TYPES[kind]}
    assert left.shapes.dims["w"][0] < 8
    for name in ("w", "v", "g"):
        before, after = (set(np.asarray(m.initializers[name].const_value.numpy(), float).flat) for m in (model, left))
        assert after <= before  # sliced, not rounded
    with torch.no_grad():
        for weight in module.weights.values():
            weight.mul_(1.01)
    stored = write_back(model, module).initializers["w"].const_value
    assert stored.dtype == TYPES[kind]
    found = np.asarray(stored.numpy(), np.float32)
    assert np.allclose(found, 1.01 * np.asarray(model.initializers["w"].const_value.numpy(), np.float32), rtol=1e-2)
    try:
        expected, got = run(masked, feeds(model, 2))[0], run(left, feeds(model, 2))[0]
    except NotImplemented as error:
        pytest.skip(f"onnxruntime has no such kernels on this processor: {error}")
    assert gap(got, expected) < 2e-2
    assert lowering_gap(model) < 3e-2


def test_squeezenet_in_half_precision():
    if not SQUEEZENET.is_file():
        pytest.skip(f"{SQUEEZENET.name} is not on this machine")
    model = load(SQUEEZENET)
    channels = analyze(model)
    masks = channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0)))
    masked, left = pruned(model, masks)
    weights = [v.const_value for v in left.initializers.values() if v.const_value.dtype.is_floating_point()]
    assert {w.dtype for w in weights} == {ir.DataType.FLOAT16}
    assert channels.cost(channels.without(dropped(channels, "0.5", 0))).params >= sum(w.size for w in weights) - 64
    inputs = feeds(model)
    assert gap(run(left, inputs)[0], run(masked, inputs)[0]) < 2e-2
