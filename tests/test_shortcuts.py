"""Shortcuts of Slice and Pad written as convolutions: the same outputs, and nothing else is touched."""

import numpy as np
import pytest
from graphs import DATA, build, feeds, gap, run
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import dropped, removal_gap

from seam_onnx.channels import analyze
from seam_onnx.finding import shrinks
from seam_onnx.model import Model, load
from seam_onnx.surgery import channel_masks
from seam_onnx.surgery.shortcuts import convolved

STARTS, STEPS, AXES, ENDS = "{0, 0}", "{2, 2}", "{2, 3}", "{100, 100}"


def shortcut(
    channels: int = 4, pads: tuple[int, ...] = (0, 2, 0, 0, 0, 2, 0, 0), starts: str = STARTS, steps: str = STEPS,
    value: float = 0.0, tail: str = "q = Add (m, d) y = GlobalAveragePool (q)", size: str = "6, 6",
) -> Model:  # fmt: skip
    """x (N, 3, 12, 12) -> Conv (N, channels, 12, 12) -> Slice (N, channels, 6, 6) -> Pad -> Add -> (N, 8, 1, 1)"""
    wide = channels + pads[1] + pads[5]
    return build(
        f"(float[N, 3, 12, 12] x) => (float[N, {wide}, 1, 1] y) <float[{channels}, 3, 1, 1] w, float[1, {wide}, {size}] m,"
        f" int64[2] b = {starts}, int64[2] e = {ENDS}, int64[2] a = {AXES}, int64[2] s = {steps},"
        f" int64[8] p = {{{', '.join(map(str, pads))}}}, float v = {{{value}}}>"
        f"{{ k = Conv (x, w) c = Slice (k, b, e, a, s) d = Pad (c, p, v) {tail} }}"
    )


def kinds(model: Model) -> list[str]:
    return [node.op_type for node in model.graph]


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 4),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    steps=st.tuples(st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 3, 4])),
)
def test_the_same_outputs_whatever_is_skipped_and_padded(channels, before, after, steps):
    pads = (0, before, 0, 0, 0, after, 0, 0)
    model = shortcut(channels, pads, steps=f"{{{steps[0]}, {steps[1]}}}", size=f"{12 // steps[0]}, {12 // steps[1]}")
    found = convolved(model)
    assert ("Conv" in kinds(found)[1:]) == (before + after > 0)
    assert gap(run(found, inputs := feeds(model, 3))[0], run(model, inputs)[0]) < 1e-6


@pytest.mark.parametrize(
    "changed",
    [
        {"starts": "{1, 0}"},  # other pixels
        {"value": 1.0},
        {"pads": (0, 2, 0, 0, 0, 2, 1, 0), "size": "7, 6"},  # rows, too
        {"tail": "q = Mul (m, d) y = GlobalAveragePool (q)"},
        {"tail": "q = Add (m, d) r = Mul (q, d) y = GlobalAveragePool (r)"},
        {"pads": (0,) * 8},
    ],
    ids=["offset", "ones", "rows", "multiplied", "read twice", "nothing"],
)
def test_what_is_no_such_shortcut_stays(changed):
    model = shortcut(**changed)
    assert convolved(model) is model


@pytest.mark.parametrize(
    ("target", "smaller"),
    [("macs=1", False), ("params=1", False), ("macs=0.9", True), ("latency=1", True), ("max-drop=0", True)],
)
def test_a_target_that_asks_for_all_leaves_shortcuts_alone(target, smaller):
    assert shrinks(target) == smaller


def test_weights_are_ones_and_zeros():
    (weight,) = (v.const_value.numpy() for n, v in convolved(shortcut()).initializers.items() if n.endswith(".weight"))
    expected = np.zeros((8, 4))
    expected[np.arange(2, 6), np.arange(4)] = 1
    assert np.array_equal(weight[:, :, 0, 0], expected)
    assert weight.dtype == np.float32


@pytest.mark.parametrize("exporter", ["dynamo", "legacy13"])
def test_shortcuts_of_a_real_resnet(exporter):
    path = DATA / "onnx" / f"cifar10_resnet20_{exporter}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    model = load(path)
    found = convolved(model)
    assert not {"Slice", "Pad"} & set(kinds(found))
    assert kinds(found).count("Conv") == kinds(model).count("Conv") + 2
    inputs = feeds(model, 2)
    assert gap(run(found, inputs)[0], run(model, inputs)[0]) < 1e-5
    channels = analyze(found)
    masks = channel_masks(found, channels, channels.without(dropped(channels, "0.5", 0)))
    assert removal_gap(found, masks) < 1e-4
