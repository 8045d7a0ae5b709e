"""The search: SeaM as it is specified, and channels by measured ladders, on a toy problem of a second."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from files import NET
from graphs import build, gap, run
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.func import functional_call

from seam_onnx.channels import analyze
from seam_onnx.data import Dataset, Preprocess, Splits
from seam_onnx.errors import DataError, ModelError, UsageError
from seam_onnx.labels import Wanted
from seam_onnx.lowering import lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, load, serialized
from seam_onnx.progress import Event
from seam_onnx.search import (
    Aim,
    ChannelSearch,
    CostAim,
    DropAim,
    Found,
    Goal,
    LatencyAim,
    Recipe,
    SeamRecipe,
    Views,
    Visited,
    evaluate,
    mask_elements,
    parse_target,
    search_weights,
)
from seam_onnx.search.aims import way
from seam_onnx.search.augment import augmented
from seam_onnx.search.auxiliary import features_of
from seam_onnx.search.criteria import CRITERIA, Subject
from seam_onnx.search.gates import HardConcrete
from seam_onnx.search.ladders import ladders_by
from seam_onnx.search.normalise import fold, normalise
from seam_onnx.search.price import macs, params, price_of
from seam_onnx.search.select import Ladder, rungs, select
from seam_onnx.search.selection import Selection
from seam_onnx.search.straight_through import largest
from seam_onnx.search.train import Clock, Trainer, objective, snapshot
from seam_onnx.search.training import Training
from seam_onnx.search.trial import Trial, distance
from seam_onnx.search.views import Batch, restricted
from seam_onnx.search.weight import WeightSearch
from seam_onnx.surgery import NM, channel_masks, cut_head, remove_masked
from seam_onnx.surgery.logits import SEAM_HEAD, add_seam_head, logits_of
from seam_onnx.surgery.sparsity import holds
from seam_onnx.surgery.twin import contents_of_twin
from seam_onnx.task import Task, make_task
from seam_onnx.teacher import Teacher

CPU = torch.device("cpu")
PUBLISHED = SeamRecipe(schedule="published")
DEEP = """(float[N, 3, 8, 8] x) => (float[N, 5] y)
  <float[32, 3, 3, 3] w1, float[32] b1, float[32, 32, 3, 3] w2, float[32] s, float[32] t, float[32] m, float[32] v,
   float[32, 32, 3, 3] w3, float[32] b3, float[5, 32] g, float[5] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  r = Relu (a)
  b = Conv <pads = [1, 1, 1, 1]> (r, w2)
  n = BatchNormalization (b, s, t, m, v)
  q = Relu (n)
  c = Conv <pads = [1, 1, 1, 1]> (q, w3, b3)
  d = Add (r, c)
  e = Relu (d)
  p = GlobalAveragePool (e)
  f = Flatten (p)
  y = Gemm <transB = 1> (f, g, h) }"""
"""A residual block: a group of 32 on the stream, and one of 32 in the branch, which may go as a whole."""


# ---- a toy problem --------------------------------------------------------------------------------------------------


def dataset(count: int, seed: int) -> Dataset:
    """Images whose colour tells the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 5
    colours = np.random.default_rng(9).standard_normal((5, 3, 1, 1)) * 2
    x = colours[y] + 0.5 * rng.standard_normal((count, 3, 8, 8))
    return Dataset(x.astype(np.float32), y.astype(np.int64), None)


def toy(*indices: int, rest: bool = False) -> Task:
    chosen = Wanted(indices, tuple(map(str, indices)), rest, 5)
    return make_task(chosen, Splits(dataset(200, 0), dataset(100, 1), dataset(100, 2), ()))


def views_of(model: Model, task: Task, seed: int = 0, augment: tuple[str, ...] = (), most: int = 2) -> Views:
    preprocess = Preprocess(size=(8, 8), augment=augment)
    return Views(task, preprocess, Teacher(model, CPU), CPU, seed, most)


def agree(*_: Model) -> None:
    """A check of surgery that looks away."""


def searched(
    base: Model, views: Views, aim: Aim, recipe: Recipe, recover: str = "finetune", check: Callable[..., None] = agree
) -> Found:
    return ChannelSearch(base, logits_of(base), views, aim, recipe, recover, 8, check).run()


# ---- SeaM: what is masked -------------------------------------------------------------------------------------------


class Architecture:
    """A network by its shapes alone: its weights lie in a file of zeros that takes no room."""

    def __init__(self, size: int) -> None:
        self.size, self.nodes, self.shapes = size, [], {}

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.shapes)}"
        self.shapes[name] = shape
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(self, x: str, come: int, go: int, kernel: int, stride: int = 1, bias: bool = False) -> str:
        """A convolution with its BatchNormalization."""
        weights = [self.weight(go, come, kernel, kernel), *([self.weight(go)] if bias else [])]
        y = self.add("Conv", x, *weights, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)
        return self.add("BatchNormalization", y, *(self.weight(go) for _ in range(4)))

    def linear(self, x: str, come: int, go: int) -> str:
        return self.add("Gemm", x, self.weight(go, come), self.weight(go), transB=1)

    def model(self, output: str, classes: int, folder: Path) -> Model:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, self.size, self.size])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, "g", [x], [y], [self.stored(name) for name in self.shapes])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with (folder / "zeros").open("wb") as file:
            file.truncate(4 * max(int(np.prod(s)) for s in self.shapes.values()))
        (folder / "model.onnx").write_bytes(proto.SerializeToString())
        return load(folder / "model.onnx")

    def stored(self, name: str) -> onnx.TensorProto:
        tensor = TensorProto(name=name, dims=self.shapes[name], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "zeros"), ("offset", 0), ("length", 4 * int(np.prod(tensor.dims)))):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def vgg16(classes: int, folder: Path) -> Model:
    net, x, come = Architecture(32), "x", 3
    for go in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if go:
            x, come = net.add("Relu", net.conv(x, come, go, 3, bias=True)), go
        else:
            x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", x)
    for _ in range(2):
        x = net.add("Relu", net.linear(x, 512, 512))
    return net.model(net.linear(x, 512, classes), classes, folder)


