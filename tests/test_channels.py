"""The label walk on small graphs whose groups are known: what is tied, what is free, what is pinned and why."""

import numpy as np
import onnx
import pytest
from graphs import build, loaded, parse

from seam_onnx.channels import Channels, analyze

IMAGE = "(float[N, 3, 8, 8] x) => "


def groups(text: str, opset: int = 17) -> dict[str, tuple[int, set[tuple[str, int]]]]:
    """By the node that makes them: how many channels a group has and to which axes they are bound."""
    found = analyze(build(text, opset)).groups
    return {g.name: (len(g.channels), {(a.initializer, a.dim) for a in g.axes}) for g in found}


def reasons(channels: Channels) -> list[tuple[str, str, int]]:
    """What pins, why, and how many channels."""
    return [(b.op, b.reason, b.channels) for b in channels.blockers]


def test_a_chain_has_a_group_a_layer():
    """Conv 8 -> BatchNormalization -> Relu -> Conv 4 -> mean -> Gemm 5, which is the output"""
    text = (
        IMAGE
        + """(float[N, 5] y) <float[8, 3, 3, 3] w1, float[8] b1, float[8] s, float[8] t, float[8] m, float[8] v,
        float[4, 8, 1, 1] w2, float[4, 5] g, float[5] h>
        { a = Conv (x, w1, b1) b = BatchNormalization (a, s, t, m, v) c = Relu (b) d = Conv (c, w2)
          e = GlobalAveragePool (d) f = Flatten (e) y = Gemm (f, g, h) }"""
    )
    assert groups(text) == {
        "Conv_a": (8, {("w1", 0), ("b1", 0), ("s", 0), ("t", 0), ("m", 0), ("v", 0), ("w2", 1)}),
        "Conv_d": (4, {("w2", 0), ("g", 0)}),
    }
    channels = analyze(build(text))
    assert reasons(channels) == [("output", "is an output of the model", 5)]
    assert channels.labels["a"].shape == (1, 8, 1, 1)
    assert np.array_equal(channels.labels["c"], channels.labels["a"])
    assert channels.widths(channels.everything())["Conv_a"] == (8, 8)


def test_roles_say_what_a_mask_may_set_to_zero():
    text = (
        IMAGE
        + """(float[N, 5] y) <float[4, 3, 3, 3] w, float[4] b, float[4] s, float[4] t, float[4] m, float[4] v,
        float[4, 1, 1] k, float[4, 1, 1] q, float[144, 5] g>
        { a = Conv (x, w, b) c = BatchNormalization (a, s, t, m, v) d = Mul (c, k) e = Div (d, q) f = Flatten (e)
          y = MatMul (f, g) }"""
    )
    roles = {(b.initializer, b.axis): b.role for b in analyze(build(text)).bindings}
    assert roles == {
        ("w", 0): "write", ("b", 0): "write", ("s", 0): "affine", ("t", 0): "affine", ("m", 0): "carry",
        ("v", 0): "carry", ("w", 1): "read", ("k", 0): "affine", ("q", 0): "carry", ("g", 0): "read", ("g", 1): "write",
    }  # fmt: skip


def test_a_residual_ties_both_branches():
    """x -> Conv 4 = a;  a -> Conv 6 -> Conv 4 = c;  a + c -> mean -> Gemm"""
    text = (
        IMAGE
        + """(float[N, 5] y) <float[4, 3, 3, 3] w1, float[6, 4, 3, 3] w2, float[4, 6, 3, 3] w3, float[4, 5] g>
        { a = Conv (x, w1) b = Conv <pads = [1, 1, 1, 1]> (a, w2) c = Conv <pads = [1, 1, 1, 1]> (b, w3)
          d = Add (a, c) e = GlobalAveragePool (d) f = Flatten (e) y = MatMul (f, g) }"""
    )
    assert groups(text) == {
        "Conv_a": (4, {("w1", 0), ("w2", 1), ("w3", 0), ("g", 0)}),
        "Conv_b": (6, {("w2", 0), ("w3", 1)}),
    }


