"""Which search answers a request, once a seed.

found = find(...)               # one search a seed, all computed in the same way
found.chosen                    # the one that is best on validation
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from seam_onnx.errors import UsageError
from seam_onnx.judge import Judge
from seam_onnx.model import Model
from seam_onnx.outcome import Outcome, Setup
from seam_onnx.pricing import latencies
from seam_onnx.progress import Event
from seam_onnx.rebuild import assemble, base_of
from seam_onnx.report import SeedRun
from seam_onnx.request import Request
from seam_onnx.search import (
    PLAIN,
    Aim,
    ChannelSearch,
    CostAim,
    DropAim,
    Engine,
    LatencyAim,
    Views,
    Visited,
    WeightsFound,
    fastest_engine,
    parse_target,
    price_of,
    search_gradually,
    search_weights,
)  # fmt: skip
from seam_onnx.solution import Solution, read_solutions
from seam_onnx.surgery import cut_head, remove_masked
from seam_onnx.surgery.logits import add_seam_head, logits_of
from seam_onnx.surgery.shortcuts import convolved
from seam_onnx.teacher import Teacher
from seam_onnx.validate import LayerTimes

__all__ = ["Finding", "find", "teacher_logits", "weights_found"]


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
    computing = PLAIN if published(setup.request) else engine
    taught = teacher_logits(setup.judge, setup.teacher, engine)
    views = Views(setup.task, setup.preprocess, taught, setup.teacher.device, seed, recipe.views, mix, computing)
    return find_channels(setup, views) if channel else find_weights(setup, views)


def teacher_logits(judge: Judge, teacher: Teacher, engine: Engine) -> Callable[[Tensor], Tensor]:
    """The teacher's logits of samples (B, ...): by onnxruntime where torch would compute the same in float32 on the CPU.

    It is about twice as fast there as torch, a node at a time (docs/throughput.md).
    """
    if engine.low or teacher.device.type != "cpu" or not judge.plain:
        return teacher
    session = judge.opened(judge.model, threads=engine.threads)
    return lambda x: torch.from_numpy(judge.answer(session, x.numpy()))


def find_channels(setup: Setup, views: Views) -> Outcome:
    """The default: cut the head, then remove channels until the target is met, or begin with an earlier search's."""
    request, task = setup.request, setup.task
    stored = () if request.resume_from is None else of_this(setup, read_solutions(request.resume_from))
    cut = cut_head(setup.model, task.wanted.indices, rest=task.wanted.rest)
    base = convolved(cut) if (stored[0].convolved if stored else shrinks(request.target)) else cut
    aim = aim_of(setup, base)
    running = ChannelSearch(
        base, logits_of(base), views, aim, request.recipe, request.recover, setup.step,
        setup.judge.check_surgery, setup.observer, price_of(cut, aim.price),
    )  # fmt: skip
    points = [Visited(assemble(setup.model, one), one.masks, one.kept, one.accuracy or 0.0) for one in stored]
    found = running.resume(points) if points else running.run()
    chosen = found.chosen
    return Outcome(
        "channel", chosen.model, chosen.masks, request.recover, request.recipe, chosen.kept, chosen.accuracy,
        found.curve, found.met, visited=found.visited, convolved=base is not cut,
    )  # fmt: skip


def shrinks(target: str) -> bool:
    """Does the target ask for anything smaller? Convolutions in place of shortcuts cost a little at first."""
    goal = parse_target(target)
    return goal.metric not in ("macs", "params") or goal.value < 1


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


def of_this(setup: Setup, stored: Sequence[Solution]) -> Sequence[Solution]:
    """The solutions of an earlier search. Raises UsageError where it was about something else."""
    path, wanted = str(setup.request.resume_from), setup.task.wanted
    for one in stored:
        if one.wanted != wanted or one.granularity != "channel":
            why = f"is about {', '.join(one.wanted.outputs)} at granularity {one.granularity}"
            raise UsageError(path, why, "give the same labels, or search anew")
        if one.width_step != setup.step:
            why = f"is of a search in steps of {one.width_step} channels, not {setup.step}"
            raise UsageError(path, why, f"give --width-step {one.width_step}, or search anew")
    return stored