def resnet20(classes: int, folder: Path) -> Model:
    net = Architecture(32)
    x, come = net.add("Relu", net.conv("x", 3, 16, 3)), 16
    for go, stride in ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)):
        y = net.conv(net.add("Relu", net.conv(x, come, go, 3, stride)), go, go, 3)
        shortcut = x if come == go else net.conv(x, come, go, 1, stride)
        x, come = net.add("Relu", net.add("Add", y, shortcut)), go
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.linear(x, 64, classes), classes, folder)


def resnet50(classes: int, folder: Path) -> Model:
    net = Architecture(64)
    x = net.add("Relu", net.conv("x", 3, 64, 7, 2))
    x, come = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(depth):
            stride = 2 if block == 0 and width > 64 else 1
            y = net.add("Relu", net.conv(x, come, width, 1))
            y = net.conv(net.add("Relu", net.conv(y, width, width, 3, stride)), width, 4 * width, 1)
            shortcut = x if block else net.conv(x, come, 4 * width, 1, stride)
            x, come = net.add("Relu", net.add("Add", y, shortcut)), 4 * width
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.linear(x, 2048, classes), classes, folder)


@pytest.mark.parametrize(
    ("make", "classes", "total"),
    [
        (vgg16, 10, 15_245_130),
        (vgg16, 100, 15_291_300),
        (resnet20, 10, 270_906),
        (resnet20, 100, 276_756),
        (resnet50, 1000, 25_503_912),
    ],
)
def test_mask_elements_are_seams(make, classes, total, tmp_path):
    model = make(classes, tmp_path)
    assert sum(mask_elements(model).values()) == total


def test_the_head_and_the_shift_of_a_folded_normalisation_have_no_mask():
    model = build(DEEP)
    assert set(mask_elements(model)) == {"w1", "w2", "w3", "g", "h"}  # b1, b3: a normalisation may be folded there
    assert mask_elements(add_seam_head(model, 2)) == mask_elements(model)


# ---- SeaM: gradient, schedule, choice -------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "size"), [(1.0, 1.0), (0.0, 1.0), (1.0, 60.0), (1e6, 1.0)])
def test_the_gradient_of_a_mask_is_the_sum_of_two_clipped_ones(alpha, size):
    model = add_seam_head(build(DEEP), 2)
    recipe = SeamRecipe(schedule="published", alpha=alpha)
    search = WeightSearch(model, views_of(build(DEEP), toy(0, 1)), recipe, lambda _: None)
    x, y = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * size, torch.arange(16) % 2
    plain = lower(model)
    nn.functional.cross_entropy(plain(x), y).backward()
    search.step(Batch(x, y, torch.zeros(16, 2), torch.zeros(16, 5)), joint=True)
    total = sum(mask_elements(model).values())
    for name, mask in search.masks.items():
        weight = plain.weights[name]
        expected = (weight.detach() * weight.grad).clamp(-1, 1) + min(alpha / total, 1.0)
        assert torch.allclose(mask.grad, expected, rtol=1e-4, atol=1e-7), name
    clipped = max(float((w.detach() * w.grad).abs().max()) for n, w in plain.weights.items() if n in search.masks)
    assert (clipped > 1) == (size > 1)  # the large inputs are there to make the clip bite


def test_a_mask_of_zero_removes_and_a_head_epoch_moves_the_head_alone():
    model = add_seam_head(build(DEEP), 2)
    search = WeightSearch(model, views_of(build(DEEP), toy(0, 1)), PUBLISHED, lambda _: None)
    batch = Batch(torch.randn(16, 3, 8, 8), torch.arange(16) % 2, torch.zeros(16, 2), torch.zeros(16, 5))
    with torch.no_grad():
        search.masks["w2"].view(-1)[:100] = 0.0
    total = sum(mask_elements(model).values())
    assert search.ratio() == pytest.approx(1 - 100 / total)
    before = {n: m.detach().clone() for n, m in search.masks.items()}
    head = search.module.weights[SEAM_HEAD[0]].detach().clone()
    search.step(batch, joint=False)
    assert all(torch.equal(before[n], m) for n, m in search.masks.items())
    assert not torch.equal(head, search.module.weights[SEAM_HEAD[0]])
    search.step(batch, joint=True)
    assert not any(torch.equal(before[n], m) for n, m in search.masks.items())


def test_every_fifth_epoch_is_the_heads():
    model = build(NET)
    recipe = replace(PUBLISHED, epochs=11)
    search = WeightSearch(add_seam_head(model, 2), views_of(model, toy(0, 1)), recipe, lambda _: None)
    turns: list[bool] = []
    search.step = lambda batch, joint: (turns.append(joint), (0.0, 0.0))[1]
    seen = []
    for _ in search.epochs():
        assert len(set(turns)) == 1
        seen.append(turns[0])
        turns.clear()
    assert seen == [epoch % 5 != 0 for epoch in range(11)]


