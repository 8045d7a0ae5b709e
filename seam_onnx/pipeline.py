"""One prune, top to bottom: labels in, a smaller and faster ONNX model out, with proof."""

import dataclasses
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast, get_args

import onnx_ir as ir
import torch

from seam_onnx.atomic import check_writable, refuse_source, write_text, writing
from seam_onnx.channels import analyze
from seam_onnx.data import Preprocess, beside, load_splits, resolve
from seam_onnx.errors import UsageError
from seam_onnx.judge import Judge
from seam_onnx.labels import names_from_metadata, read_names, wanted
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, check_finite, load, save, sha256
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.provenance import facts_of
from seam_onnx.rebuild import assemble, stamp, with_values_of
from seam_onnx.report import SCHEMA_VERSION, Problem, Report, Search, Size
from seam_onnx.request import Granularity, Recover, Request
from seam_onnx.search import (
    Recipe,
    SeamRecipe,
    Target,
    Views,
    fastest_threads,
    parse_target,
    search_channels,
    search_weights,
)  # fmt: skip
from seam_onnx.settings import dump, recipe_hash
from seam_onnx.snippet import snippet
from seam_onnx.solution import Solution, encoded, masks_beside
from seam_onnx.surgery import apply_masks, classes, cut_head, plan_removal, remove_channels
from seam_onnx.surgery.logits import add_seam_head, logits_of
from seam_onnx.task import Task, make_task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import Provider, environment

__all__ = ["Request", "reengineer"]


@dataclass(frozen=True)
class Outcome:
    """What either granularity ends in."""

    pruned: Model
    masks: MaskSet
    recover: str
    recipe: Recipe | SeamRecipe
    kept: float
    curve: tuple[Point, ...]


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
    views = Views(task, preprocess, teacher, device, request.recipe.seed, request.recipe.views)
    started = time.perf_counter()
    find = find_channels if request.granularity == "channel" else find_weights
    probe = torch.from_numpy(preprocess.normalize(task.train.x[: request.recipe.batch])).to(device)
    with fastest_threads(teacher.module, probe):
        outcome = find(request, model, task, views, judge, observer)
    seconds = time.perf_counter() - started
    solution = solution_of(request, model, task, outcome)
    pruned = assemble(model, solution)  # what `apply` makes, not what the search held
    target = request.target if request.granularity == "channel" else ""
    hyperparameters = dataclasses.asdict(outcome.recipe)
    search = Search(
        request.granularity, target, outcome.recover, hyperparameters, outcome.kept, seconds, str(device), outcome.curve
    )
    recipe = dump(request)
    with writing(request.output, overwrite=request.overwrite) as path:  # in place only once it is proved
        proof = judge.prove(save(pruned, path), request.batches)
        facts = facts_of(recipe_hash(recipe), proof, size_of(model, request.model), size_of(pruned, path))
        put(path, pruned, model, dataclasses.replace(solution, facts=facts, accuracy=proof.val.pruned.value))
        if request.snippet is not None:
            write_text(request.snippet, snippet(path, preprocess, problem.labels))
        return Report(
            SCHEMA_VERSION, version("seam-onnx"), request.command, problem, search,
            size_of(model, request.model), size_of(pruned, path), proof,
            widths(model, pruned), tuple(str(b) for b in analyze(model).blockers), environment(), str(request.output),
            recipe=recipe,
        )  # fmt: skip


def solution_of(request: Request, model: Model, task: Task, outcome: Outcome) -> Solution:
    """The outcome as it is stored: masks on the original, and what of the pruned model was trained."""
    empty = Solution(
        task.wanted, request.granularity, outcome.masks, width_step=request.width_step, sizes=request.sizes,
        kept=outcome.kept,
    )  # fmt: skip
    return with_values_of(outcome.pruned, model, empty)


def put(path: Path, pruned: Model, model: Model, solution: Solution) -> None:
    """Write the proved model again, with what was proved in its metadata, and its masks beside it."""
    save(stamp(pruned, model, solution), path, overwrite=True)
    masks_beside(path).write_bytes(encoded((dataclasses.replace(solution, output=sha256(path)),)))


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


def check_output(request: Request, model: Model) -> None:
    """Refuse to write over anything that is read."""
    tensors = (v.const_value for v in model.initializers.values())
    sides = [Path(t.path) for t in tensors if isinstance(t, ir.ExternalTensor)]
    given = (request.model, request.data, request.val, request.names, request.preprocess, *sides)
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


def find_channels(
    request: Request, model: Model, task: Task, views: Views, judge: Judge, observer: Observer
) -> Outcome:
    """The default: cut the head, then remove channels until the target is met."""
    target: Target = parse_target(request.target)
    base = cut_head(model, task.wanted.indices, rest=task.wanted.rest)
    found = search_channels(
        base, logits_of(base), views, target, request.recipe,
        recover=request.recover, step=request.width_step, check=judge.check_surgery, observer=observer,
    )  # fmt: skip
    return Outcome(found.model, found.masks, request.recover, request.recipe, found.curve[-1].kept, found.curve)


def find_weights(request: Request, model: Model, task: Task, views: Views, judge: Judge, observer: Observer) -> Outcome:
    """SeaM: masks on single weights behind which a new head stands; then whatever became removable goes."""
    headed = add_seam_head(model, len(task.wanted.outputs), request.seam.seed)
    found = search_weights(headed, views, request.seam, judge.original_on_val(), observer=observer)
    masked = apply_masks(found.model, found.masks)
    pruned = remove_channels(masked, plan_removal(masked, analyze(masked), request.width_step))
    judge.check_surgery(masked, pruned)
    return Outcome(pruned, found.masks, "head", request.seam, found.kept, found.curve)


def size_of(model: Model, path: Path) -> Size:
    """What a model costs."""
    channels = analyze(model)
    cost = channels.cost(channels.everything())
    return Size(cost.macs, cost.params, path.stat().st_size, model.graph.num_nodes())


def widths(before: Model, after: Model) -> dict[str, tuple[int, int]]:
    """Channels made by each layer of the original, and by the same layer of the pruned model."""
    old, new = analyze(before), analyze(after)
    small = {name: len(made) for (name, slot), made in new.made.items() if not slot}
    return {name: (len(made), small.get(name, 0)) for (name, slot), made in old.made.items() if not slot}
