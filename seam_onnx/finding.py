"""Which search answers a request, and what it found, in the terms in which a run is stored and reported.

found = find(...)               # one search a seed, all computed in the same way
found.chosen                    # the one that is best on validation
"""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from seam_onnx.channels import analyze
from seam_onnx.data import Preprocess
from seam_onnx.errors import UsageError
from seam_onnx.judge import Judge
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.pricing import latencies
from seam_onnx.progress import Event, Observer, Point
from seam_onnx.rebuild import assemble, base_of, with_values_of
from seam_onnx.report import ParetoPoint, SeedRun
from seam_onnx.request import Request
from seam_onnx.search import (
    PLAIN,
    Aim,
    ChannelSearch,
    CostAim,
    DropAim,
    Engine,
    LatencyAim,
    Recipe,
    SeamRecipe,
    Views,
    Visited,
    WeightsFound,
    fastest_engine,
    parse_target,
    search_gradually,
    search_weights,
)  # fmt: skip
from seam_onnx.solution import Solution, read_solutions
from seam_onnx.surgery import cut_head, remove_masked
from seam_onnx.surgery.logits import add_seam_head, logits_of
from seam_onnx.task import Task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import LayerTimes

__all__ = ["Finding", "Outcome", "Setup", "find", "pareto", "restricted", "solutions", "weights_found"]


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


@dataclass(frozen=True)
class Finding:
    """What all searches of a run end in."""

    chosen: Outcome
    """Of those that meet the target the best on validation, of a target on accuracy the smallest; else the best of all."""
    runs: tuple[SeedRun, ...]
    """One a seed."""
    engine: str
    """How torch computed."""


def find(setup: Setup) -> Finding:
    """Search once a seed, from `seed` on; data, validation and the way of computing are the same for all."""
    request, outcomes, seconds = setup.request, [], []
    probe = torch.from_numpy(setup.preprocess.normalize(setup.task.train.x[: request.recipe.batch]))
    pinned = request.engine.replace("auto", "fp32") if published(request) else request.engine
    with fastest_engine(setup.teacher.module, probe.to(setup.teacher.device), pinned) as engine:
        for number in range(request.seeds):
            started = time.perf_counter()
            outcomes.append(search(seeded(setup, number), engine))
            seconds.append(time.perf_counter() - started)
    best = max(range(len(outcomes)), key=lambda k: rank(outcomes[k], request.target))
    runs = (
        SeedRun(one.recipe.seed, one.accuracy, one.kept, took, one.met, k == best)
        for k, (one, took) in enumerate(zip(outcomes, seconds, strict=True))
    )
    return Finding(outcomes[best], tuple(runs), engine.name)


def published(request: Request) -> bool:
    """Is it SeaM as published?"""
    return request.granularity == "weight" and request.seam.schedule == "published"


def rank(outcome: Outcome, target: str) -> tuple[bool, float]:
    """Larger is better."""
    smallest = outcome.met and parse_target(target).metric == "max-drop"
    return outcome.met, -outcome.kept if smallest else outcome.accuracy


def seeded(setup: Setup, number: int) -> Setup:
    """The same with a later seed; whoever watches can tell the searches apart."""
    if number == 0:
        return setup
    request, observer = setup.request, setup.observer
    recipe = replace(request.recipe, seed=request.recipe.seed + number)
    seam = replace(request.seam, seed=request.seam.seed + number)

    def told(event: Event) -> None:
        observer(replace(event, stage=f"{event.stage} {number + 1}"))

    return replace(setup, request=replace(request, recipe=recipe, seam=seam), observer=told)


def search(setup: Setup, engine: Engine) -> Outcome:
    """The search that the request is for. Where weights are frozen every image has a label; as published, all is float32."""
    channel, recipe, seam = setup.request.granularity == "channel", setup.request.recipe, setup.request.seam
    seed, mix = recipe.seed if channel else seam.seed, recipe.mix if channel or seam.schedule == "gradual" else 0.0
    views = Views(
        setup.task, setup.preprocess, setup.teacher, setup.teacher.device, seed, recipe.views, mix,
        PLAIN if published(setup.request) else engine,
    )  # fmt: skip
    return find_channels(setup, views) if channel else find_weights(setup, views)