@pytest.mark.parametrize("schedule", ["published", "fast"])
def test_the_originals_tensors_are_bit_identical_after_the_search(schedule):
    model = build(DEEP)
    headed = add_seam_head(model, 2)
    recipe = SeamRecipe(schedule=schedule, epochs=6)
    found = search_weights(headed, views_of(model, toy(1, 3)), recipe, threshold=0.9)
    for name, value in headed.initializers.items():
        same = np.array_equal(value.const_value.numpy(), found.model.initializers[name].const_value.numpy())
        assert same == (name not in SEAM_HEAD), name
    bits = np.concatenate([mask.reshape(-1) for mask in found.masks.masks.values()])
    assert found.kept == pytest.approx(bits.mean())
    assert [p.epoch for p in found.curve] == [1, 2, 3, 4, 5, 6]
    assert 1 <= found.epoch <= 6
    assert found.curve[found.epoch - 1].kept == found.kept


def fast(epochs: int = 10, **recipe: object) -> tuple[WeightSearch, list[float]]:
    """A fast search that has run, and the kept ratio epoch by epoch."""
    model = build(DEEP)
    recipe = SeamRecipe(epochs=epochs, batch=16, **recipe)
    search = WeightSearch(add_seam_head(model, 2), views_of(model, toy(0, 1)), recipe, lambda _: None)
    return search, [search.ratio() for _ in search.epochs()]


def test_the_fast_schedule_comes_down_by_a_constant_factor_and_stays():
    search, kept = fast(keep=0.1)
    assert kept[0] == 1.0  # the head's epoch
    factors = np.divide(kept[1:6], kept[:5])
    assert np.allclose(factors, 0.1 ** (1 / 5), rtol=0.02)  # six tenths of ten epochs, the first apart
    assert np.allclose(kept[5:], 0.1, atol=1 / search.total)


def test_the_fast_schedule_finds_alpha_and_moves_all_masks_alike():
    search, _ = fast(epochs=2)
    before = {n: m.detach().clone() for n, m in search.masks.items()}
    search.schedule.descend()
    moved = torch.cat([(m.detach() - before[n]).flatten() for n, m in search.masks.items()])
    assert float(moved.max() - moved.min()) < 1e-5


def test_the_fast_schedule_begins_with_what_matters_least_and_keeps_small_layers_dense():
    model = build(DEEP)
    search = WeightSearch(add_seam_head(model, 2), views_of(model, toy(0, 1)), SeamRecipe(epochs=10), lambda _: None)
    schedule, rng = search.schedule, torch.Generator().manual_seed(0)
    for square in schedule.squares.values():
        square.copy_(torch.rand(square.shape, generator=rng))
    schedule.begin()
    for name, mask in search.masks.items():
        assert torch.equal(mask.detach().flatten().argsort(), schedule.squares[name].flatten().argsort())
    schedule.done = round(0.3 * schedule.total)
    schedule.descend()
    dense = {n: float((m > 0).float().mean()) for n, m in search.masks.items()}
    assert dense["w1"] > dense["w2"] == pytest.approx(dense["w3"], abs=0.01)
    assert dense["h"] == 1.0


def test_the_largest_of_each_group_stay():
    mask = torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(0))
    for axis, pattern in ((1, NM(2, 4)), (1, NM(1, 8)), (0, NM(1, 2)), (2, NM(2, 3))):
        bits = largest(mask, axis, pattern)
        assert bits.shape == mask.shape
        groups = [t.movedim(axis, -1).reshape(-1, pattern.m) for t in (bits, mask)]
        assert (groups[0].sum(1) == pattern.n).all()
        kept, gone = groups[1].masked_fill(~groups[0], np.inf), groups[1].masked_fill(groups[0], -np.inf)
        assert (kept.min(1).values >= gone.max(1).values).all()


def test_a_pattern_leaves_its_share_of_layers_that_can_hold_it():
    search, kept = fast(epochs=4, nm="2:4")
    bits = search.bits()
    assert kept[0] < 1  # from the end of the head's epoch on
    for name in ("w2", "w3", "g"):
        assert float(bits[name].mean()) == 0.5
        assert holds(bits[name].numpy(), search.axes[name], NM(2, 4))
    assert bits["w1"].all()  # three inputs
    assert bits["h"].all()  # a bias
    assert fast(epochs=4, nm="2:4", keep=0.2)[1][-1] <= 0.2


@pytest.mark.parametrize("schedule", ["published", "fast"])
def test_a_search_that_was_cut_off_goes_on(schedule, tmp_path):
    model, state = build(DEEP), tmp_path / "s.state"
    headed, recipe = add_seam_head(model, 2), SeamRecipe(schedule=schedule, epochs=6, batch=16)
    whole = search_weights(headed, views_of(model, toy(0, 1)), recipe, 0.9)

    def cut(event: Event) -> None:
        if "val" in event.figures and event.done == event.total / 2:
            raise KeyboardInterrupt

    views = views_of(model, toy(0, 1))
    with pytest.raises(KeyboardInterrupt):
        search_weights(headed, views, recipe, 0.9, observer=cut, state=state)
    found = search_weights(headed, views, recipe, 0.9, state=state)
    assert found.masks.digest() == whole.masks.digest()
    assert found.curve == whole.curve