def test_a_sum_with_the_input_is_pinned_in_either_order():
    for operands in ("x, a", "a, x"):
        text = (
            IMAGE
            + f"""(float[N, 3, 8, 8] y) <float[3, 3, 1, 1] w, float[3, 3, 1, 1] v>
            {{ a = Conv (x, w) b = Add ({operands}) y = Conv (b, v) }}"""
        )
        channels = analyze(build(text))
        assert not len(channels.free)
        assert ("Add", "meets data without channels of its own", 3) in reasons(channels)


def test_concatenated_parts_stay_apart():
    """Conv 4 and Conv 6 side by side; the reader's input axis has both, the second part is also read alone"""
    text = (
        IMAGE
        + """(float[N, 5] y) <float[4, 3, 1, 1] w1, float[6, 3, 1, 1] w2, float[7, 10, 1, 1] w3, float[7, 6, 1, 1] w4,
        float[7, 5] g>
        { a = Conv (x, w1) b = Conv (x, w2) c = Concat <axis = 1> (a, b) d = Conv (c, w3) e = Conv (b, w4)
          f = Add (d, e) h = GlobalAveragePool (f) i = Flatten (h) y = MatMul (i, g) }"""
    )
    assert groups(text) == {
        "Conv_a": (4, {("w1", 0), ("w3", 1)}),
        "Conv_b": (6, {("w2", 0), ("w3", 1), ("w4", 1)}),
        "Conv_d": (7, {("w3", 0), ("w4", 0), ("g", 0)}),
    }
    labels = analyze(build(text)).labels
    assert np.array_equal(labels["c"], np.concatenate([labels["a"], labels["b"]], 1))


def test_depthwise_channels_pass():
    """Conv 4 -> depthwise with two outputs a channel (8) -> Conv"""
    text = (
        IMAGE
        + """(float[N, 5, 8, 8] y) <float[4, 3, 1, 1] w1, float[8, 1, 3, 3] w2, float[8] b2, float[5, 8, 1, 1] w3>
        { a = Conv (x, w1) b = Conv <group = 4, pads = [1, 1, 1, 1]> (a, w2, b2) y = Conv (b, w3) }"""
    )
    assert groups(text) == {"Conv_a": (4, {("w1", 0), ("w2", 0), ("b2", 0), ("w3", 1)})}
    channels = analyze(build(text))
    assert np.array_equal(channels.labels["b"].ravel(), np.repeat(channels.labels["a"].ravel(), 2))


@pytest.mark.parametrize(
    ("group", "width", "expected"),
    [
        (2, 8, (4, {("w1", 0), ("w2", 1)})),  # two blocks of 4: the same 4 positions in both
        (4, 8, (4, {("w1", 0), ("w2", 0), ("w3", 1)})),  # four blocks of 2: a block goes as a whole
    ],
)
def test_grouped_convolution(group, width, expected):
    """Conv 8 -> grouped Conv 8 -> Conv"""
    text = (
        IMAGE
        + f"""(float[N, 5, 6, 6] y) <float[8, 3, 1, 1] w1, float[8, {width // group}, 3, 3] w2, float[5, 8, 1, 1] w3>
        {{ a = Conv (x, w1) b = Conv <group = {group}> (a, w2) y = Conv (b, w3) }}"""
    )
    assert groups(text)["Conv_a"] == expected


