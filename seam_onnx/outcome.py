"""What every search of a run starts from and what it ends in; how that is stored and reported."""

from dataclasses import dataclass, replace

from seam_onnx.channels import analyze
from seam_onnx.data import Preprocess
from seam_onnx.judge import Judge
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Observer, Point
from seam_onnx.rebuild import base_of, with_values_of
from seam_onnx.report import ParetoPoint
from seam_onnx.request import Request
from seam_onnx.search import Recipe, SeamRecipe, Visited
from seam_onnx.solution import Solution
from seam_onnx.task import Task
from seam_onnx.teacher import Teacher

__all__ = ["Outcome", "Setup", "pareto", "restricted", "solutions"]


@dataclass(frozen=True)
class Setup:
    """What every search of a run starts from."""

    request: Request
    """What is asked for."""
    model: Model
    """The original."""
    task: Task
    """The wanted labels and their data."""
    preprocess: Preprocess
    """From data to the model's input."""
    teacher: Teacher
    """The original in torch, on the device."""
    judge: Judge
    """onnxruntime's verdict."""
    step: int
    """Widths stay multiples of this."""
    observer: Observer
    """Told of every step."""


@dataclass(frozen=True)
class Outcome:
    """What either granularity ends in."""

    granularity: str
    """Of the masks."""
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
    accuracy: float
    """On validation, as the search read it."""
    curve: tuple[Point, ...]
    """On the way."""
    met: bool = True
    """Is it what was asked for?"""
    unmet: str = "this is the best that was found"
    """If not: what it is instead."""
    visited: tuple[Visited, ...] = ()
    """The networks on the way."""
    convolved: bool = False
    """Whether shortcuts were written as convolutions before the search."""


def restricted(setup: Setup, outcome: Outcome, why: str) -> Outcome:
    """In place of an outcome that will not do: the original restricted to the wanted labels."""
    base = base_of(setup.model, setup.task.wanted, setup.step)
    accuracy, unmet = setup.judge.restricted_on_val(), f"{why}, so this is the original restricted to the wanted labels"
    nothing = MaskSet({}, setup.model.sha256)
    return replace(
        outcome, granularity="channel", pruned=base, masks=nothing, recover="none", kept=1.0, accuracy=accuracy,
        met=False, unmet=unmet, convolved=False,
    )  # fmt: skip


def solutions(setup: Setup, outcome: Outcome) -> tuple[Solution, ...]:
    """The outcome as it is stored: first what was chosen, then the networks on the way, largest first."""
    request, model = setup.request, setup.model

    def stored(pruned: Model, masks: MaskSet, kept: float, accuracy: float | None) -> Solution:
        empty = Solution(
            setup.task.wanted, outcome.granularity, masks, convolved=outcome.convolved, width_step=setup.step,
            sizes=request.sizes, kept=kept, accuracy=accuracy,
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