def chosen(threshold: float, *epochs: tuple[float, float]) -> int | None:
    """Index of the epoch that SeaM's rule ends with, for (accuracy, ratio) epoch by epoch."""
    selection, best = Selection(threshold), None
    for index, (accuracy, ratio) in enumerate(epochs):
        if selection.better(accuracy, ratio):
            best = index
    return best


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([(0.95, 0.8), (0.92, 0.5), (0.91, 0.3)], 2),  # the smallest of those that are good enough
        ([(0.95, 0.8), (0.89, 0.1)], 0),  # too inaccurate, however small
        ([(0.90, 0.5), (0.99, 0.6)], 0),  # larger: skipped, however accurate
        ([(0.95, 0.5009), (0.96, 0.5001)], 1),  # the same bucket, smaller, more accurate
        ([(0.95, 0.5009), (0.95, 0.5001)], 0),  # the same bucket, no more accurate
        ([(0.95, 0.5009), (0.94, 0.4999)], 1),  # the next bucket
        ([(0.8, 0.5), (0.85, 0.6), (0.7, 0.2)], 2),  # none is good enough: accuracy minus ratio
        ([(0.5, 0.05), (0.95, 0.9)], 1),  # the first that is good enough beats any fallback
        ([(0.95, 0.9), (0.8, 0.01)], 0),  # and no fallback comes back after it
        ([(0.9, 1.0)], 0),  # as accurate and whole
    ],
)
def test_the_epoch_is_chosen_by_seams_rule(epochs, expected):
    assert chosen(0.9, *epochs) == expected


def test_the_fast_schedule_takes_the_smallest_that_is_good_enough_or_what_was_asked_for():
    epochs = ((0.9, 1.0), (0.95, 0.8), (0.93, 0.4), (0.8, 0.2), (0.85, 0.2), (0.5, 0.2))

    def picked(threshold: float, keep: float | None) -> int:
        selection = Selection.of(SeamRecipe(keep=keep), threshold)
        return [index for index, one in enumerate(epochs) if selection.better(*one)][-1]

    assert picked(0.92, None) == 2
    assert picked(0.99, None) == 1  # never a network by chance because it is small
    assert picked(0.92, 0.2) == 4
    assert picked(0.92, 0.01) == 1  # none came so far


# ---- channels: ladders and choice -----------------------------------------------------------------------------------


def subject_of(model: Model, seed: int = 0) -> Subject:
    """To be cut to half of its multiply-adds, on random samples."""
    generator = torch.Generator().manual_seed(1)

    def samples(count: int) -> Tensor:
        return torch.randn(count, 3, 8, 8, generator=generator)

    return Subject(model, analyze(model), lower(model), samples(32), samples, 0.5, seed)


def measured(seed: int = 0, step: int = 8) -> tuple[Model, list[Ladder]]:
    model = build(DEEP, seed=seed)
    return model, ladders_by("effect", subject_of(model), step)


def test_at_random_the_seed_decides():
    model, _ = measured()
    one, same, other = (ladders_by("random", subject_of(model, seed), 8) for seed in (0, 0, 1))
    assert all(np.array_equal(a.order, b.order) and a.changes == b.changes for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].order, other[0].order)


def test_rungs_leave_multiples_or_nothing():
    assert rungs(20, 8, droppable=False) == [4, 12]
    assert rungs(16, 8, droppable=True) == [8, 16]
    assert rungs(8, 8, droppable=False) == []
    assert rungs(3, 1, droppable=True) == [1, 2, 3]


def test_narrowing_further_changes_more():
    for seed in range(3):
        model, ladders = measured(seed)
        assert len(ladders) == len(analyze(model).groups) == 2
        assert sorted(ladder.counts for ladder in ladders) == [
            (8, 16, 24),
            (8, 16, 24, 32),
        ]  # the branch alone may go whole
        for ladder in ladders:
            assert ladder.changes[0] > 0
            assert list(ladder.changes) == sorted(ladder.changes)


@pytest.mark.parametrize("criterion", ["effect", "taylor", "gates", "magnitude"])
def test_ladders_begin_with_what_matters_least(criterion):
    given = np.random.default_rng(0).standard_normal((32, 32, 3, 3)).astype(np.float32)
    given[:, 5:13] *= 1e-4  # w3 hardly reads these channels of the branch
    model = build(DEEP, w3=given)
    ladders = ladders_by(criterion, subject_of(model), 8)
    branch = next(ladder for ladder in ladders if len(ladder.counts) == 4)
    (name,) = [g.name for g in analyze(model).groups if np.array_equal(np.sort(branch.order), g.channels)]
    made = analyze(model).made[name, ""]
    assert set(np.flatnonzero(np.isin(made, branch.order[:8]))) == set(range(5, 13))
    assert criterion == "gates" or branch.changes[0] < 1e-4 * branch.changes[1]


def test_gates_count_what_the_graph_costs_and_shut_what_it_would_lose():
    subject = subject_of(build(DEEP))
    gates = HardConcrete(subject.module, subject.channels, 0)
    rng, x = np.random.default_rng(0), subject.x
    for share in (1.0, 0.7, 0.2):
        alive = subject.channels.everything()
        for group in subject.channels.groups:
            alive &= subject.channels.without(rng.permutation(group.channels)[round(share * len(group.channels)) :])
        stays = torch.from_numpy(alive.astype(np.float32))
        assert float(gates.cost(stays)) == pytest.approx(subject.channels.cost(alive).macs)
        left = remove_masked(subject.model, channel_masks(subject.model, subject.channels, alive)).pruned
        torch.testing.assert_close(gates(x, stays), lower(left)(x).flatten(1), rtol=1e-4, atol=1e-4)


def test_without_groups_all_gates_stay_open(monkeypatch):
    subject = subject_of(build(DEEP))
    monkeypatch.setattr(type(subject.channels), "groups", ())
    assert not CRITERIA["gates"](subject).any()
    assert ladders_by("gates", subject, 8) == []


def test_gates_come_down_to_the_goal():
    subject = subject_of(build(DEEP))
    gates = HardConcrete(subject.module, subject.channels, 0)
    drawn = torch.stack([gates.sample() for _ in range(400)])
    torch.testing.assert_close((drawn > 0).float().mean(0), gates.probabilities(), rtol=0, atol=0.05)
    worth = CRITERIA["gates"](subject)
    whole = CRITERIA["gates"](replace(subject, goal=1.0))
    groups = np.concatenate([group.channels for group in subject.channels.groups])
    assert worth[groups].sum() < 0.8 * whole[groups].sum()
    assert np.array_equal(worth, CRITERIA["gates"](subject_of(build(DEEP))))


