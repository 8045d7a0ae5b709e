"""onnxruntime's own ops (com.microsoft): followed where they are one known op with an extra, else pinned with a reason."""

import onnx
import pytest
from commands import seam
from graphs import feeds, gap, loaded, parse, run
from laws import drawn_masks, dropped, lowering_gap, masking_gap, pruned
from refusals import refusal

from seam_onnx.channels import analyze
from seam_onnx.errors import UnsupportedOpError
from seam_onnx.lowering import lower
from seam_onnx.model import Model
from seam_onnx.surgery import channel_masks

IMAGE = "(float[N, 3, 6, 6] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[8] b, float[8, 5] g, "
POOLED = "p = GlobalAveragePool (c) f = Flatten (p) y = MatMul (f, g) }"
TOKENS = "(float[N, 6, 5] x) => (float[N, 6, 4] y) <float[5, 8] w, float[8, 4] g, float[8] b, "


def contrib(text: str, opset: int = 17) -> Model:
    """A model whose `ms.Name` are nodes of com.microsoft."""
    proto = parse(text.replace("ms.", "com.microsoft."), opset)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return loaded(proto)


FOLLOWED = {
    "gelu": TOKENS + "float k> { a = MatMul (x, w) c = ms.Gelu (a) y = MatMul (c, g) }",
    "bias gelu": TOKENS + "float k> { a = MatMul (x, w) c = ms.BiasGelu (a, b) y = MatMul (c, g) }",
    "fast gelu": TOKENS + "float k> { a = MatMul (x, w) c = ms.FastGelu (a, b) y = MatMul (c, g) }",
    "quick gelu": TOKENS + "float k> { a = MatMul (x, w) c = ms.QuickGelu <alpha = 1.5> (a) y = MatMul (c, g) }",
    "matmul": TOKENS + "float k> { a = MatMul (x, w) c = Sigmoid (a) y = ms.FusedMatMul <alpha = 0.5> (c, g) }",
    "conv": IMAGE
    + 'float[8, 8, 3, 3] v> { a = ms.FusedConv <activation = "Relu"> (x, w, b) '
    + 'c = ms.FusedConv <activation = "LeakyRelu", activation_params = [0.2], pads = [1, 1, 1, 1]> (a, v, b) '
    + POOLED,
    "conv and sum": IMAGE
    + 'float[8, 8, 3, 3] v> { a = ms.FusedConv <activation = "Relu"> (x, w, b) '
    + 'c = ms.FusedConv <activation = "Relu", pads = [1, 1, 1, 1]> (a, v, b, a) '
    + POOLED,
    "conv of a constant": IMAGE
    + 'float[8, 8, 3, 3] v> { a = Conv (x, w, b) s = Sigmoid (a) '
    + 'c = ms.FusedConv <activation = "Relu"> (s, v, b) '
    + POOLED,
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_laws_hold_where_it_is_followed(name):
    model = contrib(FOLLOWED[name])
    channels = analyze(model)
    assert not channels.refused
    assert len(channels.free) >= 8
    assert lowering_gap(model) < 1e-5
    for seed, kind in enumerate(("0.5", "one", "all")):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        assert masking_gap(model, masks) < 1e-4
        assert contrib_gap(model, masks) < 1e-4
    for seed in range(3):
        assert contrib_gap(model, drawn_masks(model, channels, seed)) < 1e-4


def contrib_gap(model: Model, masks) -> float:
    """L3, without onnx's checker, which does not know the domain."""
    masked, small = pruned(model, masks)
    inputs = feeds(model, 3)
    return gap(run(small, inputs)[0], run(masked, inputs)[0])


PINNED = {
    "Attention": TOKENS + "float[8, 24] q, float[24] r> { a = MatMul (x, w) c = ms.Attention <num_heads = 2> (a, q, r) "
    "y = MatMul (c, g) }",
    "MultiHeadAttention": TOKENS + "float k> { a = MatMul (x, w) c = ms.MultiHeadAttention <num_heads = 2> (a, a, a) "
    "y = MatMul (c, g) }",
    "SkipLayerNormalization": TOKENS + "float k> { a = MatMul (x, w) e = Relu (a) "
    "c = ms.SkipLayerNormalization (a, e, b, b) y = MatMul (c, g) }",
    "FusedMatMul": TOKENS + "float[4, 8] k> { a = MatMul (x, w) y = ms.FusedMatMul <transB = 1> (a, k) }",
}


@pytest.mark.parametrize("name", PINNED)
def test_what_is_several_ops_in_one_is_pinned_with_a_next_step(name):
    model = contrib(PINNED[name])
    channels = analyze(model)
    assert any(b.op == name and "before onnxruntime's optimiser" in b.unblock for b in channels.blockers)
    assert not (channels.roots[channels.labels["a"]] > 0).any()
    inputs = feeds(model, 2)
    masks = drawn_masks(model, channels, 0)
    masked, small = pruned(model, masks)
    assert gap(run(small, inputs)[0], run(masked, inputs)[0]) < 1e-5
    if name == "FusedMatMul":
        assert lowering_gap(model) < 1e-5
    else:
        with refusal(UnsupportedOpError, name, "optimiser"):
            lower(model)


def test_inspect_and_compact_of_such_a_file(tmp_path, monkeypatch, capsys):
    from seam_onnx.model import save

    path = save(contrib(PINNED["Attention"]), tmp_path / "m.onnx")
    said = seam(monkeypatch, capsys, "inspect", path)
    assert said.code == 0
    assert "Attention" in said.out
    assert "is several ops in one" in said.out
    assert seam(monkeypatch, capsys, "compact", path, "-o", tmp_path / "s.onnx").code == 0