def test_padded_channels_are_channels_of_their_own():
    """The shortcut of the CIFAR ResNets: Conv 4, every second row and column, padded to 8, plus Conv 8"""
    text = (
        IMAGE
        + """(float[N, 5] y) <float[4, 3, 1, 1] w1, float[8, 4, 1, 1] w2, float[8, 5] g,
        int64[2] s = {0, 0}, int64[2] e = {8, 8}, int64[2] axes = {2, 3}, int64[2] steps = {2, 2},
        int64[8] p = {0, 2, 0, 0, 0, 2, 0, 0}>
        { a = Conv (x, w1) b = Conv <strides = [2, 2]> (a, w2) c = Slice (a, s, e, axes, steps) d = Pad (c, p)
          f = Add (b, d) h = GlobalAveragePool (f) i = Flatten (h) y = MatMul (i, g) }"""
    )
    assert groups(text) == {
        "Conv_a": (4, {("w1", 0), ("w2", 0), ("w2", 1), ("g", 0)}),
        "Conv_b": (4, {("w2", 0), ("g", 0)}),
    }
    labels, roots = (channels := analyze(build(text))).labels, channels.roots
    assert np.array_equal(roots[labels["f"].ravel()[2:6]], roots[labels["a"].ravel()])


def test_flattened_maps_repeat_each_channel():
    """Conv 4 on 2 x 2 -> (N, 16) -> MatMul"""
    text = """(float[N, 3, 2, 2] x) => (float[N, 5] y)
    <float[4, 3, 1, 1] w, float[16, 5] g>
    { a = Conv (x, w) f = Flatten (a) y = MatMul (f, g) }"""
    assert groups(text) == {"Conv_a": (4, {("w", 0), ("g", 0)})}
    read = next(b for b in analyze(build(text)).bindings if b.role == "read" and b.initializer == "g")
    assert np.array_equal(read.labels, np.repeat(analyze(build(text)).labels["a"].ravel(), 4))


def test_a_shared_weight_ties_its_readers():
    """Conv 4 = a, Conv 4 = b, and the same 1 x 1 weight on both: their channels go together"""
    text = (
        IMAGE
        + """(float[N, 12, 8, 8] y) <float[4, 3, 1, 1] w1, float[4, 3, 1, 1] w2, float[6, 4, 1, 1] w,
        float[12, 12, 1, 1] v>
        { a = Conv (x, w1) b = Conv (x, w2) c = Conv (a, w) d = Conv (b, w) e = Concat <axis = 1> (c, d)
          y = Conv (e, v) }"""
    )
    assert groups(text) == {
        "Conv_a": (4, {("w1", 0), ("w2", 0), ("w", 1)}),
        "Conv_c": (6, {("w", 0), ("v", 1)}),
    }


def test_a_weight_that_something_else_reads_as_it_is_stays():
    """w makes 4 channels, and times a number given at run time it is an output"""
    text = """(float[N, 3, 8, 8] x, float k) => (float[N, 5, 8, 8] y, float[4, 3, 1, 1] z)
    <float[4, 3, 1, 1] w, float[5, 4, 1, 1] v> { a = Conv (x, w) y = Conv (a, v) z = Mul (w, k) }"""
    channels = analyze(build(text))
    assert not len(channels.free)
    assert ("Mul", "also reads 'w' as it is", 4) in reasons(channels)


def test_squeeze_and_excite_ties_the_gate_to_what_it_scales():
    """Conv 8 = a; a -> mean -> Conv 2 -> Relu -> Conv 8 -> Sigmoid = gate; a * gate -> Conv"""
    text = (
        IMAGE
        + """(float[N, 5, 8, 8] y) <float[8, 3, 1, 1] w, float[2, 8, 1, 1] r, float[8, 2, 1, 1] q, float[5, 8, 1, 1] v>
        { a = Conv (x, w) p = GlobalAveragePool (a) b = Conv (p, r) c = Relu (b) d = Conv (c, q) gate = Sigmoid (d)
          e = Mul (gate, a) y = Conv (e, v) }"""
    )
    assert groups(text) == {
        "Conv_a": (8, {("w", 0), ("r", 1), ("q", 0), ("v", 1)}),
        "Conv_b": (2, {("r", 0), ("q", 1)}),
    }


def test_a_spatial_gate_keeps_its_one_channel():
    text = (
        IMAGE
        + """(float[N, 5, 8, 8] y) <float[4, 3, 1, 1] w, float[1, 3, 1, 1] r, float[5, 4, 1, 1] v>
        { a = Conv (x, w) b = Conv (x, r) c = Sigmoid (b) e = Mul (a, c) y = Conv (e, v) }"""
    )
    channels = analyze(build(text))
    assert [g.name for g in channels.groups] == ["Conv_a"]
    assert ("Mul", 1) in [(op, count) for op, _, count in reasons(channels)]


