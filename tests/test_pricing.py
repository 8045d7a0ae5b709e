"""What layers cost in milliseconds: which are measured, what lies between them, and what is kept."""

import json
import sys
from itertools import product

import numpy as np
import pytest
from files import NET
from graphs import DIGITS, build

from seam_onnx.channels import analyze
from seam_onnx.model import load
from seam_onnx.pricing import latencies
from seam_onnx.search import Latencies, LayerLatency
from seam_onnx.search.ladders import Ladder
from seam_onnx.search.select import select
from seam_onnx.validate import Layer, LayerTimes, open_session, width_step
from seam_onnx.validate import layer_times as module
from seam_onnx.validate.layer import layer_model, layer_ms

BLOCKS = """(float[N, 8, 6, 6] x) => (float[N, 3] y)
  <float[16, 8, 3, 3] a, float[16, 1, 3, 3] d, float[24, 4, 1, 1] g, float[24, 3] m>
{ p = Conv <pads = [1, 1, 1, 1]> (x, a)
  q = Conv <group = 16, pads = [1, 1, 1, 1]> (p, d)
  r = Conv <group = 4> (q, g)
  s = GlobalAveragePool (r)
  t = Flatten (s)
  y = MatMul (t, m) }"""
"""A plain, a depthwise and a grouped convolution, and a matrix."""


def by_macs(layers: list[Layer]) -> dict[str, float | None]:
    """A machine on which only multiply-adds count, 1e-6 ms each."""
    return {one.key: 1e-6 * macs_of(one) for one in layers}


def macs_of(layer: Layer) -> float:
    places = np.prod(layer.x[2:]) if layer.op == "Conv" else np.prod(layer.x[:-1])
    return float(np.prod(layer.weight) * places)


def in_blocks(layers: list[Layer]) -> dict[str, float | None]:
    """A machine that makes 16 channels in the time of one."""
    return {one.key: float(-(-one.weight[0] // 16) * one.weight[1]) if one.op == "Conv" else 0.01 for one in layers}


# ---- prices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [NET, BLOCKS])
def test_on_a_machine_where_macs_count_the_price_is_macs(text):
    model = build(text)
    channels, rng = analyze(model), np.random.default_rng(0)
    price = latencies(model, by_macs, step=4)
    assert set(price.layers) == {work.node for work in channels.works}
    for share in (0.0, 0.3, 0.6):
        alive = channels.without(channels.free[rng.random(len(channels.free)) < share])
        assert price(channels, alive) == pytest.approx(1e-6 * channels.cost(alive).macs, rel=0.35 if share else 1e-9)


def test_layers_that_are_measured_are_those_that_onnxruntime_runs():
    asked: list[Layer] = []
    latencies(build(BLOCKS), lambda layers: (asked.extend(layers), by_macs(layers))[1], step=8)
    sizes = {(one.op, one.x, one.weight, one.attributes.get("group")) for one in asked}
    assert ("Conv", (1, 8, 6, 6), (8, 8, 3, 3), 1) in sizes
    assert ("Conv", (1, 8, 6, 6), (8, 1, 3, 3), 8) in sizes
    assert ("Conv", (1, 16, 6, 6), (24, 4, 1, 1), 4) in sizes
    assert ("MatMul", (1, 24), (24, 3), None) in sizes
    for one in {one.key: one for one in asked}.values():
        x = np.ones(one.x, np.float32)
        assert all(np.isfinite(y).all() for y in open_session(layer_model(one, 2)).run(x)), one.key


def test_what_cannot_be_measured_costs_its_multiply_adds():
    model = build(BLOCKS)
    channels = analyze(model)
    price = latencies(model, lambda layers: {k: v if "Conv" in k else None for k, v in by_macs(layers).items()})
    assert "MatMul" not in "".join(price.layers)
    assert price(channels, channels.everything()) == pytest.approx(1e-6 * channels.cost(channels.everything()).macs)
    none = latencies(model, lambda layers: {one.key: None for one in layers})
    assert none(channels, channels.everything()) == channels.cost(channels.everything()).macs


def test_between_widths_it_is_linear_and_at_nothing_zero():
    layer = LayerLatency(((8, 16), (4, 8, 16)), np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 8.0]]))
    for i, j in product(range(2), range(3)):
        assert layer.at((layer.widths[0][i], layer.widths[1][j])) == layer.ms[i, j]
    assert layer.at((12, 8)) == 3.0
    assert layer.at((12, 12)) == pytest.approx((2 + 3 + 4 + 8) / 4)
    assert layer.at((2, 2)) == 1.0
    assert layer.at((99, 99)) == 8.0
    assert layer.at((0, 8)) == layer.at((8, 0)) == 0.0


