"""What channels cost, against numbers computed by hand."""

from graphs import build

from seam_onnx.channels import analyze

IMAGE = "(float[N, 3, 8, 8] x) => "


def test_cost_by_hand():
    """Conv 3 -> 8, 3 x 3 on 6 x 6; depthwise 3 x 3 on 4 x 4; Gemm 8 -> 5"""
    channels = analyze(
        build(
            IMAGE
            + """(float[N, 5] y) <float[8, 3, 3, 3] w, float[8] b, float[8, 1, 3, 3] d, float[8, 5] g, float[5] h>
            { a = Conv (x, w, b) c = Relu (a) e = Conv <group = 8> (c, d) p = GlobalAveragePool (e) f = Flatten (p)
              y = Gemm (f, g, h) }"""
        )
    )
    full = channels.cost(channels.everything())
    assert full.macs == 8 * 3 * 9 * 36 + 8 * 9 * 16 + 8 * 5
    assert full.params == 8 * 27 + 8 + 8 * 9 + 40 + 5
    less = channels.cost(channels.without(channels.free[:3]))
    assert less.macs == 5 * 3 * 9 * 36 + 5 * 9 * 16 + 5 * 5
    assert less.params == 5 * 27 + 5 + 5 * 9 + 25 + 5


def test_cost_of_linear_layers_on_sequences():
    """(N, 7, 6) -> MatMul 6 -> 10, Add, MatMul 10 -> 4"""
    channels = analyze(
        build(
            """(float[N, 7, 6] x) => (float[N, 7, 4] y) <float[6, 10] w, float[10] b, float[10, 4] v>
            { a = MatMul (x, w) c = Add (b, a) d = Relu (c) y = MatMul (d, v) }"""
        )
    )
    assert channels.cost(channels.everything()).macs == 7 * 6 * 10 + 7 * 10 * 4
    (group,) = channels.groups
    assert {(a.initializer, a.dim) for a in group.axes} == {("w", 1), ("b", 0), ("v", 0)}
    assert channels.cost(channels.without(group.channels[:4])).params == 6 * 6 + 6 + 6 * 4