@pytest.mark.parametrize(
    ("body", "op", "reason"),
    [
        ("b = Softmax <axis = 1> (a)", "Softmax", "compares channels"),
        ("b = ArgMax <axis = 1> (a) c = Cast <to = 1> (b)", "ArgMax", ""),
        ("c = Constant <value = float[1] {2.0}> () b = Pow (a, c)", "output", "output of the model"),
    ],
)
def test_what_compares_channels_pins_them(body, op, reason):
    text = IMAGE + f"(float[N, 4, 8, 8] b) <float[4, 3, 1, 1] w> {{ a = Conv (x, w) {body} }}"
    text = text.replace("float[N, 4, 8, 8] b", "float[N, 1, 8, 8] c") if "ArgMax" in body else text
    channels = analyze(build(text))
    assert not len(channels.free)
    (blocker,) = [b for b in channels.blockers if b.op == op]
    assert (blocker.channels, reason in blocker.reason) == (4, True)
    assert op.lower() in str(blocker).lower()


def test_analysis_reads_no_weights_and_changes_nothing():
    model = build(IMAGE + "(float[N, 5, 6, 6] y) <float[5, 3, 3, 3] w> { y = Conv (x, w) }")
    before = str(model.proto)
    analyze(model)
    assert str(model.proto) == before


def test_a_weight_that_is_an_output_stays():
    model = parse(
        IMAGE + "(float[N, 5, 6, 6] y) <float[8, 3, 3, 3] w, float[5, 8, 1, 1] v> { a = Conv (x, w) y = Conv (a, v) }"
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 3, 3, 3]))
    channels = analyze(loaded(model))
    assert not len(channels.free)


def test_numbers_that_depend_on_the_batch_and_on_channels_pin_them():
    """a * log(size of a): the size is read at run time, and must not change"""
    text = (
        IMAGE
        + """(float[N, 5, 8, 8] y) <float[8, 3, 1, 1] w, float[5, 8, 1, 1] v>
        { a = Conv (x, w) s = Size (a) f = Cast <to = 1> (s) q = Log (f) b = Mul (a, q) y = Conv (b, v) }"""
    )
    channels = analyze(build(text))
    assert not len(channels.free)
    assert ("Mul", "calculates with its size", 8) in reasons(channels)


def test_groups_and_savings_are_those_of_removing_each_alone():
    """The linear sums against the definition: the cost of the whole less that without the group"""
    text = (
        IMAGE
        + """(float[N, 5] y) <float[4, 3, 1, 1] w1, float[6, 3, 1, 1] w2, float[6, 2, 1, 1] w3, float[7, 10, 1, 1] w4,
        float[7, 5] g> { a = Conv (x, w1) b = Conv (x, w2) r = Conv <group = 2> (a, w3) s = Mul (b, r)
          c = Concat <axis = 1> (a, s) d = Conv (c, w4) e = GlobalAveragePool (d) f = Flatten (e) y = MatMul (f, g) }"""
    )
    channels = analyze(build(text))
    whole = channels.cost(channels.everything())
    assert sorted(np.concatenate([g.channels for g in channels.groups])) == list(channels.free)
    for group, saved in zip(channels.groups, channels.savings(), strict=True):
        rest = channels.cost(channels.without(group.channels))
        assert (saved.macs, saved.params) == (whole.macs - rest.macs, whole.params - rest.params)


def test_every_blocker_has_a_next_step():
    """Of all kinds of reasons that the odd graphs meet"""
    from test_odd_graphs import GRAPHS, model_of

    blockers = [blocker for name in GRAPHS for blocker in analyze(model_of(name)).blockers]
    assert len({blocker.reason for blocker in blockers}) > 5
    assert all(blocker.unblock for blocker in blockers)
