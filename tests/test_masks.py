"""Mask files: what is written is read, and what is no mask file is refused."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from seam_onnx.errors import PathError, UsageError
from seam_onnx.masks import MaskSet, read_masks, write_masks

MASKS = {
    "conv1.weight": np.array([True, False, True]).reshape(3, 1, 1, 1),
    "whole/ä": np.eye(4, dtype=bool),
    "scalar": np.array(True),
}
KEPT = {"LayerNorm_1": np.array([[True, True, False]])}


def test_what_is_written_is_read(tmp_path):
    written = MaskSet(MASKS, "abc", KEPT)
    write_masks(written, tmp_path / "masks.safetensors")
    again = read_masks(tmp_path / "masks.safetensors")
    assert again.sha256 == "abc"
    assert again.digest() == written.digest()
    for before, after in ((MASKS, again.masks), (KEPT, again.kept)):
        assert set(before) == set(after)
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert all(before[name].shape == after[name].shape for name in before)


def test_the_digest_tells_masks_apart():
    base = MaskSet(MASKS, "abc", KEPT)
    assert base.digest() == MaskSet(dict(reversed(MASKS.items())), "abc", KEPT).digest()
    others = [
        MaskSet(MASKS, "abd", KEPT),
        MaskSet(MASKS, "abc"),
        MaskSet({**MASKS, "scalar": np.array(False)}, "abc", KEPT),
        MaskSet({**MASKS, "conv1.weight": MASKS["conv1.weight"].reshape(1, 3, 1, 1)}, "abc", KEPT),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 5


def test_files_that_hold_no_masks(tmp_path):
    path = tmp_path / "masks.safetensors"
    with pytest.raises(PathError, match="no such file"):
        read_masks(path)
    for content in (b"", b"hello", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="not a safetensors file"):
            read_masks(path)
    save_file({"a": np.ones(3, bool)}, path)
    with pytest.raises(UsageError, match="which model"):
        read_masks(path)
    save_file({"a": np.ones(3, np.float32)}, path, metadata={"model.sha256": "abc"})
    with pytest.raises(UsageError, match="not bool"):
        read_masks(path)
    write_masks(MaskSet(MASKS, "abc"), path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_masks(path)


def test_masks_are_not_overwritten_unasked(tmp_path):
    path = tmp_path / "masks.safetensors"
    write_masks(MaskSet(MASKS, "abc"), path)
    with pytest.raises(PathError, match="exists already"):
        write_masks(MaskSet({}, "abc"), path)
    assert set(read_masks(path).masks) == set(MASKS)
