"""Quantised models: what onnxruntime's own quantiser makes of real networks, and small ones by hand.

An activation on the edge between two integers may be rounded either way, so torch and onnxruntime agree to a few quanta
of the output (1/255 of its range each); removal is exact to the bit, since what goes are zeros of an integer sum.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import seam
from graphs import DATA, DIGITS, build, feeds, gap, loaded, run
from laws import drawn_masks, dropped, lowering_gap, masking_gap, pruned, removal_gap
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from seam_onnx.channels import analyze
from seam_onnx.lowering import lower, write_back
from seam_onnx.model import Model, load
from seam_onnx.quantized import stored_as
from seam_onnx.surgery import channel_masks, classes, cut_head

QUANTA = 0.02
"""Five steps of 1/255; the most that was seen is three (`seam_onnx.judge.QUANTUM_LIMIT`)."""
CIFAR = DATA / "onnx" / "cifar10_resnet20_legacy13.onnx"


class Noise(CalibrationDataReader):
    """A few random batches."""

    def __init__(self, path: Path) -> None:
        (value,) = onnx.load(path).graph.input
        shape = [4, *(d.dim_value for d in value.type.tensor_type.shape.dim[1:])]
        rng = np.random.default_rng(0)
        self.batches = iter([{value.name: rng.standard_normal(shape).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """A file quantised in some way, made once."""
    made: dict[tuple[Path, str], Path] = {}

    def make(source: Path, how: str) -> Path:
        if (source, how) not in made:
            made[source, how] = tmp_path_factory.mktemp("quantised") / f"{how}.onnx"
            if how == "dynamic":
                quantize_dynamic(source, made[source, how])
            else:
                form = QuantFormat.QOperator if how == "operators" else QuantFormat.QDQ
                kind = QuantType.QInt8 if how == "tensor" else QuantType.QUInt8
                options = {"per_channel": how != "tensor", "activation_type": kind, "weight_type": QuantType.QInt8}
                quantize_static(source, made[source, how], Noise(source), quant_format=form, **options)
        return made[source, how]

    return make


@pytest.mark.parametrize("source", [DIGITS, CIFAR], ids=["digits", "cifar10"])
@pytest.mark.parametrize("how", ["tensor", "channel"])
def test_the_laws_hold_in_qdq_format(source, how, quantised):
    if not source.is_file():
        pytest.skip(f"{source.name} is not on this machine")
    model = load(quantised(source, how))
    channels, plain = analyze(model), analyze(load(source))
    assert not channels.refused
    assert len(channels.free) == len(plain.free)
    assert channels.cost(channels.everything()).macs == plain.cost(plain.everything()).macs
    assert lowering_gap(model) < QUANTA
    for seed, kind in enumerate(("0.5", "one", "all")):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        assert masking_gap(model, masks) < QUANTA
        assert removal_gap(model, masks) == 0
    assert removal_gap(model, drawn_masks(model, channels, 1)) == 0


def test_scales_and_zero_points_go_with_their_channels(quantised):
    model = load(quantised(DIGITS, "channel"))
    channels = analyze(model)
    _, left = pruned(model, channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0))))
    forms = [form for value in left.initializers.values() if (form := stored_as(value)) is not None]
    sliced = [form for form in forms if form.axis is not None]
    assert sliced
    for form in sliced:
        assert form.scale.const_value.size == form.zero.const_value.size == form.tensor.const_value.shape[form.axis]
    assert sum(f.tensor.const_value.size for f in forms) < 0.4 * channels.cost(channels.everything()).params


def test_classes_of_a_quantised_model_are_cut(quantised):
    model = load(quantised(DIGITS, "channel"))
    cut = cut_head(model, (8, 3), rest=True)
    inputs = feeds(model, 3)
    assert classes(cut) == 3
    whole, (some,) = run(model, inputs)[0], run(cut, inputs)
    assert np.array_equal(some[:, :2], whole[:, [8, 3]])


def test_training_is_written_back_as_integers(quantised):
    """Weights moved off the grid come back as the nearest integers, of which torch knows already"""
    import torch

    model = load(quantised(DIGITS, "channel"))
    module = lower(model)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in module.weights.values():
            weight.mul_(torch.from_numpy(rng.uniform(0.9, 1.0, weight.shape).astype(np.float32)))
    trained = write_back(model, module)
    inputs = feeds(model, 3)
    with torch.no_grad():
        found = module(*map(torch.from_numpy, inputs.values())).numpy()
    assert gap(found, run(trained, inputs)[0]) < QUANTA
    assert gap(run(trained, inputs)[0], run(model, inputs)[0]) > 0
    kinds = {n: v.const_value.dtype for n, v in model.initializers.items()}
    assert {n: v.const_value.dtype for n, v in trained.initializers.items()} == kinds
    module(*map(torch.from_numpy, inputs.values())).sum().backward()
    name = next(n for n in module.weights if n.endswith("conv.weight_quantized"))
    assert module.weights[name].grad.abs().sum() > 0


@pytest.mark.parametrize(("how", "op"), [("operators", "QLinearConv"), ("dynamic", "ConvInteger")])
def test_integer_ops_are_refused_with_a_reason(how, op, quantised, monkeypatch, capsys, tmp_path):
    path = quantised(DIGITS, how)
    model = load(path)
    blockers = [b for b in analyze(model).blockers if b.op == op]
    assert len(blockers) == 9  # one a convolution
    assert all(b.reason == "computes on integers" and "QDQ" in b.unblock for b in blockers)
    said = seam(monkeypatch, capsys, "compact", path, "-o", tmp_path / "small.onnx")
    assert said.code == 0
    inputs = feeds(model, 3)
    assert np.array_equal(run(load(tmp_path / "small.onnx"), inputs)[0], run(model, inputs)[0])
    words = ("--labels", "3,8", "--data", DIGITS.with_name("data.npz"), "-o", tmp_path / "p.onnx")
    said = seam(monkeypatch, capsys, "prune", path, *words)
    assert said.code == 3
    assert "is not run in torch; quantise in QDQ format" in said.err


def test_a_constant_that_would_have_to_be_rounded_is_not_folded():
    """Conv 4 with row 1 zero and bias 0.5 there -> quantised Conv: the constant stays, since its bias is stored rounded"""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    weight[1] = 0
    text = """(float[N, 3, 4, 4] x) => (float[N, 5, 4, 4] y) <float[4, 3, 1, 1] w, float[4] b, int8[5, 4, 1, 1] q,
    float s = {0.01}, int8 z = {0}>
    { a = Conv (x, w, b) v = DequantizeLinear (q, s, z) y = Conv (a, v) }"""
    integers = np.random.default_rng(1).integers(-100, 100, (5, 4, 1, 1))
    model = build(text, w=weight, b=np.full(4, 0.5), q=integers)
    assert pruned(model, channel_masks(model, analyze(model), analyze(model).everything()))[1].shapes.dims["a"][1] == 4
    integers[:, 1] = 0
    model = build(text, w=weight, b=np.full(4, 0.5), q=integers)
    assert pruned(model, channel_masks(model, analyze(model), analyze(model).everything()))[1].shapes.dims["a"][1] == 3


def blocked() -> Model:
    """A weight with one scale for each block of two inputs (opset 21)"""
    text = """(float[N, 3, 4, 4] x) => (float[N, 6] y) <float[8, 3, 4, 4] w, int8[8, 6] q, float[4, 6] s>
    { a = Conv (x, w) f = Flatten (a) v = DequantizeLinear <axis = 0, block_size = 2> (q, s) y = MatMul (f, v) }"""
    proto_given = {"q": np.random.default_rng(0).integers(-9, 9, (8, 6)), "s": np.full((4, 6), 0.1)}
    from graphs import parse

    return loaded(parse(text, 21, 10, **proto_given))


def test_scales_for_blocks_pin():
    model = blocked()
    channels = analyze(model)
    assert "its weight has a scale for each block" in {b.reason for b in channels.blockers}
    assert lowering_gap(model) < 1e-5
    assert removal_gap(model, drawn_masks(model, channels, 0)) < 1e-5
