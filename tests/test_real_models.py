"""L1, L2, L3 and head cutting on trained classifiers.

digits is shipped; the others are found beside the repository, in shared/data/onnx, and skipped where they are not.
Inputs are random numbers: what is compared is two networks, not their accuracy.
"""

from functools import cache

import numpy as np
import pytest
from graphs import DATA, DIGITS, feeds, gap, run
from laws import drawn_masks, dropped, lowering_gap, masking_gap, removal_gap

from seam_onnx.channels import analyze
from seam_onnx.model import Model, load
from seam_onnx.surgery import channel_masks, classes, cut_head

SMALL = (
    "digits", "cifar10_resnet20_dynamo", "cifar10_resnet20_legacy13", "cifar10_resnet8_mlperftiny",
    "cifar100_resnet20_dynamo", "kws_dscnn_mlperftiny", "ort_mnist", "vww_mobilenetv1_025_96_mlperftiny",
    "imagenet_mobilenetv1_025_128_coral",
)  # fmt: skip
LARGE = (
    "cifar10_resnet56_dynamo", "cifar10_resnet56_legacy13", "imagenet_mobilenetv2_100_224_coral",
    "imagenet_squeezenet11_winml",
)  # fmt: skip
HALF = "winml_SqueezeNet_fp16"
SHARES = ("0", "0.1", "0.3", "0.5", "0.9", "one", "group", "all")


@cache
def named(name: str) -> Model:
    """A model by name, or a skipped test."""
    path = DIGITS if name == "digits" else DATA / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    return load(path)


def check_removal(name: str, share: str, seed: int) -> None:
    """L3 with random channels dropped."""
    model = named(name)
    channels = analyze(model)
    assert not channels.refused
    masks = channel_masks(model, channels, channels.without(dropped(channels, share, seed)))
    assert removal_gap(model, masks, batch=2, seed=seed) < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_lowering(name):
    assert lowering_gap(named(name), batch=2) < 1e-5


@pytest.mark.parametrize("share", ["0.3", "one", "all"])
@pytest.mark.parametrize("name", SMALL)
def test_removal(name, share):
    check_removal(name, share, seed=1)


@pytest.mark.parametrize("name", SMALL[:4])
def test_masking_and_removal_of_single_weights(name):
    model = named(name)
    masks = drawn_masks(model, analyze(model), seed=2)
    assert masking_gap(model, masks, batch=2) < 1e-4
    assert removal_gap(model, masks, batch=2) < 1e-4


@pytest.mark.parametrize("name", LARGE)
def test_a_large_model(name):
    assert lowering_gap(named(name), batch=1) < 1e-5
    check_removal(name, "0.5", seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", SMALL + LARGE)
def test_removal_at_many_shares(name, share, seed):
    check_removal(name, share, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", SMALL + LARGE)
def test_removal_of_many_single_weights(name, seed):
    model = named(name)
    masks = drawn_masks(model, analyze(model), seed)
    assert removal_gap(model, masks, batch=2, seed=seed) < 1e-4


def test_half_precision():
    """Weights stay fp16 and the model runs; agreement is that of fp16 sums in another order."""
    model = named(HALF)
    channels = analyze(model)
    masks = channel_masks(model, channels, channels.without(dropped(channels, "0.3", 0)))
    assert removal_gap(model, masks) < 2e-2
    assert lowering_gap(model, batch=1) < 2e-2


@pytest.mark.parametrize("wanted", [(1, 0), (1,)])
@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("name", [*SMALL, "imagenet_squeezenet11_winml", HALF])
def test_cut_head_keeps_the_wanted_columns(name, rest, wanted):
    model = named(name)
    if rest and classes(model) <= len(wanted):
        pytest.skip("there is no other class")
    inputs = feeds(model, 2)
    before, after = run(model, inputs)[0], run(cut_head(model, wanted, rest=rest), inputs)[0]
    before, after = before.reshape(len(before), -1), after.reshape(len(after), -1)
    assert after.shape == (len(before), len(wanted) + rest)
    before = before[:, list(wanted)]
    if np.allclose(run(model, inputs)[0].reshape(len(before), -1).sum(1), 1, atol=1e-2):  # probabilities
        before = before / before.sum(1, keepdims=True)
        after = after[:, : len(wanted)] / after[:, : len(wanted)].sum(1, keepdims=True)
    assert gap(after[:, : len(wanted)], before) < (2e-2 if name == HALF else 1e-5)


@pytest.mark.parametrize("name", ["digits", "cifar10_resnet20_legacy13"])
def test_the_rest_is_the_logsumexp_of_the_others(name):
    model = named(name)
    inputs = feeds(model, 2)
    before, after = run(model, inputs)[0], run(cut_head(model, (3, 8), rest=True), inputs)[0]
    others = [k for k in range(before.shape[1]) if k not in (3, 8)]
    assert gap(after[:, 2], np.logaddexp.reduce(before[:, others], axis=1)) < 1e-5