def find_channels(setup: Setup, views: Views) -> Outcome:
    """The default: cut the head, then remove channels until the target is met, or begin with an earlier search's."""
    request, task = setup.request, setup.task
    base = cut_head(setup.model, task.wanted.indices, rest=task.wanted.rest)
    running = ChannelSearch(
        base, logits_of(base), views, aim_of(setup, base), request.recipe, request.recover, setup.step,
        setup.judge.check_surgery, setup.observer,
    )  # fmt: skip
    found = running.run() if request.resume_from is None else running.resume(earlier(setup))
    chosen = found.chosen
    return Outcome(
        "channel", chosen.model, chosen.masks, request.recover, request.recipe, chosen.kept, chosen.accuracy,
        found.curve, found.met, visited=found.visited,
    )  # fmt: skip


def find_weights(setup: Setup, views: Views) -> Outcome:
    """Masks on single weights; then whatever became removable goes."""
    recipe = setup.request.seam
    found = weights_found(setup, views)
    removal = remove_masked(found.model, found.masks, setup.step)
    setup.judge.check_surgery(removal.masked, removal.pruned)
    accuracy = found.curve[found.epoch - 1].val
    recover = "finetune" if recipe.schedule == "gradual" else "head"
    return Outcome("weight", removal.pruned, found.masks, recover, recipe, found.kept, accuracy, found.curve)


def weights_found(setup: Setup, views: Views, state: Path | None = None) -> WeightsFound:
    """By the schedule that is asked for: in the original with its head cut, or, as SeaM does, with a new head behind it.

    SeaM as published has to be as accurate as the original's free answer, the fast schedule as its restricted answer. Either
    goes on from the state of a search that was cut off, if that is given.
    """
    wanted, recipe, judge = setup.task.wanted, setup.request.seam, setup.judge
    if recipe.schedule == "gradual":
        base = base_of(setup.model, wanted, setup.step)
        return search_gradually(base, logits_of(base), views, recipe, setup.observer)
    headed = add_seam_head(setup.model, len(wanted.outputs), recipe.seed)
    threshold = judge.original_on_val() if recipe.schedule == "published" else judge.restricted_on_val()
    return search_weights(headed, views, recipe, threshold, observer=setup.observer, state=state)


def restricted(setup: Setup, outcome: Outcome, why: str) -> Outcome:
    """In place of an outcome that will not do: the original restricted to the wanted labels."""
    base = base_of(setup.model, setup.task.wanted, setup.step)
    accuracy, unmet = setup.judge.restricted_on_val(), f"{why}, so this is the original restricted to the wanted labels"
    nothing = MaskSet({}, setup.model.sha256)
    return replace(
        outcome, granularity="channel", pruned=base, masks=nothing, recover="none", kept=1.0, accuracy=accuracy,
        met=False, unmet=unmet,
    )  # fmt: skip


def aim_of(setup: Setup, base: Model) -> Aim:
    """What the target asks of a search in this network."""
    request, judge = setup.request, setup.judge
    goal = parse_target(request.target)
    if goal.metric == "latency":
        aim = LatencyAim(goal.value, judge.latency_ratio)
        if request.recipe.price == "macs":
            return aim
        known = LayerTimes(judge.session.provider, judge.threads)  # type: ignore[arg-type]
        told = partial(known.of, progress=lambda done, total: setup.observer(Event("layers", done, total)))
        return replace(aim, price=latencies(base, told, setup.step))
    if goal.metric == "max-drop":
        return DropAim(judge.restricted_on_val() - goal.value / 100)
    return CostAim(goal.metric, goal.value, request.recipe.rounds)


def earlier(setup: Setup) -> tuple[Visited, ...]:
    """The networks that an earlier search visited, largest first. Raises UsageError where it was about something else."""
    path, wanted = setup.request.resume_from, setup.task.wanted
    assert path is not None
    found = []
    for one in read_solutions(path):
        if one.wanted != wanted or one.granularity != "channel":
            why = f"is about {', '.join(one.wanted.outputs)} at granularity {one.granularity}"
            raise UsageError(path, why, "give the same labels, or search anew")
        if one.width_step != setup.step:
            why = f"is of a search in steps of {one.width_step} channels, not {setup.step}"
            raise UsageError(path, why, f"give --width-step {one.width_step}, or search anew")
        found.append(Visited(assemble(setup.model, one), one.masks, one.kept, one.accuracy or 0.0))
    return tuple(found)


def solutions(setup: Setup, outcome: Outcome) -> tuple[Solution, ...]:
    """The outcome as it is stored: first what was chosen, then the networks on the way, largest first."""
    request, model = setup.request, setup.model

    def stored(pruned: Model, masks: MaskSet, kept: float, accuracy: float | None) -> Solution:
        empty = Solution(
            setup.task.wanted, outcome.granularity, masks, width_step=setup.step, sizes=request.sizes, kept=kept,
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
