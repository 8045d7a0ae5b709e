"""SeaM as it is specified: gradient, schedule, choice of an epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from files import NET
from graphs import build
from torch import nn
from toys import DEEP, toy, views_of

from seam_onnx.lowering import lower
from seam_onnx.progress import Event
from seam_onnx.search import (
    SeamRecipe,
    mask_elements,
    search_weights,
)
from seam_onnx.search.selection import Selection
from seam_onnx.search.straight_through import largest
from seam_onnx.search.views import Batch
from seam_onnx.search.weight import WeightSearch
from seam_onnx.surgery import NM
from seam_onnx.surgery.logits import SEAM_HEAD, add_seam_head
from seam_onnx.surgery.sparsity import holds

PUBLISHED = SeamRecipe(schedule="published")


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