@pytest.mark.parametrize("metric", ["macs", "params"])
@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.3, 0.1])
@pytest.mark.parametrize("step", [4, 8])
def test_select_meets_the_goal_in_multiples(metric, ratio, step):
    model, ladders = measured(step=step)
    channels, price = analyze(model), {"macs": macs, "params": params}[metric]
    whole = price(channels, channels.everything())
    alive = select(channels, ladders, price, ratio * whole)
    assert price(channels, alive) <= ratio * whole
    for ladder in ladders:
        left = alive[ladder.order]
        assert left.sum() % step == 0
        assert not left[: len(left) - left.sum()].any()  # the least important went


@pytest.mark.parametrize("ratio", [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1])
def test_nothing_that_the_goal_has_room_for_stays_away(ratio):
    model, ladders = measured(step=4)
    channels = analyze(model)
    goal = ratio * macs(channels, channels.everything())
    alive = select(channels, ladders, macs, goal)
    places = [(0, *ladder.counts).index(int((~alive[ladder.order]).sum())) - 1 for ladder in ladders]
    for index, ladder in enumerate(ladders):
        for rung in range(-1, places[index]):
            changes = (0.0, *ladder.changes)
            if changes[places[index] + 1] > changes[rung + 1]:
                moved = [rung if k == index else place for k, place in enumerate(places)]
                gone = [one.order[: (0, *one.counts)[place + 1]] for one, place in zip(ladders, moved, strict=True)]
                left = np.logical_and.reduce([channels.without(part) for part in gone])
                assert macs(channels, left) > goal


def test_select_stops_where_nothing_is_left_to_drop():
    model, ladders = measured()
    channels = analyze(model)
    alive = select(channels, ladders, macs, 0.0)
    assert sorted(int(alive[ladder.order].sum()) for ladder in ladders) == [0, 8]
    assert select(channels, ladders, macs, 1e18).all()


def test_select_prefers_what_costs_nothing():
    model, ladders = measured()
    channels = analyze(model)
    free = [
        Ladder(ladder.order, ladder.counts, tuple(0.0 for _ in ladder.counts) if k == 1 else ladder.changes)
        for k, ladder in enumerate(ladders)
    ]
    goal = channels.cost(channels.everything()).macs - 1
    alive = select(channels, free, macs, goal)
    assert alive[free[0].order].all()
    assert not alive[free[1].order].all()


@pytest.mark.parametrize(
    "text",
    ["", "macs", "macs=", "macs=0", "macs=-1", "macs=2", "macs=nan", "speed=0.3", "0.3", "max-drop=-1", "latency=1.5"],
)
def test_targets_that_make_no_sense(text):
    with pytest.raises(UsageError, match=r"macs=0\.3"):
        parse_target(text)


def test_targets():
    assert parse_target("macs=0.3") == Goal("macs", 0.3)
    assert parse_target("params=1") == Goal("params", 1.0)
    assert parse_target("latency=0.4") == Goal("latency", 0.4)
    assert parse_target("max-drop=0") == Goal("max-drop", 0.0)


def visited(*points: tuple[float, float, float | None]) -> list[Visited]:
    """Networks by (kept, accuracy, latency)."""
    model = build(NET)
    return [Visited(model, MaskSet({}, ""), kept, accuracy, latency) for kept, accuracy, latency in points]


def test_a_cost_is_reached_in_equal_factors():
    aim, found = CostAim("macs", 0.25, 2), visited((0.5, 0.9, None), (0.24, 0.8, None))
    assert aim.next([]) == pytest.approx(0.5)
    assert aim.next(found[:1]) == pytest.approx(0.25)
    assert aim.next(found) is None
    assert aim.candidates(found) == found[1:]
    assert CostAim("macs", 0.6, 2).candidates(found) == found[:1]
    assert not CostAim("macs", 0.1, 2).holds(aim.candidates(found)[0])


def test_rounds_of_a_cost_go_on_from_the_nearest_factor():
    aim = CostAim("macs", 0.25, 2)
    assert aim.next(visited((0.6, 0.9, None))) == pytest.approx(0.25)
    assert aim.next(visited((0.8, 0.9, None))) == pytest.approx(0.5)
    assert aim.next(visited((0.8, 0.9, None), (0.6, 0.9, None), (0.26, 0.9, None))) == pytest.approx(0.25)


def test_a_latency_that_is_nearly_met_is_not_overshot():
    assert LatencyAim(0.4, lambda model: 0.3).next(visited((0.5, 0.9, 0.41))) == pytest.approx(0.475)
    assert LatencyAim(0.9, lambda model: 0.3).next([]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("aim", "passed"),
    [
        (CostAim("macs", 0.9, 5), 0),
        (CostAim("macs", 0.31, 5), 3),
        (CostAim("macs", 0.4, 5), 2),
        (CostAim("macs", 0.1, 5), 4),
        (LatencyAim(0.8, lambda model: 0.3), 1),
        (LatencyAim(0.6, lambda model: 0.3), 1),
        (LatencyAim(0.2, lambda model: 0.3), 4),
        (DropAim(0.92), 2),
        (DropAim(0.99), 1),
        (DropAim(0.5), 4),
    ],
)
def test_what_another_aim_would_have_come_past(aim, passed):
    found = visited((0.7, 0.95, 0.75), (0.5, 0.87, 0.5), (0.3, 0.85, 0.4), (0.15, 0.8, 0.3))
    assert way(aim, found) == found[:passed]


