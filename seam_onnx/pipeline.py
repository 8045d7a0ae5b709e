"""One prune, top to bottom: labels in, a smaller and faster ONNX model out, with proof."""

import dataclasses
import time
from importlib.metadata import version
from pathlib import Path
from typing import cast, get_args

import onnx_ir as ir
import torch

from seam_onnx.atomic import check_writable, refuse_source, write_text, writing
from seam_onnx.channels import analyze
from seam_onnx.data import Preprocess, beside, load_splits, resolve
from seam_onnx.errors import UsageError
from seam_onnx.finding import find
from seam_onnx.judge import Judge
from seam_onnx.labels import names_from_metadata, read_names, wanted
from seam_onnx.model import Model, check_finite, load, save, sha256
from seam_onnx.outcome import Outcome, Setup, pareto, restricted, solutions
from seam_onnx.progress import Event, Observer, silent
from seam_onnx.provenance import facts_of
from seam_onnx.rebuild import assemble, stamp
from seam_onnx.report import SCHEMA_VERSION, Problem, Report, Rounding, Search, Size
from seam_onnx.request import Granularity, Recover, Request
from seam_onnx.search import engines, parse_target
from seam_onnx.settings import dump, recipe_hash
from seam_onnx.snippet import snippet
from seam_onnx.solution import Solution, encoded, masks_beside
from seam_onnx.surgery import SparseLayer, classes, inheritance, parse_nm, plan_removal, sparse_layers
from seam_onnx.task import Task, make_task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import Latency, Provider, environment, width_step
from seam_onnx.words import between, share

__all__ = ["Request", "reengineer"]


def reengineer(request: Request, observer: Observer = silent) -> Report:
    """Prune a classifier to the wanted labels, prove it, save it.

    Raises:
        SeamError: anything that `seam_onnx.errors` lists; nothing has been written then.
    """
    check_request(request)
    model = load(request.model, request.sizes)
    check_finite(model)
    check_output(request, model)
    device = choose_device(request.device)
    problem, preprocess, task = pose(request, model, observer)
    judge = Judge(model, task, preprocess, cast(Provider, request.provider), request.threads, observer)
    judge.check_sanity()
    teacher = Teacher(model, device)
    judge.check_lowering(teacher)
    step, why = step_of(request, judge)
    setup = Setup(request, model, task, preprocess, teacher, judge, step, observer)
    started = time.perf_counter()
    found = find(setup)
    seconds = time.perf_counter() - started
    recipe_used = dump(request)
    with writing(request.output, overwrite=request.overwrite) as path:  # in place only once it is proved
        outcome, stored, pruned, latency = raced(setup, found.chosen, path)
        proof = judge.prove(path, latency)
        facts = facts_of(recipe_hash(recipe_used), proof, size_of(model, request.model), size_of(pruned, path))
        first = dataclasses.replace(stored[0], facts=facts, accuracy=proof.val.pruned.value)
        put(path, pruned, model, (first, *stored[1:]))
        if request.snippet is not None:
            write_text(request.snippet, snippet(path, preprocess, problem.labels))
        search = Search(
            request.granularity, request.target if request.granularity == "channel" else "", outcome.recover,
            dataclasses.asdict(outcome.recipe), outcome.kept, seconds, str(device), outcome.curve, outcome.met,
            "" if outcome.met else outcome.unmet, found.engine, Rounding(step, why, spare(pruned)),
            outcome.convolved, found.runs,
        )  # fmt: skip
        return Report(
            SCHEMA_VERSION, version("seam-onnx"), request.command, problem, search,
            size_of(model, request.model), size_of(pruned, path), proof,
            widths(model, pruned), inheritance(model, pruned, stored[0].values),
            tuple(str(b) for b in analyze(model).blockers), environment(), str(request.output),
            pareto=pareto(model, outcome, judge, proof.val.pruned.value), recipe=recipe_used,
            sparsity=sparsity_of(request, path),
        )  # fmt: skip


def raced(setup: Setup, outcome: Outcome, path: Path) -> tuple[Outcome, tuple[Solution, ...], Model, Latency]:
    """Save what was found and time it, in full. What is slower than the original is not delivered as an answer to a target.

    Returns:
        What is delivered, as it is stored, as a model, and its latency.
    """
    stored = solutions(setup, outcome)
    pruned = assemble(setup.model, stored[0])  # what `apply` makes, not what the search held
    latency = setup.judge.race(save(pruned, path, overwrite=True), setup.request.batches)
    first, goal = latency.comparisons[0], parse_target(setup.request.target)
    if outcome.granularity == "channel" and outcome.kept < 1 and first.verdict == "slower":
        why = f"what was found takes {share(first.ratio)} of the original's p50"
        return raced(setup, restricted(setup, outcome, why), path)
    if goal.metric == "latency" and outcome.met and first.interval.low > goal.value:
        why = f"timed in full, it takes {share(first.ratio)} of the original's p50 ({between(first.interval)})"
        outcome = dataclasses.replace(outcome, met=False, unmet=why)
    return outcome, stored, pruned, latency


