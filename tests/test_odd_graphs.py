"""The laws on graphs that real files have and random ones seldom: those of odd_graphs.txt.

Layout: image x (N, 3, 8, 8) -> Conv 8, 3 x 3, padded = a (N, 8, 8, 8) -> the lines of the file, which make b -> Conv
and mean where b is an image -> MatMul = y. Whatever a rule cannot follow has to be pinned, never cut wrongly.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import feeds, gap, loaded, parse, run
from laws import drawn_masks, dropped, lowering_gap, masking_gap, pruned, removal_gap

from seam_onnx.channels import analyze
from seam_onnx.model import Model
from seam_onnx.surgery import apply_masks, channel_masks, plan_removal, remove_channels

COMMON = ["float[8, 3, 3, 3] w", "float[8] w_bias", "int64[1] i0 = {0}", "int64[1] i1 = {1}", "int64[1] i7 = {7}"]
HEAD = ["y1 = Conv (b, head)", "y2 = Relu (y1)", "y3 = GlobalAveragePool (y2)", "y4 = Flatten (y3)"]
ONE_IMAGE = ("flatten", "constant")
"""What such graphs' names begin with: they make more rows than there are images, or have room for one image alone."""

PINNED = (
    "flatten at 2", "weight on the left", "product of two activations", "crop channels", "reflect channels",
    "reversed channels", "every second channel", "times the batch", "softmax over channels", "multiplied by its size",
)  # fmt: skip
"""Of these no channel of `a` may go, for now; of all others some."""


def read_graphs() -> dict[str, list[str]]:
    """The lines by name; a name is what is not indented."""
    graphs: dict[str, list[str]] = {}
    name = ""
    for line in (Path(__file__).parent / "odd_graphs.txt").read_text().splitlines():
        if line.startswith(" "):
            graphs[name].append(line.strip())
        else:
            name = line
            graphs[name] = []
    return graphs


GRAPHS = read_graphs()


def proto_of(output: str, weights: list[str], nodes: list[str]) -> onnx.ModelProto:
    """A model that ends in one of its values."""
    newer = [18 for node in nodes if "num_outputs" in node] + [21 for node in nodes if "GroupNorm" in node]
    newer += [23 for node in nodes if "RotaryEmbedding" in node]
    opset = max([17, *newer])
    header = f"(float[N, 3, 8, 8] x) => (float {output}) <{', '.join(weights)}>"
    proto = parse(f"{header} {{ {' '.join(nodes)} }}", opset)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


@cache
def model_of(name: str) -> Model:
    """The network around some lines."""
    lines = [re.match(r"(float|int64|bool)\b", line) is not None for line in GRAPHS[name]]
    weights = COMMON + [line for line, is_weight in zip(GRAPHS[name], lines, strict=True) if is_weight]
    nodes = ["a = Conv <pads = [1, 1, 1, 1]> (x, w, w_bias)"]
    nodes += [line for line, is_weight in zip(GRAPHS[name], lines, strict=True) if not is_weight]
    b = run(proto_of("b", weights, nodes), {"x": np.zeros((1, 3, 8, 8), np.float32)})[0]
    if b.ndim == 4:
        weights, nodes = [*weights, f"float[6, {b.shape[1]}, 1, 1] head"], [*nodes, *HEAD]
        features = 6
    else:
        nodes, features = [*nodes, "y4 = Flatten (b)"], int(np.prod(b.shape[1:]))
    proto = proto_of("y", [*weights, f"float[{features}, 5] last"], [*nodes, "y = MatMul (y4, last)"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["M", 5])
    proto.graph.output[0].CopyFrom(output)
    return loaded(proto)


@pytest.mark.parametrize("name", GRAPHS)
def test_laws(name):
    model = model_of(name)
    channels = analyze(model)
    batch = 1 if name.startswith(ONE_IMAGE) else 3
    assert lowering_gap(model, batch) < 1e-5
    for seed, kind in enumerate(("0.5", "one", "all")):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        assert masking_gap(model, masks, batch) < 1e-4, kind
        assert removal_gap(model, masks, batch) < 1e-4, kind
    for seed in range(2):
        assert removal_gap(model, drawn_masks(model, channels, seed), batch) < 1e-4, seed


@pytest.mark.parametrize("name", [name for name in GRAPHS if "heads" in name])
def test_whole_heads_go(name):
    """half of every group: with two heads, one"""
    model = model_of(name)
    channels = analyze(model, whole_heads=True)
    dead = np.concatenate([group.channels[: len(group.channels) // 2] for group in channels.groups])
    masked = apply_masks(model, channel_masks(model, channels, channels.without(dead)))
    small = remove_channels(masked, plan_removal(masked, analyze(masked, whole_heads=True)))
    assert gap(run(small, feeds(model, 1))[0], run(masked, feeds(model, 1))[0]) < 1e-4


@pytest.mark.parametrize("name", [name for name in GRAPHS if name not in PINNED])
def test_some_channels_are_free(name):
    channels = analyze(model_of(name))
    assert not channels.refused
    assert np.isin(channels.roots[channels.labels["a"]], channels.free).any(), [str(b) for b in channels.blockers]


@pytest.mark.parametrize("name", GRAPHS)
def test_pruning_what_is_pruned_changes_nothing_more(name):
    model = model_of(name)
    channels = analyze(model)
    _, once = pruned(model, channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0))))
    everything = analyze(once).everything()
    _, twice = pruned(once, channel_masks(once, analyze(once), everything))
    inputs = feeds(model, 1)
    assert gap(run(twice, inputs)[0], run(once, inputs)[0]) < 1e-5