def test_a_latency_is_approached_until_it_is_met():
    aim = LatencyAim(0.4, lambda model: 0.3)
    assert aim.next([]) == pytest.approx(0.5)
    assert aim.next(visited((0.5, 0.9, 0.8))) == pytest.approx(0.25)
    assert aim.next(visited((0.5, 0.9, 0.5))) == pytest.approx(0.4)
    found = visited((0.5, 0.9, 0.5), (0.4, 0.8, 0.39), (0.3, 0.7, 0.2))
    assert aim.next(found) is None
    assert aim.candidates(found) == found[1:]
    more = [*found, *visited((0.2, 0.7, 0.19), (0.1, 0.6, 0.1), (0.1, 0.6, 0.11))]
    assert aim.candidates(more) == [more[1], more[2], more[4]]
    assert LatencyAim(0.05, lambda model: 0.3).candidates(more) == [more[4]]
    assert aim.measured(found[0]).latency == 0.3
    assert [aim.holds(point) for point in found] == [False, True, True]


def test_a_drop_is_followed_to_its_floor_and_back():
    aim = DropAim(0.9)
    assert aim.next([]) == 0.7
    assert aim.next(visited((0.5, 0.895, None))) == pytest.approx(0.35)
    found = visited((0.5, 0.93, None), (0.35, 0.91, None), (0.2, 0.87, None))
    assert aim.next(found) is None
    assert aim.candidates(found) == found[::-1]
    assert [aim.holds(point) for point in found] == [True, True, False]


@pytest.mark.parametrize("disturbed", [(), (0,), (1,), (2,), (3,), (1, 2)])
def test_a_timing_that_is_disturbed_decides_nothing(disturbed):
    """The latency is the share of multiply-adds; some readings are twice that. Half of them is enough."""
    model, task = build(DEEP), toy(0, 1, 2)
    base, readings = cut_head(model, task.wanted.indices, rest=False), count()
    whole = price_of(base, macs)

    def measure(model: Model) -> float:
        return (1 + (next(readings) in disturbed)) * price_of(model, macs) / whole

    found = searched(base, views_of(model, task), LatencyAim(0.5, measure), SHORT)
    assert found.met
    assert found.chosen.kept == max(point.kept for point in found.visited if point.kept <= 0.5)


@pytest.mark.parametrize(("drop", "met"), [(0.6, True), (-0.5, False)])
def test_the_search_says_whether_its_target_was_met(drop, met):
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    views = views_of(model, task)
    floor = evaluate(lower(base), views) - drop
    found = searched(base, views, DropAim(floor), SHORT)
    assert found.met is met
    assert found.chosen.accuracy >= floor or not met


def test_resuming_chooses_among_what_was_visited():
    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    first = searched(base, views, CostAim("macs", 0.3, 2), SHORT)
    assert len(first.visited) == 2
    again = ChannelSearch(base, logits_of(base), views, CostAim("macs", 0.8, 2), SHORT, "none", 8, agree)
    found = again.resume(first.visited)
    assert serialized(found.chosen.model) == serialized(first.visited[0].model)
    assert found.met


@pytest.mark.parametrize(("ratio", "more"), [(0.9, 1), (0.45, 1), (0.1, 1), (0.27, 0)])
def test_resuming_goes_on_where_nothing_is_as_large_as_it_may_be(ratio, more):
    """The first has visited 49 and 26 %; whatever is found after these, its masks on the base leave it."""
    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    first = searched(base, views, CostAim("macs", 0.3, 2), SHORT)
    again = ChannelSearch(base, logits_of(base), views, CostAim("macs", ratio, 1), SHORT, "finetune", 8, agree)
    found = again.resume(first.visited)
    assert len(found.visited) == 2 + more
    assert found.met
    assert max((point.kept for point in first.visited if point.kept < ratio), default=0) <= found.chosen.kept <= ratio
    assert (found.chosen.kept in [point.kept for point in first.visited]) is (more == 0)
    sizes = [point.kept for point in found.visited]
    assert sizes == sorted(sizes, reverse=True)
    contents_of_twin(remove_masked(again.rounds.base, found.chosen.masks).pruned, found.chosen.model)


def test_resuming_only_chooses_where_rounds_are_not_trained():
    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    first = searched(base, views, CostAim("macs", 0.3, 2), SHORT)
    for recipe, recover in ((SHORT, "fast"), (replace(SHORT, cut=0.0), "finetune")):
        again = ChannelSearch(base, logits_of(base), views, CostAim("macs", 0.45, 1), recipe, recover, 2, agree)
        assert len(again.resume(first.visited).visited) == 2


# ---- channels: training ---------------------------------------------------------------------------------------------


WRITTEN_OUT = """(float[N, 3, 8, 8] image) => (float[N, 5] y)
  <float[16, 3, 1, 1] a, float[16] b, float[16, 24] w, float[24] gamma, float[24, 16] v, float[16, 5] g,
   float[1] two = {2.0}, float[1] epsilon = {0.00001}>
{ c = Conv (image, a, b)
  r = GlobalAveragePool (c)
  f = Flatten (r)
  h = MatMul (f, w)
  m = ReduceMean <axes = [-1]> (h)
  d = Sub (h, m)
  q = Pow (d, two)
  u = ReduceMean <axes = [-1]> (q)
  e = Add (u, epsilon)
  s = Sqrt (e)
  n = Div (d, s)
  t = Mul (n, gamma)
  p = MatMul (t, v)
  k = Relu (p)
  y = MatMul (k, g) }"""
"""(N, 3, 8, 8) -> (N, 16, 8, 8) -> (N, 16) -> normalised (N, 24) -> (N, 16) -> (N, 5)"""


