"""L1, L2 and L3 over the op table's examples and over random small graphs; see `laws`.

A float32 network of a few layers agrees to about 1e-6 of its outputs' range; 1e-5 is asked of L1, 1e-4 of L2 and L3. One
random graph in thousands amplifies rounding beyond that: there the limit is what float64 says of it (`laws.lowering_limit`).
"""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from graphs import build, feeds, loaded, parse, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import drawn_masks, dropped, lowering_gap, lowering_limit, masking_gap, removal_gap
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented
from random_graphs import networks

from seam_onnx.channels import analyze
from seam_onnx.model import Model
from seam_onnx.ops import OpSpec, every
from seam_onnx.surgery import apply_masks, channel_masks

OPSETS = (26, 23, 22, 20, 18, 17, 13, 12, 11, 10, 9, 8, 7)
"""Newest first; onnxruntime 1.31 runs up to 26."""
KINDS = ("none", "all", "group", "one", "0.5", "0.9", "weights")
EXAMPLES = [spec for spec in every() if spec.example]
AMPLIFY = ("Reciprocal", "Div")
"""Near 0 they amplify rounding without bound: tried on values of one sign alone."""


def around(spec: OpSpec, opset: int, positive: bool) -> onnx.ModelProto | None:
    """conv, example, conv where it gives an image, pooling, Gemm; None where the example is not valid at this opset."""
    function = "Sigmoid" if positive else "Identity"
    weights = "float[8, 3, 3, 3] w1, float[8, 3, 3, 3] w2, float[8] b1, float[8, 8, 3, 3] w"
    if "c = " not in spec.example:
        weights += ", float[8, 1, 1] c" if spec.name == "PRelu" else ", float[8] c"
    body = f"in1 = Conv (image, w1, b1)\n in2 = Conv (image, w2)\n x = {function} (in1)\n z = {function} (in2)"
    body = f"{body}\n {spec.example}"
    try:
        plain = parse(f"(float[N, 3, 8, 8] image) => (float y) <{weights}> {{ {body} }}", opset)
        del plain.graph.output[0].type.tensor_type.shape.dim[:]
        plain.graph.output[0].type.tensor_type.ClearField("shape")
        plain = onnx.shape_inference.infer_shapes(plain, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(plain)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
        return None
    dims = [d.dim_value for d in plain.graph.output[0].type.tensor_type.shape.dim]
    tail, features = "out3 = Flatten (y)", int(np.prod(dims[1:]))
    if len(dims) == 4:
        tail, features = (
            "out0 = Conv (y, w3)\n out1 = Relu (out0)\n out2 = GlobalAveragePool (out1)\n out3 = Flatten (out2)",
            6,
        )
        weights += f", float[6, {dims[1]}, 1, 1] w3"
    body += f"\n {tail}\n out = MatMul (out3, w4)"
    return parse(
        f"(float[N, 3, 8, 8] image) => (float[N, 5] out) <{weights}, float[{features}, 5] w4> {{ {body} }}", opset
    )


def examples(spec: OpSpec) -> Iterator[tuple[str, Model, tuple[str, ...]]]:
    """The example at the newest and the oldest opset where it is valid, with and without a sign, and masks to try."""
    valid = [k for k in OPSETS if spec.since <= k <= spec.until and around(spec, k, False) is not None]
    assert valid, "the example is valid at no opset of its range"
    for opset in {valid[0], valid[-1]}:
        for positive in (False, True):
            model = loaded(around(spec, opset, positive))
            finite = np.isfinite(run(model, feeds(model, 3))[0]).all()
            if finite and (positive or spec.name not in AMPLIFY):
                kinds = ("none", "0.5", "all") if opset == valid[0] and not positive else ("0.5",)
                yield f"opset {opset}, {'positive' if positive else 'signed'}", model, kinds


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda s: f"{s.name}-{s.since}")
def test_examples_of_the_op_table(spec):
    tried = 0
    try:
        for where, model, kinds in examples(spec):
            tried += check_example(model, kinds, where)
    except NotImplemented as error:
        pytest.skip(f"onnxruntime does not run it: {error}")
    assert tried


def check_example(model: Model, kinds: tuple[str, ...], where: str) -> int:
    """All three laws; the number of masks under which the network has finite outputs."""
    channels, tried = analyze(model), 0
    assert not channels.refused, where
    assert lowering_gap(model) < 1e-5, where
    for seed, kind in enumerate(kinds):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        if np.isfinite(run(apply_masks(model, masks), feeds(model, 3))[0]).all():
            assert masking_gap(model, masks) < 1e-4, (where, kind)
            assert removal_gap(model, masks) < 1e-4, (where, kind)
            tried += 1
    return tried


@pytest.mark.parametrize(("offset", "amplifies"), [(0.0, False), (1e4, True)])
def test_the_limit_follows_what_rounding_does(offset, amplifies):
    """(Conv(x) + offset) - offset loses the digits that the offset has too many of"""
    text = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float c, float[8, 5] g>
    { a = Conv (x, w) b = Add (a, c) d = Sub (b, c) p = GlobalAveragePool (d) f = Flatten (p) y = MatMul (f, g) }"""
    model = build(text, c=offset)
    limit = lowering_limit(model)
    assert limit > 1e-4 if amplifies else limit == 1e-5
    assert lowering_gap(model) < limit


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from(KINDS), st.integers(0, 99), st.sampled_from([1, 3]))
def test_random_graphs(proto, kind, seed, batch):
    check_laws(proto, kind, seed, batch)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from(KINDS), st.integers(0, 10_000), st.sampled_from([1, 3]))
def test_many_random_graphs(proto, kind, seed, batch):
    check_laws(proto, kind, seed, batch)


def check_laws(proto: onnx.ModelProto, kind: str, seed: int, batch: int) -> None:
    """All three laws on one model under one mask."""
    model = loaded(proto)
    channels = analyze(model)
    assert not channels.refused
    if kind == "weights":
        masks = drawn_masks(model, channels, seed)
    else:
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
    found = lowering_gap(model, batch, seed)
    assert found < 1e-5 or found < lowering_limit(model, batch, seed)
    assert masking_gap(model, masks, batch, seed) < 1e-4
    assert removal_gap(model, masks, batch, seed) < 1e-4
