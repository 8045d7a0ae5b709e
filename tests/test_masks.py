"""Masks, and the files of solutions that hold them: what is written is read, and what is no such file is refused."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save_file

from seam_onnx.errors import PathError, UsageError
from seam_onnx.labels import Wanted
from seam_onnx.masks import MaskSet, factors
from seam_onnx.solution import KEY, Solution, encoded, masks_beside, read_solutions

MASKS = {
    "conv1.weight": np.array([True, False, True]).reshape(3, 1, 1, 1),
    "whole/ä": np.eye(4, dtype=bool),
    "both": np.outer([True, False, True], [False, True]).reshape(3, 2, 1, 1),
    "scalar": np.array(True),
    "gone": np.zeros((1, 1), bool),
}
KEPT = {"LayerNorm_1": np.array([[True, True, False]])}
ONE = Solution(
    Wanted((3, 8), ("3", "ä"), True, 10), "channel", MaskSet(MASKS, "abc", KEPT),
    {"a/b": np.float32([[1, 2.5]]), "h": np.float16([7])}, 8, {"seq": 128}, 0.25, 0.5, {"version": "9"}, "def",
)  # fmt: skip
OTHER = Solution(Wanted((1,), ("1",), True, 10), "weight", MaskSet({}, "abc"))


def written(folder, *solutions: Solution):
    path = folder / "x.masks.safetensors"
    path.write_bytes(encoded(solutions))
    return path


def same(a: Solution, b: Solution) -> bool:
    """Equal in every field, arrays compared by type and content."""
    plain = [{**vars(s), "masks": s.masks.digest(), "values": None} for s in (a, b)]
    return plain[0] == plain[1] and {k: (v.dtype, v.tolist()) for k, v in a.values.items()} == {
        k: (v.dtype, v.tolist()) for k, v in b.values.items()
    }


# ---- masks ----------------------------------------------------------------------------------------------------------


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


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4)))
def test_the_factors_of_a_mask_multiply_to_it(mask):
    product = np.ones(mask.shape, bool)
    for factor in factors(mask):
        product = product & factor
    assert np.array_equal(product, mask)


def test_the_mask_of_a_layer_is_two_vectors():
    assert [factor.size for factor in factors(MASKS["both"])] == [3, 2]


# ---- files of solutions ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    (one,) = read_solutions(written(tmp_path, ONE))
    assert same(one, ONE)
    assert one.digest() == ONE.digest()
    assert read_solutions(written(tmp_path)) == ()


def test_a_list_of_solutions(tmp_path):
    several = [ONE, OTHER, dataclasses.replace(ONE, kept=0.1, accuracy=None), *[OTHER] * 9]
    again = read_solutions(written(tmp_path, *several))
    assert len(again) == 12
    assert all(same(a, b) for a, b in zip(several, again, strict=True))


def test_the_same_solutions_are_the_same_bytes():
    assert encoded([ONE, OTHER]) == encoded([ONE, OTHER])


def test_the_digest_is_of_what_shapes_the_model():
    told = dataclasses.replace(ONE, kept=0.9, accuracy=0.1, facts={}, output="")
    assert told.digest() == ONE.digest()
    moved = dataclasses.replace(ONE, values={**ONE.values, "h": np.float16([8])})
    assert len({ONE.digest(), moved.digest(), OTHER.digest(), dataclasses.replace(ONE, width_step=4).digest()}) == 4


def test_where_the_masks_go(tmp_path):
    assert masks_beside(tmp_path / "pets.onnx").name == "pets.masks.safetensors"
    assert masks_beside(tmp_path / "pets.v2.onnx").name == "pets.v2.masks.safetensors"


def test_files_that_hold_no_masks(tmp_path):
    path = tmp_path / "x.masks.safetensors"
    with pytest.raises(PathError, match="no such file"):
        read_solutions(path)
    for content in (b"", b"hello", b"\xff" * 64, encoded([ONE])[:-3]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="not a safetensors file"):
            read_solutions(path)
    save_file({"a": np.ones(3, bool)}, path)
    with pytest.raises(UsageError, match="no masks of seam-onnx"):
        read_solutions(path)


def test_every_flipped_byte_is_noticed(tmp_path):
    content = encoded([ONE])
    for place in range(8, len(content), 7):
        path = tmp_path / "x.masks.safetensors"
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UsageError):
            read_solutions(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "contradicts itself"),
        ("[]", "contradicts itself"),
        ("{}", "contradicts itself"),
        (json.dumps({"format": "seam-onnx masks 99"}), "format 'seam-onnx masks 99', not 'seam-onnx masks 4'"),
        (json.dumps({"format": "seam-onnx masks 4", "digest": "", "solutions": []}), "is damaged"),
    ],
)
def test_metadata_that_make_no_sense(text, said, tmp_path):
    path = written(tmp_path, ONE)
    save_file(load_file(path), path, metadata={KEY: text})
    with pytest.raises(UsageError, match=said):
        read_solutions(path)
