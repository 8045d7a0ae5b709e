"""What a search is after: which size comes next, what is recovered, and how another aim goes on."""

import math
from dataclasses import replace
from itertools import count

import pytest
from files import NET
from graphs import build
from toys import DEEP, SHORT, agree, searched, toy, views_of

from seam_onnx.errors import UsageError
from seam_onnx.lowering import lower
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, serialized
from seam_onnx.search import (
    ChannelSearch,
    CostAim,
    DropAim,
    Goal,
    LatencyAim,
    Visited,
    evaluate,
    parse_target,
)
from seam_onnx.search.aims import way
from seam_onnx.search.price import macs, price_of
from seam_onnx.surgery import cut_head, remove_masked
from seam_onnx.surgery.logits import logits_of
from seam_onnx.surgery.twin import contents_of_twin


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
        (LatencyAim(0.6, lambda model: 0.3), 4),
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


def test_a_latency_that_fell_too_far_is_approached_from_above():
    aim = LatencyAim(0.4, lambda model: 0.3)
    assert aim.next(visited((0.8, 0.9, 0.6), (0.4, 0.8, 0.2), (0.2, 0.8, 0.1))) == pytest.approx(0.6)
    assert aim.next(visited((0.8, 0.9, 0.41), (0.4, 0.8, 0.2))) == pytest.approx(0.76)
    assert aim.next(visited((0.5, 0.9, 0.2))) == pytest.approx(0.625)  # from the original, whose latency is 1
    assert aim.next(visited((0.8, 0.9, 0.41), (0.73, 0.8, 0.2))) is None  # nothing fits in between
    assert aim.next(visited((0.8, 0.9, math.inf), (0.4, 0.8, 0.2))) is None
    assert aim.next(visited((0.8, 0.9, 0.6), (0.4, 0.8, 0.37))) is None


@pytest.mark.parametrize(("ratio", "steep"), [(0.5, 3), (0.6, 4)])
def test_a_search_that_fell_too_far_goes_back(ratio, steep):
    """Latency is a power of the multiply-adds' share: the first step, to the ratio itself, is far too fast."""
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    whole, order = price_of(base, macs), []

    def measure(model: Model) -> float:
        order.append(price_of(model, macs) / whole)
        return order[-1] ** steep

    found = searched(base, views_of(model, task), LatencyAim(ratio, measure), SHORT)
    sizes = [point.kept for point in found.visited]
    assert found.met
    assert sizes == sorted(sizes, reverse=True)
    assert order[1] == order[0] < order[2]  # measured again, then from above
    assert found.chosen.kept == max(size for size in sizes if size**steep <= ratio) > order[0]
    contents_of_twin(remove_masked(base, found.chosen.masks).pruned, found.chosen.model)


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
