"""What channels count for, and which of them a size leaves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from graphs import build
from torch import Tensor
from toys import DEEP

from seam_onnx.channels import analyze
from seam_onnx.lowering import lower
from seam_onnx.model import Model
from seam_onnx.search.criteria import CRITERIA, Subject
from seam_onnx.search.gates import HardConcrete
from seam_onnx.search.ladders import ladders_by
from seam_onnx.search.price import macs, params
from seam_onnx.search.select import Ladder, rungs, select
from seam_onnx.surgery import channel_masks, remove_masked


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
