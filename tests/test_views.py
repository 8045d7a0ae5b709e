"""The task, and the data that a search trains on."""

import numpy as np
import pytest
import torch
from files import NET
from graphs import build, run
from torch import nn
from torch.func import functional_call
from toys import CPU, DEEP, dataset, toy, views_of

from seam_onnx.data import Dataset, Preprocess, Splits
from seam_onnx.errors import DataError
from seam_onnx.finding import teacher_logits
from seam_onnx.judge import Judge
from seam_onnx.labels import Wanted
from seam_onnx.progress import silent
from seam_onnx.search import Engine
from seam_onnx.search.augment import augmented
from seam_onnx.search.views import restricted
from seam_onnx.task import make_task
from seam_onnx.teacher import Teacher


def test_one_against_the_rest_is_judged_on_as_many_others():
    task = toy(2, rest=True)
    assert task.wanted.outputs == ("2", "other")
    for part in (task.val, task.test):
        assert np.bincount(part.y).tolist() == [20, 20]
    assert np.bincount(task.train.y).tolist() == [40, 160]
    assert any("as many other images" in note for note in task.notes)
    assert np.array_equal((task.original[0] == 2), task.val.y == 0)


def test_two_labels_and_the_rest():
    task = toy(4, 1, rest=True)
    assert np.bincount(task.val.y).tolist() == [20, 20, 20]
    assert set(task.original[0][task.val.y == 0]) == {4}
    assert set(task.original[0][task.val.y == 1]) == {1}


def test_several_labels_leave_the_others_out():
    task = toy(3, 0)
    assert np.bincount(task.train.y).tolist() == [40, 40]
    assert len(task.val) == 40


def test_a_label_without_samples():
    empty = Dataset(np.zeros((4, 3, 8, 8), np.float32), np.zeros(4, np.int64), None)
    with pytest.raises(DataError, match=r"'1': has no sample in the validation split"):
        make_task(Wanted((0, 1), ("0", "1"), False, 5), Splits(dataset(20, 0), empty, dataset(20, 2), ()))


def test_views_pair_images_with_labels_and_teacher():
    model, task = build(NET), toy(0, 1, 2)
    views = views_of(model, task, augment=("crop", "flip"))
    teacher = Teacher(model, CPU)
    colours = np.random.default_rng(9).standard_normal((5, 3)) * 2
    for batch in views.batches(32):
        assert batch.x.shape == (32, 3, 8, 8)
        order = torch.tensor([*task.wanted.indices, *task.wanted.unwanted])
        assert torch.allclose(teacher(batch.x)[:, order], batch.classes, atol=1e-5)
        assert torch.allclose(batch.classes[:, :3], batch.teacher, atol=1e-5)
        middle = batch.x[:, :, 2:6, 2:6].mean((2, 3)).numpy()
        nearest = ((middle[:, None] - colours[None, :3]) ** 2).sum(2).argmin(1)
        assert np.array_equal(nearest, batch.y.numpy())


def test_every_view_draws_other_images_of_the_rest():
    model, task = build(NET), toy(2, rest=True)
    views = views_of(model, task, most=3)
    assert views.most == 1  # without augmentation there is nothing to alternate
    views = views_of(model, task, augment=("flip",), most=3)
    assert views.steps(16) == 80 // 16
    first, second = (torch.cat([b.x for b in views.batches(80)]) for _ in range(2))
    assert first.shape == second.shape == (80, 3, 8, 8)
    assert not torch.equal(first.sort(0).values, second.sort(0).values)


def test_crops_shift_and_flips_mirror():
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8) % 200 + 1
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = augmented(x, Preprocess(size=(8, 8), augment=("crop",)), generator)
        for image, original in zip(moved, x, strict=True):
            padded = nn.functional.pad(original, (1, 1, 1, 1))
            crops = [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
            assert any(torch.equal(image, crop) for crop in crops)
        flipped = augmented(x, Preprocess(size=(8, 8), augment=("flip",)), generator)
        for image, original in zip(flipped, x, strict=True):
            assert torch.equal(image, original) or torch.equal(image, original.flip(2))
    assert augmented(x, Preprocess(size=(8, 8), augment=()), generator) is x


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_zoom_turns_half_of_the_images_and_keeps_their_values_in_range(layout):
    smooth = torch.linspace(40, 90, 16)
    image = (smooth[:, None] + smooth[None]).to(torch.uint8)
    x = image.expand(400, 3, 16, 16) if layout == "nchw" else image[..., None].expand(400, 16, 16, 3)
    made = augmented(x, Preprocess(augment=("zoom",), layout=layout), torch.Generator().manual_seed(0))
    assert made.dtype == torch.uint8
    assert made.shape == x.shape
    moved = (made != x).flatten(1).any(1)
    assert 0.4 < moved.float().mean() < 0.6
    assert made.min() >= image.min()
    assert made.max() <= image.max()
    assert (made.float() - x.float()).abs().max() < 40  # an image turned and zoomed a little, not another one


def test_the_teacher_is_the_original_restricted():
    model = build(NET)
    x = dataset(10, 3).x
    (scores,) = run(model, {"x": x})
    for chosen_labels in (Wanted((3, 1), ("3", "1"), False, 5), Wanted((2,), ("2",), True, 5)):
        order = [*chosen_labels.indices, *chosen_labels.unwanted]
        given = restricted(Teacher(model, CPU)(torch.from_numpy(x))[:, order], chosen_labels).numpy()
        assert np.allclose(given, chosen_labels.restrict(scores), atol=1e-5)
    module = Teacher(model, CPU).module
    assert functional_call(module, {}, (torch.from_numpy(x),)).shape == (10, 5)


@pytest.mark.parametrize(
    ("text", "low", "by_torch"),
    [
        (DEEP, False, False),
        (DEEP, True, True),
        (DEEP.replace("float[N,", "float[1,"), False, True),  # a sample at a time in onnxruntime
        (
            DEEP.replace("y = Gemm <transB = 1> (f, g, h)", "z = Gemm <transB = 1> (f, g, h) y = Softmax (z)"),
            False,
            True,
        ),
    ],
)
def test_onnxruntime_teaches_where_it_gives_the_same_logits(text, low, by_torch):
    model = build(text)
    teacher, x = Teacher(model, CPU), torch.from_numpy(dataset(70, 3).x)
    judge = Judge(model, toy(0, 1), Preprocess(size=(8, 8)), "cpu", 1, silent)
    found = teacher_logits(judge, teacher, Engine(1, low))
    assert (found is teacher) == by_torch
    assert torch.allclose(found(x), teacher(x), atol=1e-4)