def test_a_normalisation_that_is_written_out_is_trained_without_its_constants():
    """The gradient of its exponent is not a number."""
    model, task = build(WRITTEN_OUT), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    found = searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT).chosen.model
    arrays = {name: value.const_value.numpy() for name, value in found.initializers.items()}
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert (arrays["two"], arrays["epsilon"]) == (np.float32(2), np.float32(1e-5))
    assert found.shapes.dims["g"][1] == 3


def test_normalising_and_folding_change_nothing():
    model = build(DEEP)
    module, x = lower(model), torch.randn(64, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
        normalise(module, x)
        assert torch.allclose(module(x), expected, atol=1e-4)
        fold(module)
        assert torch.allclose(module(x), expected, atol=1e-4)


def test_folding_keeps_what_was_learnt():
    model = build(DEEP)
    task = toy(0, 1, 2)
    views = views_of(model, task)
    base = cut_head(model, task.wanted.indices, rest=False)
    module = lower(base)
    normalise(module, next(views.batches(64)).x)
    module.train()
    trainer = Trainer(module, Recipe(), Clock(0.01, 20))
    for _, batch in zip(range(2), views.batches(32), strict=False):
        trainer.step(batch)
    module.eval()
    x = torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        learnt = module(x)
        fold(module)
        assert torch.allclose(module(x), learnt, atol=1e-4)
        assert not torch.allclose(lower(base)(x), learnt, atol=1e-2)


def test_the_clock_warms_up_and_cools_down():
    clock, rates = Clock(0.1, 200), []
    for _ in range(200):
        rates.append(clock.rate())
        clock.tick()
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(0.1, rel=0.01)
    assert 3 <= peak <= 8
    assert 0 < rates[0] < 0.01
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert clock.rate() == pytest.approx(0, abs=1e-6)


def test_the_loss_is_labels_and_teacher():
    scores, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    batch = Batch(torch.zeros(2, 1), y, scores.clone(), scores.clone())
    labels = float(nn.functional.cross_entropy(scores, y))
    assert float(objective(scores, batch, Recipe(distill=0.0))) == pytest.approx(labels)
    assert float(objective(scores, batch, Recipe(distill=1.0))) == pytest.approx(0, abs=1e-6)  # equals its teacher
    far = Batch(batch.x, y, -scores, -scores)
    p, q = torch.softmax(-scores / 2, 1), torch.softmax(scores / 2, 1)
    by_hand = float((p * (p / q).log()).sum(1).mean() * 4)
    assert float(objective(scores, far, Recipe(distill=1.0, temperature=2.0))) == pytest.approx(by_hand, rel=1e-5)


def test_training_lowers_the_loss():
    model = build(NET)
    task = toy(0, 1, 2)
    views = views_of(model, task)
    module = lower(cut_head(model, task.wanted.indices, rest=False)).train()
    trainer = Trainer(module, Recipe(distill=0.0), Clock(0.05, 60))
    before, losses = evaluate(module, views), []
    while trainer.clock.done < 60:
        for batch in views.batches(16):
            trainer.step(batch)
            losses.append(trainer.loss)
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate(module.eval(), views) > max(before, 0.9)


def test_a_step_without_a_finite_gradient_is_left_out():
    model, task = build(NET), toy(0, 1, 2)
    module = lower(cut_head(model, task.wanted.indices, rest=False)).train()
    trainer = Trainer(module, Recipe(), Clock(0.05, 60))
    batch = next(views_of(model, task).batches(16))
    before = snapshot(module)
    trainer.step(replace(batch, x=batch.x * math.inf))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert (trainer.left_out, trainer.clock.done) == (1, 1)
    trainer.step(batch)
    assert trainer.left_out == 1
    assert math.isfinite(trainer.loss)
    assert not all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


ROOT = """(float[N, 3, 8, 8] image) => (float[N, 5] y) <float[16, 3, 1, 1] a, float[16, 16, 1, 1] b, float[16, 5] g>
{ c = Conv (image, a)
  z = Sub (c, c)
  s = Sqrt (z)
  r = Add (c, s)
  d = Conv (r, b)
  p = GlobalAveragePool (d)
  f = Flatten (p)
  y = MatMul (f, g) }"""
"""(N, 3, 8, 8) -> (N, 16, 8, 8), plus roots of 0, which have no gradient -> (N, 16) -> (N, 5)"""


def test_a_network_that_cannot_be_trained_is_refused():
    model, task = build(ROOT), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    with pytest.raises(ModelError, match=r"training: .* steps had gradients that are not finite.*--recover fast"):
        searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT)
    assert searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT, "fast").met


# ---- channels: the whole search -------------------------------------------------------------------------------------

SHORT = Recipe(least=24, epochs=1, rounds=2, views=1, proposals=2)


@pytest.mark.parametrize("recover", ["none", "fast", "bn", "finetune"])
def test_the_channel_search_meets_its_target(recover):
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    checked: list[float] = []

    def check(masked: Model, pruned: Model) -> None:
        x = {"x": task.val.x[:8]}
        a, b = run(masked, x)[0], run(pruned, x)[0]
        checked.append(float(np.abs(a - b).max() / np.ptp(a)))

    found = searched(base, views_of(model, task), CostAim("macs", 0.4, 2), SHORT, recover=recover, check=check)
    small = found.chosen.model
    cost = analyze(small).cost(analyze(small).everything()).macs
    whole = analyze(base).cost(analyze(base).everything()).macs
    assert cost <= 0.4 * whole
    assert len(checked) == 2
    assert max(checked) < 1e-4
    assert found.met
    assert found.chosen.kept == found.curve[-1].kept == pytest.approx(cost / whole)
    assert [point.kept for point in found.visited] == sorted([p.kept for p in found.visited], reverse=True)
    kept = [point.kept for point in found.curve]
    assert kept == sorted(kept, reverse=True)