def test_a_width_off_the_block_is_not_chosen():
    model = build(NET)
    channels = analyze(model)
    price = latencies(model, in_blocks, step=4)
    whole = price(channels, channels.everything())
    ladders = [Ladder(g.channels, tuple(range(4, len(g.channels), 4)), tuple(range(4, len(g.channels), 4)))
               for g in channels.groups if len(g.channels) > 4]  # fmt: skip
    alive = select(channels, ladders, price, 0.0)
    steps = [len(g.order) - int(alive[g.order].sum()) for g in ladders]
    for ladder, gone in zip(ladders, steps, strict=True):
        less = alive.copy()
        less[ladder.order[gone - 4 : gone]] = True
        assert not gone or price(channels, less[channels.roots]) > price(channels, alive)
    assert price(channels, alive) <= whole


def test_a_price_without_layers_is_a_rate():
    model = build(NET)
    channels = analyze(model)
    assert Latencies({}, 2.0)(channels, channels.everything()) == 2 * channels.cost(channels.everything()).macs


# ---- measuring and keeping -------------------------------------------------------------------------------------------


def test_more_work_takes_longer():
    small, large = (
        layer_ms(Layer("Conv", (1, width, 32, 32), (width, width, 3, 3), {"pads": (1, 1, 1, 1)})) for width in (16, 64)
    )
    assert 0 < small < large / 4  # 16 times the multiply-adds


def test_what_onnxruntime_refuses_has_no_time():
    assert layer_ms(Layer("Conv", (1, 4, 8, 8), (8, 3, 3, 3))) is None


def test_times_are_kept_for_the_next_run(tmp_path, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(module, "layer_ms", lambda layer, provider, threads: asked.append(layer.key) or 0.5)
    layers = [Layer("Gemm", (1, 8), (8, width)) for width in (4, 8, 4)]
    told: list[tuple[int, int]] = []
    first = LayerTimes("cpu", 1, tmp_path).of(layers, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    assert LayerTimes("cpu", 1, tmp_path).of(layers) == first == {layer.key: 0.5 for layer in layers}
    assert len(asked) == 2
    assert LayerTimes("cpu", 2, tmp_path).of(layers) == first  # other threads, another file
    assert len(asked) == 4
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"layers": {"a": "x"}}', '{"layers": 3}', "{"])
def test_a_damaged_file_of_times_is_replaced(text, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "layer_ms", lambda layer, provider, threads: 0.5)
    times = LayerTimes("cpu", 1, tmp_path)
    times.path.write_text(text)
    times = LayerTimes("cpu", 1, tmp_path)
    times.of([Layer("Gemm", (1, 8), (8, 4))])
    assert len(json.loads(times.path.read_text())["layers"]) == 1


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "layer_ms", lambda layer, provider, threads: 0.5)
    (tmp_path / "file").touch()
    assert len(LayerTimes("cpu", 1, tmp_path / "file").of([Layer("Gemm", (1, 8), (8, 4))])) == 1


def test_the_cache_lies_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert LayerTimes().path.parent == tmp_path / "seam-onnx"


@pytest.mark.parametrize(("simd", "step"), [("avx512f avx2", 16), ("avx2 avx", 8), ("", 8)])
def test_the_block_of_the_provider(simd, step, monkeypatch):
    monkeypatch.setattr(sys.modules["seam_onnx.validate.environment"], "_cpuinfo", lambda key: simd)
    assert width_step("cpu")[0] == step
    assert width_step("cuda")[0] == width_step("tensorrt")[0] == 8


def test_the_shipped_model_is_measured_in_full():
    model, asked = load(DIGITS), []
    price = latencies(model, lambda layers: (asked.extend(layers), by_macs(layers))[1], 8)
    channels = analyze(model)
    assert set(price.layers) == {work.node for work in channels.works}
    assert len({one.key for one in asked}) < 200
