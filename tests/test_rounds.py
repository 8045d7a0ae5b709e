"""Several removals as one: masks on the original give, at once, the graph that the rounds gave."""

import numpy as np
import pytest
from graphs import DATA, DIGITS, build, feeds, loaded, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import dropped
from random_graphs import networks

from seam_onnx.channels import analyze
from seam_onnx.fold import store
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, load, serialized
from seam_onnx.search.rounds import Rounds
from seam_onnx.surgery import cut_head, remove_masked
from seam_onnx.surgery.contents import with_values
from seam_onnx.surgery.twin import MismatchError, contents_of_twin

KINDS = ("none", "0.1", "0.3", "0.5", "0.9", "one", "group", "all")
REAL = (
    "cifar10_resnet20_dynamo", "cifar10_resnet20_legacy13", "cifar10_resnet8_mlperftiny", "kws_dscnn_mlperftiny",
    "ort_mnist", "vww_mobilenetv1_025_96_mlperftiny", "imagenet_squeezenet11_winml",
    "imagenet_mobilenetv1_025_128_coral",
)  # fmt: skip


def trained(model: Model, rng: np.random.Generator) -> Model:
    """Every weight moved: zeros become numbers, and here and there a number becomes zero."""
    proto = model.edit()
    for name in dict.fromkeys(b.initializer for b in analyze(model).bindings if b.role != "carry"):
        tensor = proto.graph.initializers[name].const_value
        array = tensor.numpy() * rng.uniform(0.9, 1.1, tensor.shape.numpy())
        array = np.where(array == 0, 0.01, array)
        if rng.random() < 0.2 and array.ndim > 1:
            array = array * (rng.random(array.shape) < 0.8)
        store(proto.graph, name, array.astype(tensor.dtype.numpy()), tensor.dtype)
    return model.edited(proto)


def in_rounds(model: Model, kinds: list[str], seed: int, trains: bool) -> tuple[Model, Model, MaskSet]:
    """The base, what rounds of random removals leave of it, and their masks."""
    rounds, rng = Rounds(model), np.random.default_rng(seed)
    model = rounds.base
    for number, kind in enumerate(kinds):
        model = trained(model, rng) if trains else model
        channels = analyze(model)
        alive = channels.without(dropped(channels, kind, seed + number))
        model = rounds.remove(model, channels, alive).pruned
    return rounds.base, model, rounds.masks()


def check(model: Model, kinds: list[str], seed: int, trains: bool) -> None:
    """One removal gives the same graph; where nothing was trained, the same file. Rounds may go on from the masks."""
    base, small, masks = in_rounds(model, kinds, seed, trains)
    once = remove_masked(base, masks).pruned
    found = contents_of_twin(once, small)
    if not trains:
        assert not found
        assert serialized(once) == serialized(small)
    later = Rounds(base)
    later.begin(masks)
    assert later.masks().digest() == masks.digest()
    restored = with_values(once, found)
    channels = analyze(restored)
    left = later.remove(restored, channels, channels.without(dropped(channels, "0.1", seed))).pruned
    contents_of_twin(remove_masked(base, later.masks()).pruned, left)


@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), st.integers(0, 99), st.booleans())
def test_random_graphs(proto, kinds, seed, trains):
    check(loaded(proto), kinds, seed, trains)


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("kinds", [["0.3", "0.3"], ["group"] * 4, ["one", "group"]])
def test_the_shipped_model(kinds, trains):
    check(cut_head(load(DIGITS), (3, 8), rest=True), kinds, 1, trains)


@pytest.mark.slow
@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("name", REAL)
def test_real_models(name, trains):
    path = DATA / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not on this machine")
    for seed, kinds in enumerate((["0.1"] * 4, ["group"] * 3, ["0.9", "0.5"], ["one", "group"], ["0.3", "all"])):
        check(load(path), kinds, seed, trains)


COMPUTED = """(float[N, 3, 4, 4] x) => (float[N, 5] y) <float[8, 3, 1, 1] w, float[128, 5] g, int64[1] zero = {0},
  int64[1] count = {128}>
{ a = Conv (x, w)
  s = Shape (a)
  n = Gather (s, zero)
  t = Concat <axis = 0> (n, count)
  f = Reshape (a, t)
  y = MatMul (f, g) }"""


def test_a_shape_that_is_computed_is_changed_once():
    _, small, _ = in_rounds(build(COMPUTED), ["0.3", "0.3", "0.3"], 0, False)
    assert [node.op_type for node in small.graph].count("Mul") == 1
    assert run(small, feeds(small, 2))[0].shape == (2, 5)
    check(build(COMPUTED), ["0.3", "0.3", "0.3"], 0, False)


DIVIDED = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[2, 3, 3, 3] a, float[4, 1, 1, 1] b, float[4] c,
  float[144, 5] g>
{ p = Conv (x, a)
  q = Conv <group = 2> (p, b, c)
  f = Flatten (q)
  y = MatMul (f, g) }"""


def test_what_is_one_channel_in_the_original_goes_as_one():
    """Without its first channel the second convolution is no longer depthwise, and its two rows are free of each other."""
    rounds = Rounds(build(DIVIDED))
    channels = analyze(rounds.base)
    model = rounds.remove(rounds.base, channels, channels.without(channels.free[:1])).pruned
    channels = analyze(model)
    removal = rounds.remove(model, channels, channels.without(channels.groups[-1].channels[:1]))
    assert removal.pruned.shapes.dims["b"] == (2, 1, 1, 1)
    check(build(DIVIDED), ["0.5", "one", "one"], 0, False)


def test_another_graph_is_noticed():
    model = build(COMPUTED)
    base, small, masks = in_rounds(model, ["0.3"], 0, True)
    assert contents_of_twin(remove_masked(base, masks).pruned, small)
    with pytest.raises(MismatchError, match="differ at"):
        contents_of_twin(base, small)
    with pytest.raises(MismatchError, match="nodes against"):
        contents_of_twin(base, build(DIVIDED))