def test_recover_none_keeps_the_weights_that_stay():
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    found = searched(base, views_of(model, task), CostAim("macs", 0.5, 2), SHORT, recover="none")
    before = set(base.initializers["w1"].const_value.numpy().reshape(-1).tolist())
    after = found.chosen.model.initializers["w1"].const_value.numpy().reshape(-1).tolist()
    assert set(after) <= before
    assert len(after) < len(before)


def test_the_same_seed_gives_the_same_model_and_another_one_another():
    model, task = build(DEEP), toy(0, 1)
    base = cut_head(model, task.wanted.indices, rest=False)

    def bytes_of(seed: int) -> bytes:
        recipe = Recipe(least=24, epochs=1, rounds=2, seed=seed)
        views = views_of(model, task, seed, ("crop", "flip"))
        return serialized(searched(base, views, CostAim("macs", 0.5, 2), recipe).chosen.model)

    assert bytes_of(0) == bytes_of(0)
    assert bytes_of(0) != bytes_of(1)


def test_the_same_seed_gives_the_same_masks():
    model, task = build(DEEP), toy(0, 1)

    def masks_of(seed: int) -> str:
        recipe = SeamRecipe(epochs=5, batch=16, mask_rate=0.1, seed=seed)
        found = search_weights(add_seam_head(model, 2, seed), views_of(model, task, seed), recipe, threshold=0.0)
        return found.masks.digest()

    assert masks_of(0) == masks_of(0)
    assert masks_of(0) != masks_of(1)


# ---- task and views -------------------------------------------------------------------------------------------------


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


# ---- classes that are no outputs ------------------------------------------------------------------------------------


def test_the_reader_begins_with_what_least_squares_finds():
    """NET's head is linear in what the reader reads, so that it scores the other classes as the teacher does"""
    model, task = build(NET), toy(3, 1)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe())
    module = training.with_classes(base)
    batch = next(views.batches(64))
    logits, classes = module(batch.x)
    assert gap(classes.detach().numpy(), batch.classes.numpy()) < 0.1
    assert gap(logits.detach().numpy(), batch.teacher.numpy()) < 1e-5
    before = {name: weight.detach().clone() for name, weight in module.weights.items()}
    trainer = training.trainer(base, MaskSet({}, ""), training.trainable(base), 10)
    for _ in range(10):
        trainer.step(next(training.batches))
    assert set(before) == set(module.weights)
    assert [v.name for v in write_back(base, module).graph.outputs] == ["y"]


def test_rows_of_a_rest_are_taught_the_classes_that_are_left():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe(distill=0.0, classes=1.0))
    module = training.with_classes(base)
    batch = next(views.batches(64))
    scores, classes = module(batch.x)
    often = torch.tensor([math.log(4), 0, 0, 0, 0])  # the four others together are drawn as often as the wanted one
    assert torch.allclose(classes + often, batch.classes, atol=1e-5)
    assert torch.allclose(scores + often[:2], batch.teacher, atol=1e-5)
    masks = MaskSet({}, "", {"seam.rest.sum": np.array([[True, False, True, True]])})
    assert training.trainer(base, masks, module, 1).columns.tolist() == [0, 1, 3, 4]


def test_a_refit_brings_a_rest_to_the_frequencies_of_the_task():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe())
    seen, module = training.samples(64), lower(base, logits_of(base))
    trial = Trial(module, logits_of(base), seen, training.lessons(base, MaskSet({}, ""), seen))
    assert distance(module, seen.x, seen.teacher) > 0.05
    assert trial.loss(base, {}) < 1e-4


@pytest.mark.parametrize("indices", [(0, 1, 2), (0, 1)])
def test_a_pruned_model_is_pruned_again_and_its_hidden_rows_are_not_taught(indices):
    """Two labels and a rest of five classes: to the teacher, which is the pruned model, these are three"""
    model = cut_head(build(DEEP), (3, 1), rest=True)
    chosen = Wanted(indices, tuple(map(str, indices)), len(indices) < 3, 3)
    splits = [dataset(60, seed) for seed in range(3)]
    task = make_task(chosen, Splits(*(Dataset(s.x, s.y % 3, None) for s in splits), ()))
    base, views = cut_head(model, chosen.indices, rest=chosen.rest), views_of(model, task)
    found = searched(base, views, CostAim("macs", 0.8, 1), Recipe(least=8, epochs=1, rounds=1))
    assert found.chosen.kept <= 0.8
    assert next(v for v in found.chosen.model.graph.outputs).shape[1] == 3


def test_without_them_a_network_has_one_output():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    module = Training(base, logits_of(base), views, Recipe(classes=0.0)).trainable(base)
    assert isinstance(module(next(views.batches(8)).x), torch.Tensor)


@pytest.mark.parametrize(
    ("head", "name", "axis"),
    [
        ("y = Gemm <transB = 1> (f, g, h)", "f", -1),
        ("z = Gemm <transB = 1> (f, g, h) q = Relu (z) y = Identity (q)", "f", -1),
        ("y = Add (f, f)", None, 0),
    ],
)
def test_features_are_what_the_last_layer_reads(head, name, axis):
    """x -> mean over places -> f (N, 3), and a head"""
    model = build(
        f"(float[N, 3, 8, 8] x) => (float[N, M] y) <float[6, 3] g, float[6] h>"
        f"{{ p = GlobalAveragePool (x) f = Flatten (p) {head} }}"
    )
    assert features_of(model, "y") == (None if name is None else (name, axis))
