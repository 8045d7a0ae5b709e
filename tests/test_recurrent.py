"""RNN, GRU and LSTM between prunable layers: they keep their width, and what does not reach them still goes."""

import pytest
from graphs import build
from laws import drawn_masks, dropped, lowering_gap, masking_gap, removal_gap
from refusals import refusal

from seam_onnx.channels import analyze
from seam_onnx.errors import UnsupportedOpError
from seam_onnx.lowering import lower
from seam_onnx.surgery import channel_masks

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def network(op: str, attributes: str = "", directions: int = 1):
    """x (N, 6, 5) -> MatMul 7 -> MatMul 8 -> (6, N, 8) -> recurrent 4 -> MatMul 6 -> Relu -> MatMul 3"""
    gates, d = GATES[op], directions
    return build(
        f"""(float[N, 6, 5] x) => (float[6, {d}, N, 3] y) <float[5, 7] a, float[7, 8] b, float[{d}, {4 * gates}, 8] w,
        float[{d}, {4 * gates}, 4] r, float[{d}, {8 * gates}] k, float[4, 6] e, float[6, 3] g>
        {{ m = MatMul (x, a) n = Relu (m) o = MatMul (n, b) t = Transpose <perm = [1, 0, 2]> (o)
          h, last = {op} <hidden_size = 4{attributes}> (t, w, r, k) p = MatMul (h, e) q = Relu (p) y = MatMul (q, g) }}"""
    )


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(("direction", "count"), [("forward", 1), ("reverse", 1), ("bidirectional", 2)])
def test_the_laws_hold_around_a_recurrent_layer(op, direction, count):
    model = network(op, f', direction = "{direction}"', count)
    channels = analyze(model)
    assert not channels.refused
    assert {group.name for group in channels.groups} == {"MatMul_m", "MatMul_p"}
    blockers = [b for b in channels.blockers if b.op == op]
    assert all("feeds its units back" in b.reason and b.unblock for b in blockers)
    assert sorted(b.channels for b in blockers)[0] == 8
    assert lowering_gap(model) < 1e-5
    for seed, kind in enumerate(("0.5", "all")):
        masks = channel_masks(model, channels, channels.without(dropped(channels, kind, seed)))
        assert masking_gap(model, masks) < 1e-4
        assert removal_gap(model, masks) < 1e-4
    assert removal_gap(model, drawn_masks(model, channels, 0)) < 1e-4


def test_a_form_that_is_not_run_is_refused_by_name():
    import torch

    model = network("LSTM", ", clip = 3.0")
    with refusal(UnsupportedOpError, "LSTM", "clip"):
        lower(model)(torch.zeros(1, 6, 5))
