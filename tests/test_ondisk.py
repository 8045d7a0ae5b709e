"""Models that stay on disk: what becomes of them is the same, and no more than one weight is in memory at a time."""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from commands import seam
from files import NET, written
from graphs import feeds, loaded, parse, proto_of, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import drawn_masks
from random_graphs import networks

import seam_onnx.ondisk
from seam_onnx.channels import analyze
from seam_onnx.errors import PathError
from seam_onnx.model import Model, load, save
from seam_onnx.ondisk import Deferred, Mapped, is_on_disk
from seam_onnx.surgery import apply_masks, plan_removal, remove_channels

EXTERNAL = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
TRANSPOSED = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[5, 8] g>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w) r = Sigmoid (a) p = GlobalAveragePool (r) f = Flatten (p) t = Transpose (g)
  y = MatMul (f, t) }"""


@pytest.fixture
def tiny(monkeypatch):
    """Every model with external data is a large one."""
    monkeypatch.setattr(seam_onnx.ondisk, "HELD", 0)
    monkeypatch.setattr(seam_onnx.ondisk, "SMALL", 0)


def compacted(model: Model) -> Model:
    """The model without what can go as it stands."""
    return remove_channels(model, plan_removal(model, analyze(model)))


def contents(model: Model) -> dict[str, tuple[str, bytes]]:
    """Type and bytes of every initializer."""
    return {n: (str(v.const_value.dtype), v.const_value.tobytes()) for n, v in model.initializers.items()}


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(0, 99))
def test_what_is_left_is_the_same_bytes(tmp_path_factory, proto, seed):
    """Masked at random, saved with external data, compacted: once held in memory, once left on disk"""
    folder = tmp_path_factory.mktemp("net")
    model = load(written(proto, folder))
    masked = apply_masks(model, drawn_masks(model, analyze(model), seed))
    onnx.save(ir.to_proto(masked.proto), folder / "masked.onnx", **EXTERNAL)
    held = compacted(load(folder / "masked.onnx"))
    assert not any(is_on_disk(v.const_value) for v in held.initializers.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seam_onnx.ondisk, "HELD", 0)
        patch.setattr(seam_onnx.ondisk, "SMALL", 0)
        left = compacted(load(folder / "masked.onnx"))
        save(left, folder / "left.onnx")
    assert contents(left) == contents(held)
    assert contents(load(folder / "left.onnx")) == contents(held)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["float", "double", "bfloat16"])
def test_slices_and_transposed_weights_wait_until_they_are_read(tmp_path, kind):
    weight = np.random.default_rng(0).standard_normal((8, 3, 3, 3))
    weight[::2] = 0
    model = load(written(parse(TRANSPOSED.replace("float", kind), 22, w=weight), tmp_path, **EXTERNAL))
    assert isinstance(model.initializers["w"].const_value, Mapped)
    assert isinstance(model.initializers["t"].const_value, Deferred)
    small = compacted(model).initializers
    for name, shape in {"w": (4, 3, 3, 3), "t": (4, 5)}.items():
        tensor = small[name].const_value
        assert isinstance(tensor, Deferred)
        assert tensor.numpy().shape == tuple(tensor.shape.numpy()) == shape
        assert tensor.numpy().dtype == model.initializers["w"].dtype.numpy()
    assert np.array_equal(small["w"].const_value.numpy(), model.initializers["w"].const_value.numpy()[1::2])
    assert contents(loaded(proto_of(compacted(model)))) == contents(compacted(model))


@pytest.mark.usefixtures("tiny")
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_file_is_mapped_only_while_it_is_read(tmp_path):
    model = load(written(parse(NET), tmp_path, **EXTERNAL))
    tensor = model.initializers["w"].const_value
    array = tensor.numpy()
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    assert tensor.tobytes() == array.tobytes() == np.asarray(tensor).tobytes()
    del array
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    save(compacted(model), tmp_path / "small.onnx")
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.usefixtures("tiny")
def test_the_external_layout_stays(tmp_path, monkeypatch, capsys):
    path = written(parse(NET), tmp_path, **EXTERNAL)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "small.onnx"
    assert seam(monkeypatch, capsys, "compact", path, "-o", out).code == 0
    assert sorted(os.listdir(out.parent)) == ["small.onnx", "small.onnx.data"]
    inputs = feeds(load(path), 2)
    assert np.array_equal(run(load(out), inputs)[0], run(load(path), inputs)[0])
    before = {p: p.read_bytes() for p in out.parent.iterdir()}
    said = seam(monkeypatch, capsys, "compact", path, "-o", out)
    assert (said.code, "exists already" in said.err) == (2, True)
    out.unlink()
    said = seam(monkeypatch, capsys, "compact", path, "-o", out)
    assert (said.code, "small.onnx.data" in said.err) == (2, True)
    assert (out.parent / "small.onnx.data").read_bytes() == before[out.parent / "small.onnx.data"]


def test_external_data_of_the_original_is_never_overwritten(tmp_path, monkeypatch):
    """Not even where all of the new model's weights are in memory"""
    path = written(parse(NET), tmp_path, **{**EXTERNAL, "location": "other.onnx.data"})
    model = load(path)
    proto = model.edit()
    for value in proto.graph.initializers.values():
        value.const_value = ir.tensor(np.array(value.const_value.numpy()), name=value.name)
    monkeypatch.setattr(seam_onnx.model, "LARGEST_INLINE", 100)
    with pytest.raises(PathError, match="input file"):
        save(model.edited(proto), tmp_path / "other.onnx", overwrite=True)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_grows_with_the_largest_weight_not_with_the_model(tmp_path, monkeypatch):
    """benchmarks/memory.py scaled down: above `inspect`, 1.5 times the largest weight and an eighth of the file"""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "benchmarks"), *sys.path])
    from memory import measured, same, write_model

    size, model, small = 4e8, tmp_path / "large.onnx", tmp_path / "small.onnx"
    largest = write_model(model, size)
    base = measured(["inspect", str(model)])
    peak = measured(["compact", str(model), "-o", str(small)])
    assert base.code == peak.code == 0
    assert base.resident < 2e8
    assert peak.anonymous - base.anonymous < 1.5 * largest + size / 8
    assert same(model, small) < 1e-5
    assert (tmp_path / "small.onnx.data").stat().st_size < 0.7 * size