def put(path: Path, pruned: Model, model: Model, found: tuple[Solution, ...]) -> None:
    """Write the proved model again, with what was proved in its metadata, and beside it its masks and the other points."""
    save(stamp(pruned, model, found[0]), path, overwrite=True)
    masks_beside(path).write_bytes(encoded((dataclasses.replace(found[0], output=sha256(path)), *found[1:])))


def check_request(request: Request) -> None:
    """Refuse before any work what can be seen without reading a file. Raises UsageError."""
    for path in (request.output, masks_beside(request.output), request.snippet):
        if path is not None:
            check_writable(path, overwrite=request.overwrite)
    parse_target(request.target)
    for name, given, known in (
        ("granularity", request.granularity, get_args(Granularity)),
        ("recover", request.recover, get_args(Recover)),
    ):
        if given not in known:
            raise UsageError(f"{name} {given!r}", "is unknown", f"choose from {', '.join(known)}")
    if request.granularity == "weight":
        check_weights(request)


def check_weights(request: Request) -> None:
    """What masks on single weights do not take. Raises UsageError."""
    published = request.seam.schedule == "published"
    if published and {engine.low for engine in engines(request.engine, "cpu")} == {True}:
        raise UsageError(f"engine {request.engine!r}", "is not SeaM as published, which is fp32", "leave it out")
    if request.seam.nm is not None:
        parse_nm(request.seam.nm)


def check_output(request: Request, model: Model) -> None:
    """Refuse to write over anything that is read."""
    tensors = (v.const_value for v in model.initializers.values())
    sides = [Path(t.path) for t in tensors if isinstance(t, ir.ExternalTensor)]
    read = (request.model, request.data, request.val, request.names, request.preprocess, request.resume_from)
    given = (*read, *sides)
    for output in (request.output, masks_beside(request.output)):
        refuse_source(output, [path for path in given if isinstance(path, Path) and path.exists()])


def pose(request: Request, model: Model, observer: Observer) -> tuple[Problem, Preprocess, Task]:
    """Resolve labels, preprocessing and data."""
    count = classes(model)
    names = read_names(request.names) if request.names else names_from_metadata(model.proto.metadata_props)
    shape = tuple(d if isinstance(d, int) else None for d in model.graph.inputs[0].shape or ())
    preprocess = resolve(shape, request.preprocess or beside(request.data, "preprocess.json"), request.flags)
    splits = load_splits(
        request.data, preprocess, val=request.val, seed=request.recipe.seed, names=names, classes=count,
        progress=lambda done, total: observer(Event("data", done, total)),
    )  # fmt: skip
    chosen = wanted(request.labels, count, names or splits.train.names, request.other)
    task = make_task(chosen, splits, request.recipe.seed)
    samples = {"train": len(task.train), "val": len(task.val), "test": len(task.test)}
    problem = Problem(
        str(request.model),
        model.sha256,
        chosen.outputs,
        chosen.indices,
        count,
        samples,
        preprocess.describe(),
        task.notes,
    )
    return problem, preprocess, task


def choose_device(name: str) -> torch.device:
    """'auto' is CUDA where torch finds it. Raises UsageError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = f"torch cannot use it ({str(error).splitlines()[0][:120]})"
        raise UsageError(f"device {name!r}", why, "choose auto, cpu or cuda") from error


def step_of(request: Request, judge: Judge) -> tuple[int, str]:
    """Of what widths stay multiples, and why."""
    block, why = width_step(judge.session.provider)
    return (block, why) if request.width_step == "auto" else (int(request.width_step), f"--width-step; {why}")


def spare(pruned: Model) -> int:
    """Channels, over all layers, that could go without changing any output, and stay to keep a multiple."""
    plan = plan_removal(pruned, analyze(pruned))
    return sum(before - after for before, after in plan.widths.values())


def size_of(model: Model, path: Path) -> Size:
    """What a model costs."""
    channels = analyze(model)
    cost = channels.cost(channels.everything())
    return Size(cost.macs, cost.params, path.stat().st_size, model.graph.num_nodes())


def sparsity_of(request: Request, path: Path) -> tuple[SparseLayer, ...]:
    """Where the written file holds the pattern that was asked for; nothing if none was."""
    if request.granularity != "weight" or request.seam.nm is None:
        return ()
    return sparse_layers(load(path, request.sizes), parse_nm(request.seam.nm))


def widths(before: Model, after: Model) -> dict[str, tuple[int, int]]:
    """Channels made by each layer of the original, and by the same layer of the pruned model."""
    old, new = analyze(before), analyze(after)
    small = {name: len(made) for (name, slot), made in new.made.items() if not slot}
    return {name: (len(made), small.get(name, 0)) for (name, slot), made in old.made.items() if not slot}
