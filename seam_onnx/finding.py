"""Which search answers a request, and what it found, in the terms in which a run is stored and reported."""

from dataclasses import dataclass

from seam_onnx.channels import analyze
from seam_onnx.errors import UsageError
from seam_onnx.judge import Judge
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Observer, Point
from seam_onnx.rebuild import assemble, with_values_of
from seam_onnx.report import ParetoPoint
from seam_onnx.request import Request
from seam_onnx.search import (
    Aim,
    ChannelSearch,
    CostAim,
    DropAim,
    LatencyAim,
    Recipe,
    SeamRecipe,
    Views,
    Visited,
    parse_target,
    search_weights,
)  # fmt: skip
from seam_onnx.solution import Solution, read_solutions
from seam_onnx.surgery import apply_masks, cut_head, plan_removal, remove_channels
from seam_onnx.surgery.logits import add_seam_head, logits_of
from seam_onnx.task import Task

__all__ = ["Outcome", "find_channels", "find_weights", "pareto", "solutions"]


@dataclass(frozen=True)
class Outcome:
    """What either granularity ends in."""

    pruned: Model
    """The small network."""
    masks: MaskSet
    """What was removed."""
    recover: str
    """What of the rest was changed."""
    recipe: Recipe | SeamRecipe
    """How."""
    kept: float
    """Share of the target's figure, or of the mask elements, that stays."""
    curve: tuple[Point, ...]
    """On the way."""
    met: bool = True
    """Is it what was asked for?"""
    visited: tuple[Visited, ...] = ()
    """The networks on the way."""


def find_channels(
    request: Request, model: Model, task: Task, views: Views, judge: Judge, observer: Observer
) -> Outcome:
    """The default: cut the head, then remove channels until the target is met, or choose among an earlier search's."""
    base = cut_head(model, task.wanted.indices, rest=task.wanted.rest)
    search = ChannelSearch(
        base, logits_of(base), views, aim_of(request, judge), request.recipe, request.recover, request.width_step,
        judge.check_surgery, observer,
    )  # fmt: skip
    found = search.run() if request.resume_from is None else search.resume(earlier(request, model, task))
    chosen = found.chosen
    return Outcome(
        chosen.model, chosen.masks, request.recover, request.recipe, chosen.kept, found.curve, found.met, found.visited
    )


def find_weights(request: Request, model: Model, task: Task, views: Views, judge: Judge, observer: Observer) -> Outcome:
    """SeaM: masks on single weights behind which a new head stands; then whatever became removable goes.

    The published schedule has to be as accurate as the original's free answer, the fast one as its restricted answer.
    """
    headed = add_seam_head(model, len(task.wanted.outputs), request.seam.seed)
    published = request.seam.schedule == "published"
    threshold = judge.original_on_val() if published else judge.restricted_on_val()
    found = search_weights(headed, views, request.seam, threshold, observer=observer)
    masked = apply_masks(found.model, found.masks)
    pruned = remove_channels(masked, plan_removal(masked, analyze(masked), request.width_step))
    judge.check_surgery(masked, pruned)
    return Outcome(pruned, found.masks, "head", request.seam, found.kept, found.curve)


def aim_of(request: Request, judge: Judge) -> Aim:
    """What the target asks of a search."""
    goal = parse_target(request.target)
    if goal.metric == "latency":
        return LatencyAim(goal.value, judge.latency_ratio)
    if goal.metric == "max-drop":
        return DropAim(judge.restricted_on_val() - goal.value / 100)
    return CostAim(goal.metric, goal.value, request.recipe.rounds)


def earlier(request: Request, model: Model, task: Task) -> tuple[Visited, ...]:
    """The networks that an earlier search visited, largest first. Raises UsageError where it was about something else."""
    assert request.resume_from is not None
    found = []
    for one in read_solutions(request.resume_from):
        if one.wanted != task.wanted or one.granularity != "channel":
            why = f"is about {', '.join(one.wanted.outputs)} at granularity {one.granularity}"
            raise UsageError(request.resume_from, why, "give the same labels, or search anew")
        found.append(Visited(assemble(model, one), one.masks, one.kept, one.accuracy or 0.0))
    return tuple(found)


def solutions(request: Request, model: Model, task: Task, outcome: Outcome) -> tuple[Solution, ...]:
    """The outcome as it is stored: first what was chosen, then the networks on the way, largest first."""

    def stored(pruned: Model, masks: MaskSet, kept: float, accuracy: float | None) -> Solution:
        empty = Solution(
            task.wanted, request.granularity, masks, width_step=request.width_step, sizes=request.sizes, kept=kept,
            accuracy=accuracy,
        )  # fmt: skip
        return with_values_of(pruned, model, empty)

    chosen = stored(outcome.pruned, outcome.masks, outcome.kept, None)
    return (chosen, *(stored(p.model, p.masks, p.kept, p.accuracy) for p in outcome.visited))


def pareto(model: Model, outcome: Outcome, judge: Judge, accuracy: float) -> tuple[ParetoPoint, ...]:
    """The chosen network and those on the way, by size; each is timed against the original.

    Args:
        model: the original.
        outcome: of a search.
        judge: times.
        accuracy: of the chosen network on validation.
    """
    whole = analyze(model)
    cost = whole.cost(whole.everything())
    chosen = Visited(outcome.pruned, outcome.masks, outcome.kept, accuracy)
    points = []
    for one in (*outcome.visited, chosen) if outcome.visited else ():
        channels = analyze(one.model)
        now = channels.cost(channels.everything())
        milliseconds = judge.milliseconds(one.model)
        points.append(
            ParetoPoint(
                one.kept, now.macs / cost.macs, now.params / cost.params, milliseconds, one.accuracy, one is chosen
            )
        )
    return tuple(points)
