"""Einsum: the laws where it is a matrix product, and a reason with a next step where it is not."""

import onnx
import pytest
from graphs import loaded, parse
from laws import drawn_masks, dropped, lowering_gap, masking_gap, removal_gap

from seam_onnx.channels import analyze
from seam_onnx.surgery import channel_masks

WEIGHTS = "float[5, 8] w, float[8, 4] g, float[4, 8] h, float[4, 3] j, float[8, 2, 4] i, int64[4] s = {0, 6, 2, 4}"
TOKENS = f"(float[N, 6, 5] x) => (float y) <{WEIGHTS}> {{ a = MatMul (x, w) k = Sigmoid (a) "
HEADS = (
    "q = Reshape (k, s) t = Transpose <perm = [0, 2, 1, 3]> (q) "
    'c = Einsum <equation = "bhid,bhjd->bhij"> (t, t) p = Softmax (c) '
)

FREE = {
    "weight": TOKENS + 'y = Einsum <equation = "bsd,de->bse"> (k, g) }',
    "weight, output first": TOKENS + 'c = Einsum <equation = "bsd,ed->bes"> (k, h) y = Relu (c) }',
    "two layers": TOKENS + 'c = Einsum <equation = "b s d, e d -> b s e"> (k, h) r = Tanh (c) y = MatMul (r, j) }',
    "keys and queries": TOKENS + HEADS + "y = ReduceSum (p) }",
    "attention": TOKENS + HEADS + 'o = Einsum <equation = "bhij,bhjd->bihd"> (p, t) y = ReduceMean <axes = [3]> (o) }',
    "batched": TOKENS + 'c = Einsum <equation = "bsd,bsd->bs"> (k, k) y = Relu (c) }',
    "outer": TOKENS
    + 'm = ReduceMean <axes = [2], keepdims = 0> (x) o = Einsum <equation = "bsd,bs->bd"> (k, m) '
    + "y = ReduceMean <axes = [1]> (o) }",
}  # fmt: skip
"""Of these some channels of `a` may go."""
PINNED = {
    "three operands": TOKENS + 'y = Einsum <equation = "bsd,de,ef->bsf"> (k, g, h) }',
    "heads in the weight": TOKENS + 'y = Einsum <equation = "bsd,dhe->bshe"> (k, i) }',
    "dots": TOKENS + 'y = Einsum <equation = "...d,de->...e"> (k, g) }',
    "implicit": TOKENS + 'y = Einsum <equation = "bsd,de"> (k, g) }',
    "weight in front": TOKENS + 'y = Einsum <equation = "ed,bsd->bse"> (h, k) }',
    "one operand": TOKENS + 'y = Einsum <equation = "bsd->bs"> (k) }',
}  # fmt: skip


def model_of(text: str):
    """The model; the shape of its output is left to inference."""
    proto = parse(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return loaded(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def check_laws(model, channels) -> None:
    assert not channels.refused
    assert lowering_gap(model) < 1e-5
    for seed, kind in enumerate(("0.5", "one", "all")):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        assert masking_gap(model, masks) < 1e-4
        assert removal_gap(model, masks) < 1e-4
    for seed in range(2):
        assert removal_gap(model, drawn_masks(model, channels, seed)) < 1e-4


@pytest.mark.parametrize("name", FREE)
def test_a_matrix_product_in_other_letters(name):
    model = model_of(FREE[name])
    channels = analyze(model)
    assert (channels.roots[channels.made["MatMul_a", ""]] > 0).any(), [str(b) for b in channels.blockers]
    check_laws(model, channels)


@pytest.mark.parametrize("name", PINNED)
def test_anything_else_is_pinned_with_a_next_step(name):
    model = model_of(PINNED[name])
    channels = analyze(model)
    assert not (channels.roots[channels.made["MatMul_a", ""]] > 0).any()
    assert any(b.op == "Einsum" and "MatMul" in b.unblock for b in channels.blockers)
    check_laws(model, channels)
