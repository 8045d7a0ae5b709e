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
from seam_onnx.finding import find_channels, find_weights, pareto, solutions
from seam_onnx.judge import Judge
from seam_onnx.labels import names_from_metadata, read_names, wanted
from seam_onnx.model import Model, check_finite, load, save, sha256
from seam_onnx.progress import Event, Observer, silent
from seam_onnx.provenance import facts_of
from seam_onnx.rebuild import assemble, stamp
from seam_onnx.report import SCHEMA_VERSION, Problem, Report, Search, Size
from seam_onnx.request import Granularity, Recover, Request
from seam_onnx.search import PLAIN, Views, fastest_engine, parse_target
from seam_onnx.settings import dump, recipe_hash
from seam_onnx.snippet import snippet
from seam_onnx.solution import Solution, encoded, masks_beside
from seam_onnx.surgery import SparseLayer, classes, parse_nm, sparse_layers
from seam_onnx.task import Task, make_task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import Provider, environment

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
    teacher = Teacher(model, task.wanted, device)
    judge.check_lowering(teacher)
    started = time.perf_counter()
    probe = torch.from_numpy(preprocess.normalize(task.train.x[: request.recipe.batch])).to(device)
    with fastest_engine(teacher.module, probe) as engine:
        if request.granularity == "channel":
            recipe = request.recipe
            views = Views(task, preprocess, teacher, device, recipe.seed, recipe.views, recipe.mix, engine)
            outcome = find_channels(request, model, task, views, judge, observer)
        else:  # as published means: every image has a label, everything in float32
            engine = PLAIN if request.seam.schedule == "published" else engine
            views = Views(task, preprocess, teacher, device, request.seam.seed, request.recipe.views, 0.0, engine)
            outcome = find_weights(request, model, task, views, judge, observer)
    seconds = time.perf_counter() - started
    found = solutions(request, model, task, outcome)
    pruned = assemble(model, found[0])  # what `apply` makes, not what the search held
    target = request.target if request.granularity == "channel" else ""
    hyperparameters = dataclasses.asdict(outcome.recipe)
    search = Search(
        request.granularity, target, outcome.recover, hyperparameters, outcome.kept, seconds, str(device), outcome.curve,
        outcome.met,
    )  # fmt: skip
    recipe_used = dump(request)
    with writing(request.output, overwrite=request.overwrite) as path:  # in place only once it is proved
        proof = judge.prove(save(pruned, path), request.batches)
        facts = facts_of(recipe_hash(recipe_used), proof, size_of(model, request.model), size_of(pruned, path))
        first = dataclasses.replace(found[0], facts=facts, accuracy=proof.val.pruned.value)
        put(path, pruned, model, (first, *found[1:]))
        if request.snippet is not None:
            write_text(request.snippet, snippet(path, preprocess, problem.labels))
        return Report(
            SCHEMA_VERSION, version("seam-onnx"), request.command, problem, search,
            size_of(model, request.model), size_of(pruned, path), proof,
            widths(model, pruned), tuple(str(b) for b in analyze(model).blockers), environment(), str(request.output),
            pareto=pareto(model, outcome, judge, proof.val.pruned.value), recipe=recipe_used,
            sparsity=sparsity_of(request, path),
        )  # fmt: skip


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
    if request.granularity == "weight" and request.seam.nm is not None:
        parse_nm(request.seam.nm)
        if request.seam.schedule == "published":
            raise UsageError("--nm", "is not SeaM's", "leave it out, or take --schedule fast")
    if request.resume_from is not None and request.granularity != "channel":
        raise UsageError("--resume-from", "serves granularity channel alone", "leave one of them out")


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
