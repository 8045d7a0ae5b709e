"""Removal that keeps multiples: still exact, and no width is left that a runtime is slow on."""

from pathlib import Path

import numpy as np
import pytest
from graphs import feeds, run

from seam_onnx.channels import analyze
from seam_onnx.model import load
from seam_onnx.surgery import apply_masks, channel_masks, plan_removal, remove_channels

DIGITS = Path(__file__).parents[1] / "models" / "digits" / "model.onnx"


@pytest.mark.parametrize("step", [1, 4, 8])
@pytest.mark.parametrize("share", [0.06, 0.5, 0.9])
def test_groups_keep_multiples_and_outputs_stay(step, share):
    model = load(DIGITS)
    channels = analyze(model)
    dead = np.random.default_rng(0).permutation(channels.free)[: int(len(channels.free) * share)]
    masked = apply_masks(model, channel_masks(model, channels, channels.without(dead)))
    pruned = remove_channels(masked, plan_removal(masked, analyze(masked), step))
    inputs = feeds(model, 3)
    expected, found = run(masked, inputs)[0], run(pruned, inputs)[0]
    assert np.abs(expected - found).max() <= 1e-4 * np.ptp(expected)
    for (node, _), made in analyze(pruned).made.items():
        assert len(made) % step == 0 or node.endswith("Gemm")
