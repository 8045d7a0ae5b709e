"""Preprocessing, data sets of every kind, their division, and every way in which they can be wrong."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seam_onnx.data import Dataset, Preprocess, PreprocessFlags, RawSplits, load_splits, read, resolve
from seam_onnx.data.dataset import stratified
from seam_onnx.errors import DataError, PathError

SHARED = Path(__file__).parents[2] / "shared" / "data"
patient = settings(deadline=None)
TINY = Preprocess(size=(4, 4))
RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(path, image=None, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels(4, 4, 3) if image is None else image
    Image.fromarray(image).convert(mode).save(path)
    return path


def flat(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def refused(call, *texts, error=DataError):
    """The call fails with one line that holds all texts."""
    with pytest.raises(error) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for text in texts:
        assert text in line


# preprocess: arrange


def test_arrange_puts_channels_and_layout_as_the_model_wants_them():
    x = pixels(2, 4, 4, 3)
    for layout, axes in (("nhwc", (0, 1, 2, 3)), ("nchw", (0, 3, 1, 2))):
        assert np.array_equal(Preprocess(layout=layout).arrange(x), x.transpose(axes))
        bgr = Preprocess(layout=layout, channels="bgr").arrange(x)
        assert np.array_equal(bgr, x[..., ::-1].transpose(axes))
        assert bgr.flags.c_contiguous
        assert bgr.dtype == np.uint8


def test_arrange_recognises_channels_first_in_both_dtypes():
    x = pixels(2, 3, 4, 5)
    for images in (x, x.astype(np.float32)):
        for size in (None, (4, 5)):
            arranged = Preprocess(size=size).arrange(images)
            assert np.array_equal(arranged, images)
            assert arranged.dtype == images.dtype
        assert Preprocess(layout="nhwc").arrange(images).shape == (2, 4, 5, 3)
    mfcc = RNG.standard_normal((2, 1, 49, 3)).astype(np.float32)  # would be (N, H, W, 3) but for the known size
    assert np.array_equal(Preprocess(size=(49, 3), channels="gray").arrange(mfcc), mfcc)


def test_gray_and_colour_become_each_other():
    gray = pixels(2, 4, 5)
    assert np.array_equal(Preprocess(channels="gray").arrange(gray), gray[:, None])
    assert np.array_equal(Preprocess().arrange(gray), np.stack([gray] * 3, axis=1))
    colour = pixels(3, 16, 16, 3)
    luma = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour])
    assert np.array_equal(Preprocess(channels="gray").arrange(colour), luma[:, None])


@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_arrays_are_resized_as_files_are(channels):
    preprocess = Preprocess(size=(5, 7), channels=channels, layout="nhwc")
    image = pixels(12, 10, 3)
    want = Image.fromarray(image).convert("L" if channels == "gray" else "RGB")
    want = np.asarray(want.resize((7, 5), Image.Resampling.BILINEAR)).reshape(5, 7, -1)
    if channels == "bgr":
        want = want[..., ::-1]
    assert np.array_equal(preprocess.arrange_one(Image.fromarray(image)), want)
    if channels != "gray":  # luma before or after resizing rounds differently for files and arrays alike
        assert np.array_equal(preprocess.arrange(image[None])[0], want)
    assert np.array_equal(preprocess.arrange(image[None]), preprocess.arrange(image[None].transpose(0, 3, 1, 2)))


def test_shorter_side_then_the_centre():
    image = np.zeros((20, 40, 3), np.uint8)
    image[8:12, 16:24] = 255  # the centre
    cut = Preprocess(size=(4, 4), resize="shorter", resize_to=10, resample="box", layout="nhwc")
    small = cut.arrange_one(Image.fromarray(image))
    assert small.shape == (4, 4, 3)
    assert small[1:3].min() == 255
    assert small[0].max() == 0
    assert Preprocess(size=(4, 6), resize="shorter").shorter == 6


def test_arrays_without_layout_go_as_they_are():
    x = RNG.standard_normal((3, 13, 2)).astype(np.float32)
    none = Preprocess(layout="none", sample=(13, None))
    assert np.array_equal(none.arrange(x), x)
    assert none.augment == ()
    refused(lambda: none.arrange(x.transpose(0, 2, 1)), "2x13", "13xany")
    refused(lambda: none.arrange_one(Image.fromarray(pixels(4, 4))), "--layout")


@pytest.mark.parametrize(
    ("preprocess", "shape", "dtype", "why"),
    [
        (TINY, (2, 4), np.uint8, "no gray or colour images"),
        (TINY, (2, 4, 4, 4), np.uint8, "no gray or colour images"),
        (TINY, (2, 4, 4, 3, 1), np.uint8, "no gray or colour images"),
        (TINY, (2, 5, 5, 3), np.float32, "floats are not resized"),
        (Preprocess(channels="gray"), (2, 4, 4, 3), np.float32, "floats are taken as they are"),
        (Preprocess(sample=(3, 8, 8)), (2, 4, 4, 3), np.uint8, "3x4x4 where the model takes 3x8x8"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(preprocess, shape, dtype, why):
    refused(lambda: preprocess.arrange(np.zeros(shape, dtype)), why, "give")


# preprocess: normalize


@st.composite
def preprocesses(draw):
    layout = draw(st.sampled_from(["nchw", "nhwc", "none"]))
    channels = draw(st.sampled_from(["rgb", "bgr", "gray"]))
    count = 1 if layout == "none" else 1 if channels == "gray" else 3
    several = st.sampled_from([1, count])
    number = st.floats(-200, 200)
    sides = st.integers(1, 300)
    size = None if layout == "none" else draw(st.none() | st.tuples(sides, sides))
    shorter = size is not None and draw(st.booleans())
    return Preprocess(
        size=size,
        resize="shorter" if shorter else "squash",
        resize_to=max(size) + draw(sides) if shorter and draw(st.booleans()) else None,
        resample=draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
        scale=draw(st.none() | st.floats(1e-3, 2)),
        mean=tuple(draw(number) for _ in range(draw(several))),
        std=tuple(draw(st.floats(0.05, 300)) for _ in range(draw(several))),
        layout=layout,
        channels=channels,
        augment=tuple(draw(st.sets(st.sampled_from(["crop", "flip", "zoom"])))),
        sample=draw(st.none() | st.just((count, None, 7))),
    )


@patient
@given(preprocesses())
def test_json_round_trip(preprocess):
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
    assert "\n" not in preprocess.describe()


@patient
@given(preprocesses(), st.booleans())
def test_normalize_is_affine_and_is_the_formula(preprocess, floats):
    count = preprocess.channel_count
    shape = (2, 3, 4, count) if preprocess.layout == "nhwc" else (2, count, 3, 4)
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    x = x.astype(np.float32) if floats else x
    axes = (count,) if preprocess.layout == "nhwc" else (count, 1, 1)
    mul, add = preprocess.affine(x.dtype)
    assert mul.shape == add.shape == (count,)
    got = preprocess.normalize(x)
    assert got.dtype == np.float32
    assert np.array_equal(got, x.astype(np.float32) * mul.reshape(axes) + add.reshape(axes))
    scale = preprocess.scale or (1.0 if floats else 1 / 255)
    mean, std = (np.broadcast_to(v, count).reshape(axes) for v in (preprocess.mean, preprocess.std))
    want = (x.astype(np.float64) * scale - mean) / std
    np.testing.assert_allclose(got, want, atol=4e-7 * (np.abs(want).max() + np.abs(mean / std).max() + 1))
    assert np.array_equal(preprocess.normalize(x[0]), got[0])


def test_bgr_flips_before_mean_and_std():
    image = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)  # R, G, B
    caffe = Preprocess(channels="bgr", scale=1.0, mean=(30, 20, 10), layout="nhwc")
    assert caffe(image).tolist() == [[[[0, 0, 0]]]]


def test_default_augmentation_is_by_channels():
    assert Preprocess().augment == ("crop", "flip", "zoom")
    assert Preprocess(channels="gray").augment == ("crop",)
    assert Preprocess(augment=()).augment == ()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"layout": "hwc"}, "use nchw, nhwc, none"),
        ({"channels": "cmyk"}, "use rgb, bgr, gray"),
        ({"resize": "pad"}, "use squash, shorter"),
        ({"resample": "best"}, "bilinear"),
        ({"augment": ("mixup",)}, "use crop, flip, zoom"),
        ({"mean": (1.0, 2.0)}, "2 numbers for 3 channel(s)"),
        ({"std": (1.0,) * 3, "channels": "gray"}, "3 numbers for 1 channel(s)"),
        ({"std": (0.0,)}, "not 0"),
        ({"scale": 0.0}, "not 0"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"size": (0, 4)}, "positive"),
        ({"size": (8, 9), "resize": "shorter", "resize_to": 8}, "resize_to no less than size"),
        ({"resize": "shorter"}, "no size to crop to"),
        ({"layout": "none", "size": (4, 4)}, "only images have one"),
    ],
)
def test_contradictory_preprocessing_is_refused(fields, why):
    refused(lambda: Preprocess(**fields), why)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('{"maen": 0.5}', "use mean"),
        ('{"mean": "0.5"}', "makes no sense"),
        ('{"mean": {}}', "makes no sense"),
        ('{"size": [1, 2, 3]}', "makes no sense"),
        ('{"size": 1.5}', "makes no sense"),
        ('{"scale": true}', "makes no sense"),
        ('{"layout": 3}', "makes no sense"),
        ('{"augment": 3}', "makes no sense"),
        ('{"size": 1e400}', "makes no sense"),
    ],
)
def test_a_senseless_preprocess_json_is_refused(text, why):
    refused(lambda: Preprocess.from_json(text), why)


# resolve


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((None, 3, 32, 24), Preprocess(size=(32, 24), sample=(3, 32, 24))),
        ((1, 1, 28, 28), Preprocess(size=(28, 28), channels="gray", sample=(1, 28, 28))),
        ((None, 96, 64, 3), Preprocess(size=(96, 64), layout="nhwc", sample=(96, 64, 3))),
        ((None, 8, 8, 1), Preprocess(size=(8, 8), layout="nhwc", channels="gray", sample=(8, 8, 1))),
        ((None, 3, None, None), Preprocess(sample=(3, None, None))),
        ((None, 13, 64, 64), Preprocess(layout="none", sample=(13, 64, 64))),
        ((None, 784), Preprocess(layout="none", sample=(784,))),
        ((None, 1, 16000), Preprocess(layout="none", sample=(1, 16000))),
    ],
)
def test_the_input_shape_decides_alone(shape, want):
    assert resolve(shape) == want


def config(tmp_path, **fields):
    path = tmp_path / "some.json"
    path.write_text(json.dumps(fields))
    return path


def test_flags_go_before_the_file_and_the_file_before_the_shape(tmp_path):
    file = config(tmp_path, channels="bgr", mean=[1, 2, 3], scale=1, size=None)
    assert resolve((None, 3, 8, 8), file) == Preprocess(
        size=(8, 8), channels="bgr", mean=(1, 2, 3), scale=1, sample=(3, 8, 8)
    )
    flags = PreprocessFlags(channels="rgb", mean=(0.5,), std=(2.0,), augment=(), scale=0.5)
    got = resolve((None, 3, 8, 8), file, flags)
    assert (got.channels, got.mean, got.std, got.augment, got.scale) == ("rgb", (0.5,), (2.0,), (), 0.5)
    free = PreprocessFlags(size=(5, 6), layout="nchw", channels="gray")
    assert resolve((None, None, None, None), None, free).arrange(pixels(1, 9, 9)).shape == (1, 1, 5, 6)


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224},
             "resample": 2, "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True},
            {},
        ),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 224}, {}),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True,
             "crop_size": {"height": 224, "width": 224}},
            {"resize": "shorter", "resize_to": 256},
        ),
        (
            {"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3},
            {"resize": "shorter", "resize_to": 224, "resample": "bicubic"},
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, {"resize": "shorter", "resize_to": 256}),
        ({"size": {"shortest_edge": 224}, "crop_pct": None}, {"resize": "shorter", "resize_to": 256}),
        ({"size": {"shortest_edge": 224}, "do_resize": True}, {"resize": "shorter", "resize_to": 224}),
        ({"do_resize": False, "do_rescale": False}, {"scale": 1.0}),
        ({"do_resize": False, "rescale_factor": 1 / 127.5}, {"scale": 1 / 127.5}),
        ({"size": 224, "do_flip_channel_order": True}, {"channels": "bgr"}),
        ({"size": 224, "do_normalize": False}, {"mean": (0.0,), "std": (1.0,)}),
    ],
)  # fmt: skip
def test_hugging_face_files(tmp_path, fields, want):
    got = resolve((None, 3, 224, 224), config(tmp_path, **IMAGENET, **fields))
    base = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "size": (224, 224)}
    assert got == Preprocess(**base | {"sample": (3, 224, 224)} | want)
    free = resolve((None, None, None, None), config(tmp_path, **IMAGENET, **fields))
    assert free.layout == "nchw"


def test_a_new_size_keeps_the_crops_proportion(tmp_path):
    file = config(tmp_path, size={"shortest_edge": 256}, do_center_crop=True, crop_size=224)
    got = resolve((None, 3, None, None), file, PreprocessFlags(size=(112, 112)))
    assert (got.size, got.resize_to) == ((112, 112), 128)


@pytest.mark.parametrize(
    ("shape", "fields", "flags", "why"),
    [
        ((None, 3, 32, 32), {}, {"size": (64, 64)}, "3x64x64, but the model takes 3x32x32"),
        ((None, 3, 32, 32), {"size": [64, 64]}, {}, "3x64x64"),
        ((None, 3, 32, 32), {"image_mean": [0.5], "size": 224}, {}, "3x224x224"),
        ((None, 3, 32, 32), {}, {"layout": "nhwc"}, "32x3"),
        ((None, 3, 32, 32), {}, {"channels": "gray"}, "1x32x32"),
        ((None, 1, 32, 32), IMAGENET, {}, "3 numbers for 1 channel(s)"),
        ((None, 3, 32, 32), {}, {"mean": (1.0, 2.0)}, "2 numbers for 3"),
        ((None, 784), {}, {"layout": "nchw"}, "2 axes holds no images"),
        ((None, 784), {}, {"size": (28, 28)}, "only images have one"),
        ((None, 3, 224, 224), {"image_mean": [0.5], "size": {"longest_edge": 3}}, {}, "preprocessing size"),
        (
            (None, 3, 224, 224),
            {"do_center_crop": True, "size": [256, 256], "crop_size": 224},
            {},
            "not supported",
        ),
        ((None, 3, 224, 224), {"rescale_factor": "1/255", "do_rescale": True}, {}, "rescale_factor"),
    ],
)
def test_contradictions_with_the_model_are_refused(tmp_path, shape, fields, flags, why):
    refused(lambda: resolve(shape, config(tmp_path, **fields), PreprocessFlags(**flags)), why)


def test_an_unreadable_preprocessing_file(tmp_path):
    refused(lambda: resolve((1, 3, 8, 8), tmp_path / "absent.json"), "absent.json", error=PathError)
    (tmp_path / "bad.json").write_text("not json")
    refused(lambda: resolve((1, 3, 8, 8), tmp_path / "bad.json"), "bad.json", "not JSON")
    refused(lambda: resolve((1, 3, 8, 8), config(tmp_path, maen=1)), "some.json", "use mean")


# data sets


def numbered(labels):
    y = np.array(labels, np.int64)
    return Dataset(np.arange(len(y), dtype=np.float32)[:, None], y, None)


@patient
@given(st.lists(st.integers(0, 5), max_size=80), st.floats(0.05, 0.95), st.integers(0, 5))
def test_a_split_is_stratified_deterministic_and_loses_nothing(labels, fraction, seed):
    data = numbered(labels)
    first, second = data.split(fraction, seed)
    assert sorted([*first.x[:, 0], *second.x[:, 0]]) == list(range(len(labels)))
    assert np.array_equal(first.y, data.y[first.x[:, 0].astype(int)])
    again = data.split(fraction, seed)[0]
    assert np.array_equal(first.x, again.x)
    for label in set(labels):
        whole, part = labels.count(label), int((first.y == label).sum())
        assert abs(part - whole * fraction) <= 1
        assert whole == 1 or 0 < part < whole


def test_classes_of_one_sample_are_pooled():
    first, second = stratified(np.arange(100), 0.2, 0)
    assert (len(first), len(second)) == (20, 80)
    assert not np.array_equal(first, stratified(np.arange(100), 0.2, 1)[0])


@patient
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5))
def test_one_against_the_rest_is_balanced(labels, seed):
    data, target = numbered(labels), labels[0]
    both = data.one_against_rest(target, seed)
    mine = labels.count(target)
    assert (both.y == target).sum() == mine
    assert len(both) == mine + min(mine, len(labels) - mine)
    assert len(set(both.x[:, 0])) == len(both)
    assert np.array_equal(both.y, data.y[both.x[:, 0].astype(int)])


def test_dataset_refuses_what_does_not_pair_up():
    refused(lambda: Dataset(np.zeros((3, 2), np.float32), np.zeros(2, np.int64), None), "3 samples", "(2,)")
    refused(lambda: numbered([0, 1]).one_against_rest(7, 0), "class 7", "no sample")


def test_select_by_mask_and_by_index():
    data = numbered([4, 5, 6])
    assert data.select(data.y != 5).y.tolist() == [4, 6]
    assert data.select(np.array([2, 0])).y.tolist() == [6, 4]


# npz


def test_npz_with_splits_and_names(tmp_path):
    arrays = {f"x_{s}": pixels(3, 4, 4, 3) for s in ("train", "val", "test")}
    arrays |= {f"y_{s}": np.array([[0], [1], [0]], np.uint8) for s in ("train", "val", "test")}
    raw = read(flat(tmp_path, names=np.array(["cat", "dog"]), **arrays))
    assert isinstance(raw, RawSplits)
    assert raw.names == ("cat", "dog")
    for part, split in zip(raw.parts, ("train", "val", "test"), strict=True):
        assert np.array_equal(part.images, arrays[f"x_{split}"])
        assert part.y.tolist() == [0, 1, 0]
        assert part.y.dtype == np.int64
    bytes_names = read(flat(tmp_path, x=pixels(1, 4, 4), y=np.array([0]), names=np.array([b"cat"])))
    assert bytes_names.names == ("cat",)


def test_npz_arrays_become_channels_last_or_float32(tmp_path):
    x = pixels(2, 3, 4, 5)
    raw = read(flat(tmp_path, x=x, y=np.array([0, 1])))
    assert np.array_equal(raw.train.images, x.transpose(0, 2, 3, 1))
    assert raw.val is raw.test is raw.names is None
    for dtype in (np.float16, np.float64, ">f4"):
        images = read(flat(tmp_path, x=np.ones((2, 7), dtype), y=np.array([0, 1]))).train.images
        assert images.dtype == np.float32
        assert images.dtype.isnative


X, Y = np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1])


@pytest.mark.parametrize(
    ("arrays", "texts"),
    [
        ({}, ["no array 'x_train'", "none that is known"]),
        ({"images": X, "labels": Y}, ["no array 'x_train'", "x and y"]),
        ({"x": X}, ["no array 'y'", "it has x"]),
        ({"x_train": X, "y_train": Y, "x_test": X}, ["no array 'y_test'"]),
        ({"x_test": X, "y_test": Y}, ["no array 'x_train'"]),
        ({"x": X[0, 0, 0], "y": Y}, ["x", "shape (3,)"]),
        ({"x": X.astype(np.int64), "y": Y}, ["int64 is neither uint8 nor float"]),
        ({"x": X.astype(bool), "y": Y}, ["bool is neither"]),
        ({"x": np.full((2, 3), np.nan), "y": Y}, ["NaN"]),
        ({"x": np.full((2, 3), 1e300), "y": Y}, ["infinite"]),
        ({"x": X, "y": Y[:1]}, ["2 samples but 1 labels"]),
        ({"x": X, "y": Y.astype(float)}, ["float64 are not integers"]),
        ({"x": X, "y": np.array(["cat", "dog"])}, ["not integers"]),
        ({"x": X, "y": np.eye(2, dtype=int)}, ["shape (2, 2)", "argmax"]),
        ({"x": X, "y": np.array(1)}, ["shape ()"]),
        ({"x": X[:0], "y": Y[:0]}, ["is empty"]),
        ({"x": X, "y": Y, "names": np.array(["cat"])}, ["run from 0 to 1", "1 names"]),
        ({"x": X, "y": Y - 1, "names": np.array(["cat", "dog"])}, ["run from -1 to 0"]),
        ({"x": X, "y": Y, "names": np.array([1, 2])}, ["names", "no list of texts"]),
        ({"x": X, "y": Y, "names": np.array(["cat", "dog"], object)}, ["object array", "not safe"]),
        ({"x": np.array([X, None], object), "y": Y}, ["object array", "not safe"]),
    ],
)
def test_bad_npz(tmp_path, arrays, texts):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    refused(lambda: read(path), "data.npz", *texts)


def test_broken_npz_files(tmp_path):
    path = flat(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    for broken in (b"", b"PK", whole[: len(whole) // 2], whole[:200] + b"\0" * 200 + whole[400:]):
        path.write_bytes(broken)
        refused(lambda: read(path), "data.npz", "no sound .npz archive")
    with path.open("wb") as file:
        np.save(file, X)
    refused(lambda: read(path), "no sound .npz archive")


def test_paths_that_are_no_data(tmp_path):
    refused(lambda: read(tmp_path / "absent"), "absent", "no such file or folder", error=PathError)
    (tmp_path / "data.tar").write_text("?")
    refused(lambda: read(tmp_path / "data.tar"), "data.tar", ".npz")


# folders and tables


def test_class_folders(tmp_path):
    for name in ("dog/1.png", "dog/deep/er/0.PNG", "cat/2.png"):
        save(tmp_path / name)
    for noise in (
        "readme.txt",
        "cat/.hidden.png",
        "cat/._2.png",
        "cat/notes.txt",
        ".git/x.png",
        "__MACOSX/x.png",
    ):
        save(tmp_path / f"{noise}.png").rename(tmp_path / noise)
    raw = read(tmp_path)
    assert raw.names == ("cat", "dog")
    assert [path.name for path in raw.train.images] == ["2.png", "1.png", "0.PNG"]
    assert raw.train.y.tolist() == [0, 1, 1]
    assert raw.test is None


@pytest.mark.parametrize("val", ["val", "valid", "validation", None])
def test_folders_with_splits(tmp_path, val):
    for split in filter(None, ("train", val, "test")):
        for name in ("cat", "dog") if split != "test" else ("dog",):
            save(tmp_path / split / name / "0.png")
    raw = read(tmp_path)
    assert raw.names == ("cat", "dog")
    assert raw.test.y.tolist() == [1]
    assert (raw.val is None) == (val is None)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "test", "bus"):
        save(tmp_path / name / "0.png")
    assert read(tmp_path).names == ("bus", "test", "train")


def test_bad_folders(tmp_path):
    refused(lambda: read(tmp_path), "no class folders")
    save(tmp_path / "0.png")
    refused(lambda: read(tmp_path), "no class folders")
    save(tmp_path / "cat" / "0.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "notes.txt").write_text("?")
    refused(lambda: read(tmp_path), "dog", "holds no image")
    save(tmp_path / "other" / "test" / "cat" / "0.png")
    refused(lambda: read(tmp_path / "other"), "only a test split", "training images")


def test_tables(tmp_path):
    for index in range(3):
        save(tmp_path / "images" / f"{index}.png")
    path = tmp_path / "table.csv"
    path.write_text("label,split,path\ndog,train,images/0.png\n\ncat,TEST,images/1.png\n dog ,, images/2.png\n")
    raw = read(path)
    assert raw.names == ("cat", "dog")
    assert (raw.train.y.tolist(), raw.test.y.tolist(), raw.val) == ([1, 1], [0], None)
    assert raw.train.images == (tmp_path / "images/0.png", tmp_path / "images/2.png")
    path.write_text("images/0.png,7\nimages/1.png,3\n")
    assert read(path).names is None
    assert read(path).train.y.tolist() == [7, 3]
    path.write_text('images/0.png,"tench, Tinca tinca",val\nimages/1.png,3,train\n')
    assert read(path).names == ("3", "tench, Tinca tinca")


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("", ["lists no images"]),
        ("path,label\n", ["lists no images"]),
        ("path,colour\na.png,red\n", ["columns are path, colour"]),
        ("a.png\n", ["line 1", "no path or no label"]),
        ("a.png,1\n,2\n", ["line 2", "no path or no label"]),
        ("a.png,1\nabsent.png,2\n", ["line 2", "absent.png", "not there"]),
        ("a.png,1,holdout\n", ["line 1", "'holdout'"]),
        ("a.png,1,test\n", ["only a test split"]),
    ],
)
def test_bad_tables(tmp_path, text, texts):
    save(tmp_path / "a.png")
    path = tmp_path / "table.csv"
    path.write_text(text)
    refused(lambda: read(path), "table.csv", *texts)


# load_splits


def classes_on_disk(root, counts, size=4):
    """A folder a class; the red of every pixel says the class, the green the number."""
    for k, (name, count) in enumerate(counts.items()):
        for i in range(count):
            image = np.zeros((size + i % 2, size, 3), np.uint8)
            image[..., 0], image[..., 1] = k, i
            save(root / name / f"{i}.png", image)
    return root


def test_folders_are_decoded_straight_into_the_models_classes(tmp_path):
    names = ("Dog", "Polar Bear", "tench, Tinca tinca")
    root = classes_on_disk(tmp_path, {"dog": 5, "n01440764_tench": 5, "n02134084_polar_bear": 5})
    seen = []
    splits = load_splits(root, TINY, names=names, classes=3, progress=lambda *p: seen.append(p))
    for data, count in ((splits.train, 9), (splits.val, 3), (splits.test, 3)):
        assert data.x.shape == (count, 3, 4, 4)
        assert data.x.dtype == np.uint8
        assert data.names == names
        red_of_class = np.array([0, 2, 1])  # the folders were numbered dog, tench, bear
        assert np.array_equal(data.x[:, 0, 0, 0], red_of_class[data.y])
    assert seen == [(i, 15) for i in range(1, 16)]
    assert len(splits.notes) == 2
    assert "no test split" in splits.notes[0]
    assert "--val" in splits.notes[1]


def test_no_sample_is_in_two_splits_and_the_seed_decides(tmp_path):
    x, y = np.arange(100, dtype=np.float64)[:, None], np.arange(100) % 4
    path, plain = flat(tmp_path, x=x, y=y), Preprocess(layout="none")
    splits = load_splits(path, plain, classes=4)
    parts = [set(d.x[:, 0].tolist()) for d in (splits.train, splits.val, splits.test)]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert len(set.union(*parts)) == 100
    assert splits.train.x.dtype == np.float32
    assert np.array_equal(splits.train.y, splits.train.x[:, 0].astype(int) % 4)
    assert np.bincount(splits.test.y).tolist() == [5, 5, 5, 5]
    same, other = (load_splits(path, plain, classes=4, seed=seed) for seed in (0, 1))
    assert np.array_equal(same.test.x, splits.test.x)
    assert not np.array_equal(other.test.x, splits.test.x)


def test_own_splits_and_val_are_kept(tmp_path):
    def arrays(base):
        return {"x": np.full((10, 2), base, np.float32), "y": np.arange(10) % 2}

    own = {f"{k}_{s}": v for i, s in enumerate(("train", "val", "test")) for k, v in arrays(i).items()}
    plain, path = Preprocess(layout="none"), flat(tmp_path, **own)
    splits = load_splits(path, plain, classes=2)
    assert [d.x[0, 0] for d in (splits.train, splits.val, splits.test)] == [0, 1, 2]
    assert [len(d) for d in (splits.train, splits.val, splits.test)] == [10, 10, 10]
    assert splits.notes == ()
    fresh = tmp_path / "fresh.npz"
    np.savez(fresh, **arrays(7))
    assert load_splits(path, plain, val=fresh, classes=2).val.x[0, 0] == 7
    assert load_splits(path, plain, val=path, classes=2).val.x[0, 0] == 1
    del own["x_val"]
    path = flat(tmp_path, **own)
    splits = load_splits(path, plain, classes=2)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 2, 10)
    assert splits.notes == (
        "validation was split from the training images; if the original model was trained on them, its "
        "accuracy there reads high; give fresh ones with --val",
    )
    refused(lambda: load_splits(path, plain, val=path, classes=2), "train and a test split")
    assert load_splits(path, plain, val=fresh, classes=2).notes == ()


def test_val_classes_go_by_the_names_learnt_from_the_data(tmp_path):
    data = classes_on_disk(tmp_path / "data", {"ant": 5, "bee": 5, "cat": 5})
    fresh = classes_on_disk(tmp_path / "fresh", {"cat": 2})
    splits = load_splits(data, TINY, val=fresh, classes=3)
    assert splits.val.y.tolist() == [2, 2]
    assert splits.val.names == ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("data", "model", "mapped"),
    [
        (("cat", "dog"), ("dog", "cat"), [1, 0]),
        (("DOG", "polar-bear"), ("Polar Bear", "dog"), [1, 0]),
        (("7", "10"), None, [7, 10]),
        (("7", "10"), ("a",) * 11, [7, 10]),
        (("1", "0"), ("0", "1"), [1, 0]),
        (("b", "a"), None, [0, 1]),
        (("n00000001_crane", "n00000002_crane"), ("crane", "bus", "crane"), [0, 2]),
        (("n00000001_maillot", "n00000002_maillot"), ("maillot, suit", "maillot"), [0, 1]),
    ],
)
def test_data_names_find_their_class(tmp_path, data, model, mapped):
    path = flat(tmp_path, x=np.zeros((20, 2), np.float32), y=np.arange(20) % 2, names=np.array(data))
    classes = len(model) if model else 11 if "7" in data else 2
    splits = load_splits(path, Preprocess(layout="none"), names=model, classes=classes)
    assert set(splits.train.y.tolist()) == set(mapped)
    assert [int(splits.train.y[i]) for i in (0, 1)] in (mapped, mapped[::-1])


@pytest.mark.parametrize(
    ("data", "model", "classes", "texts"),
    [
        (("cta", "dog"), ("cat", "dog"), 2, ["class 'cta'", "did you mean 'cat'?"]),
        (("ant", "dog"), None, 3, ["has 2 classes, the model 3", "--names FILE"]),
        (("ant", "dog"), None, 1, ["has 2 classes, the model 1"]),
        (("crane", "dog"), ("crane", "crane", "dog"), 3, ["'crane'", "0 (crane), 1 (crane)"]),
        (("Dog", "dog"), ("dog", "cat"), 2, ["both the model's class 'dog'"]),
        (("1", "2"), None, 2, ["label 2", "0..1"]),
    ],
)
def test_classes_that_cannot_be_paired_are_refused(tmp_path, data, model, classes, texts):
    path = flat(tmp_path, x=np.zeros((8, 2), np.float32), y=np.arange(8) % 2, names=np.array(data))
    plain = Preprocess(layout="none")
    refused(lambda: load_splits(path, plain, names=model, classes=classes), "data.npz", *texts)


def test_names_without_samples_need_no_class(tmp_path):
    path = flat(tmp_path, x=np.zeros((8, 2), np.float32), y=np.arange(8) % 2, names=np.array(["a", "b", "c"]))
    splits = load_splits(path, Preprocess(layout="none"), names=("b", "a"), classes=2)
    assert set(splits.train.y.tolist()) == {0, 1}


@pytest.mark.parametrize("labels", [[0, 10], [-1, 0]])
def test_labels_outside_the_model_are_refused(tmp_path, labels):
    path = flat(tmp_path, x=np.zeros((2, 2), np.float32), y=np.array(labels))
    refused(lambda: load_splits(path, Preprocess(layout="none"), classes=10), "data.npz label", "0..9")


def test_too_few_to_divide(tmp_path):
    path = flat(tmp_path, x=np.zeros((2, 2), np.float32), y=np.array([0, 0]))
    refused(lambda: load_splits(path, Preprocess(layout="none"), classes=10), "too few")


def test_data_of_another_shape_than_the_models_input(tmp_path):
    path = flat(tmp_path, x=np.zeros((9, 28, 28), np.uint8), y=np.zeros(9, int))
    refused(lambda: load_splits(path, resolve((None, 784)), classes=10), "28x28 where the model takes 784")
    root = classes_on_disk(tmp_path / "images", {"a": 5})
    refused(lambda: load_splits(root, resolve((None, 784)), classes=1), "not look like an image")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_images_that_do_not_decode_are_named(tmp_path, content):
    root = classes_on_disk(tmp_path, {"a": 5, "b": 5})
    bad = root / "b" / "3.png"
    save(bad, pixels(64, 64, 3))
    bad.write_bytes(bad.read_bytes()[:500] if content is None else content)
    refused(lambda: load_splits(root, TINY, classes=2), "b/3.png", "does not decode", "remove")


def test_images_of_several_sizes_need_one(tmp_path):
    root = classes_on_disk(tmp_path, {"a": 6, "b": 6})
    refused(lambda: load_splits(root, Preprocess(), classes=2), ".png", "3x5x4", "--size")


def test_every_mode_of_image_decodes(tmp_path):
    ramp = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    for mode in ("L", "RGB", "RGBA", "P", "1", "LA"):
        save(tmp_path / "8bit" / f"{mode}.png", ramp, mode)
    save(tmp_path / "8bit" / "CMYK.jpg", ramp, "CMYK")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "8bit" / "16.png")
    raw, gray = read(tmp_path), Preprocess(channels="gray")
    arranged = {}
    for path in raw.train.images:
        table = tmp_path / "one.csv"
        table.write_text("".join(f"{path},0,{split}\n" for split in ("train", "val", "test")))
        arranged[path.stem] = load_splits(table, gray, classes=1).test.x[0, 0]
    assert {image.shape for image in arranged.values()} == {(16, 16)}
    for mode in ("L", "RGB", "RGBA", "P", "LA", "16"):
        assert np.abs(arranged[mode].astype(int) - ramp).max() <= 1, mode


def test_neither_torch_nor_onnxruntime_is_imported():
    heavy = "{'torch', 'onnxruntime', 'onnx'} & set(sys.modules)"
    code = f"import sys, seam_onnx.labels, seam_onnx.data; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# the real images


def shared(name):
    if not (SHARED / "load.py").exists() or not (SHARED / name).exists():
        pytest.skip(f"{name} is not among the shared data here")
    spec = importlib.util.spec_from_file_location("shared_load", SHARED / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cifar_from_npz_and_from_folders_is_the_same(tmp_path):
    x, y, names = shared("cifar10_test.tar").load("cifar10", "test")
    few = np.concatenate([np.flatnonzero(y == k)[:5] for k in range(10)])
    for i in few:
        save(tmp_path / "images" / names[y[i]] / f"{i:05d}.png", x[i])
    path = flat(tmp_path, x=x[few], y=y[few], names=np.array(names))
    preprocess = resolve((None, 3, 32, 32))
    by_array = load_splits(path, preprocess, names=names[::-1], classes=10)
    by_file = load_splits(tmp_path / "images", preprocess, names=names[::-1], classes=10)
    assert (len(by_array.train), len(by_array.val), len(by_array.test)) == (30, 10, 10)
    together = {}
    for splits in (by_array, by_file):
        for data in (splits.train, splits.val, splits.test):
            for image, label in zip(data.x, data.y.tolist(), strict=True):
                together.setdefault(image.tobytes(), []).append(names[::-1][label])
    assert len(together) == 50
    assert all(len(said) == 2 and said[0] == said[1] for said in together.values())
    assert together[x[few[0]].transpose(2, 0, 1).tobytes()][0] == names[y[few[0]]]
