"""Regrowth: what comes back changes no answer, is where the loss pulls, and keeps to size and multiples."""

import numpy as np
import pytest
from graphs import DIGITS, build, feeds, gap, loaded, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import dropped
from random_graphs import networks
from test_rounds import KINDS, trained
from toys import DEEP, searched, toy, views_of

from seam_onnx.channels import analyze
from seam_onnx.model import Model, load
from seam_onnx.search import CostAim, Recipe
from seam_onnx.search.price import macs
from seam_onnx.search.regrow import narrowed, pulls, taken_back, widened
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.training import Training
from seam_onnx.surgery import cut_head, remove_masked
from seam_onnx.surgery.contents import with_values
from seam_onnx.surgery.logits import logits_of
from seam_onnx.surgery.twin import contents_of_twin


def after_rounds(model: Model, kinds: list[str], seed: int) -> tuple[Rounds, Model]:
    """What rounds of random removals leave, with weights that moved in between and afterwards."""
    rounds, rng = Rounds(model), np.random.default_rng(seed)
    model = rounds.base
    for number, kind in enumerate(kinds):
        model = trained(model, rng)
        channels = analyze(model)
        model = rounds.remove(model, channels, channels.without(dropped(channels, kind, seed + number))).pruned
    return rounds, trained(model, rng)


def come_back(rounds: Rounds, model: Model, seed: int) -> Model:
    """Half of what went, chosen at random, is back, but for what a node combines: no weight there can be zero."""
    _, values = widened(rounds, model)
    back = np.random.default_rng(seed).random(len(rounds.alive)) < 0.5
    for mix in rounds.channels.mixes:
        back[rounds.channels.roots[mix.labels]] = False
    removal = rounds.restart(rounds.alive | back[rounds.channels.roots])
    return with_values(removal.pruned, narrowed(values, removal.pruned, rounds))


def check(model: Model, kinds: list[str], seed: int) -> None:
    """The wide network and the one with channels back answer as the narrow one, and further rounds and masks agree with it.

    A constant that a removal made, and training moved, has no place in a wider network: there answers may differ.
    """
    rounds, small = after_rounds(model, kinds, seed)
    batch = feeds(small, 2)
    expected = run(small, batch)[0]
    exact = set(remove_masked(rounds.base, rounds.masks()).pruned.initializers) <= set(rounds.base.initializers)
    before = rounds.alive
    wide, _ = widened(rounds, small)
    larger = come_back(rounds, small, seed)
    assert rounds.alive[before].all()
    for network in (wide, larger):
        got = run(network, batch)[0]
        assert got.shape == expected.shape
        assert not exact or gap(got, expected) < 1e-4
    channels = analyze(larger)
    again = rounds.remove(larger, channels, channels.without(dropped(channels, "0.3", seed))).pruned
    contents_of_twin(remove_masked(rounds.base, rounds.masks()).pruned, again)


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), st.integers(0, 99))
def test_random_graphs(proto, kinds, seed):
    check(loaded(proto), kinds, seed)


@pytest.mark.parametrize("kinds", [["0.3", "0.3"], ["group"] * 3, ["one", "group"]])
def test_the_shipped_model(kinds):
    check(cut_head(load(DIGITS), (3, 8), rest=True), kinds, 1)


# ---- what comes back ------------------------------------------------------------------------------------------------


def narrow_block() -> tuple[Rounds, Model, Training]:
    """`DEEP` without its branch, with half of its stream, and a training on it."""
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    training = Training(base, logits_of(base), views_of(model, task), Recipe(batch=60))
    rounds = Rounds(base)
    channels = analyze(base)
    stream, branch = sorted(channels.groups, key=lambda group: len(group.axes), reverse=True)
    dead = np.concatenate([stream.channels[:16], branch.channels])
    return rounds, rounds.remove(base, channels, channels.without(dead)).pruned, training


def test_zeros_that_read_what_went_have_gradients():
    """Those of the branch and of the stream's dead half, since the head reads the one, and the live half reads the other"""
    rounds, small, training = narrow_block()
    wide, _ = widened(rounds, small)
    module = training.lowered(wide)
    found = pulls(module, rounds.channels, training)
    assert (found[rounds.channels.free] > 0).all()
    weight = module.weights["w3"]
    dead = ~rounds.alive[next(b.labels for b in rounds.channels.bindings if (b.initializer, b.role) == ("w3", "read"))]
    assert dead.all()
    assert not weight.any()
    assert weight.grad.any()


@pytest.mark.parametrize("goal", [0.3, 0.5, 1.0])
def test_blocks_come_back_as_far_as_they_fit_the_strongest_first(goal):
    rounds, *_ = narrow_block()
    channels = rounds.channels
    pull = np.arange(len(channels.roots), dtype=float)
    whole = macs(channels, channels.everything())
    alive = taken_back(channels, rounds.alive, pull, macs, goal * whole, 8)
    assert macs(channels, alive) <= goal * whole
    for group in channels.groups:
        back = group.channels[alive[group.channels] & ~rounds.alive[group.channels]]
        left = group.channels[~alive[group.channels]]
        assert alive[group.channels].sum() % 8 == 0
        assert not len(back) or not len(left) or back.min() > left.max()
        if len(left):
            more = alive | np.isin(channels.roots, left[-8:])
            assert macs(channels, more) > goal * whole
    assert alive.all() == (goal == 1.0)


def test_nothing_comes_back_that_no_loss_asks_for():
    rounds, *_ = narrow_block()
    channels = rounds.channels
    alive = taken_back(channels, rounds.alive, np.zeros(len(channels.roots)), macs, np.inf, 8)
    assert np.array_equal(alive, rounds.alive)


def test_a_search_with_regrowth_meets_its_target():
    model, task = build(DEEP), toy(0, 1, 2)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    recipe = Recipe(epochs=10, least=1, batch=60, cut=0.6, rounds=3, proposals=4, finalists=2, regrow=0.3)
    found = searched(base, views, CostAim("macs", 0.2, 3), recipe)
    assert found.met
    assert found.chosen.kept <= 0.2
    sizes = [point.kept for point in found.visited]
    assert sizes == sorted(sizes, reverse=True)
    assert contents_of_twin(remove_masked(Rounds(base).base, found.chosen.masks).pruned, found.chosen.model)
