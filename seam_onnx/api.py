"""The commands as functions: what `seam_onnx` exports.

    report = seam_onnx.reengineer("model.onnx", "cat,dog", "photos/", "pets.onnx", target="macs=0.2", epochs=10)
    print(report.proof.test.pruned, report.recipe_hash)

Keywords are the names of keys without their sections (docs/recipes.md); each function imports what it needs.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seam_onnx.data import RawSplits
from seam_onnx.data.read import read_arrays
from seam_onnx.errors import GateError, UsageError
from seam_onnx.progress import Observer, silent
from seam_onnx.settings import Settings

if TYPE_CHECKING:  # importing seam_onnx stays fast
    from seam_onnx.bench import Bench
    from seam_onnx.inspection import Inspection
    from seam_onnx.report import ModelComparison, Report
    from seam_onnx.surgery import PrunePlan

__all__ = ["apply_masks", "bench_models", "compact_model", "compare_models", "inspect_model", "reengineer"]

AnyPath = str | os.PathLike[str]
Arrays = tuple[Any, Any] | Mapping[str, Any]
"""(x, y), or the arrays that an `.npz` would have: x_train, y_train, x_test, y_test, names."""


def reengineer(
    model: AnyPath | None = None,
    labels: str | Sequence[str | int] | None = None,
    data: AnyPath | Arrays | None = None,
    output: AnyPath | None = None,
    *,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    observer: Observer = silent,
    **settings: Any,
) -> "Report":
    """Prune a classifier to the wanted labels, prove it, save it: `seam-onnx prune`.

    Args:
        model: path of the ONNX classifier.
        labels: the wanted ones, as text (`cat,dog`, `3-7`, `@file`) or as a list of names and indices.
        data: a path, or arrays.
        output: path of the pruned model.
        recipe: a YAML file, or a table of sections as `Report.recipe` is; what is given here goes before it.
        observer: told of every step.
        settings: anything else that a recipe knows, by the name of its key: `target`, `epochs`, `mean`, `json`.

    Raises:
        UsageError: a keyword or value that makes no sense, labels, data, paths. ModelError: the model. Nothing has been
            written then.
        GateError: a gate of `require` does not hold; everything has been written, and `error.report` has it.
    """
    from seam_onnx.delivery import check_delivery, deliver
    from seam_onnx.pipeline import reengineer as run
    from seam_onnx.recipe import load_recipe, recipe_settings
    from seam_onnx.request import Request

    main = {"model": model, "labels": labels, "data": data if data is None else _data(data), "output": output}
    layers = (
        Settings()
        if recipe is None
        else recipe_settings(recipe)
        if isinstance(recipe, Mapping)
        else load_recipe(Path(recipe))
    )
    layers |= Settings.of_names(Request, settings | {name: value for name, value in main.items() if value is not None})
    request = layers.build(Request, command="seam_onnx.reengineer()")
    if request.delivery.piped:
        raise UsageError("json '-'", "is for the command", "give a file, or take Report.to_json()")
    gates = check_delivery(request)
    report = deliver(run(request, observer), request, gates)
    failed = [result for result in report.gates if not result.holds]
    if failed:
        raise GateError(report, failed)
    return report


def compare_models(
    original: AnyPath, pruned: AnyPath, data: AnyPath, *, observer: Observer = silent, **settings: Any
) -> "ModelComparison":
    """Two classifiers, whoever made them, on the same test samples: `seam-onnx validate`. Imports no torch.

    Args:
        original: path of an ONNX classifier.
        pruned: path of a classifier of some of its labels.
        data: path of labelled data.
        observer: told of every step.
        settings: other fields of `seam_onnx.comparison.ComparisonRequest`: `labels`, `mean`, `split`.

    Raises:
        UsageError, ModelError: as for `reengineer`.
    """
    from seam_onnx.comparison import ComparisonRequest
    from seam_onnx.comparison import compare_models as run

    asked = settings | {"original": original, "pruned": pruned, "data": data}
    return run(Settings.of_names(ComparisonRequest, asked).build(ComparisonRequest), observer)


def bench_models(*models: AnyPath, observer: Observer = silent, **settings: Any) -> "Bench":
    """Latency of models by interleaved runs, the reference first: `seam-onnx bench`. Imports no torch.

    Args:
        models: paths.
        observer: told of every step.
        settings: other fields of `seam_onnx.bench.BenchRequest`: `batches`, `provider`, `min_seconds`.

    Raises:
        UsageError, ModelError: as for `reengineer`.
    """
    from seam_onnx.bench import BenchRequest, bench

    return bench(Settings.of_names(BenchRequest, settings | {"models": models}).build(BenchRequest), observer)


def inspect_model(model: AnyPath, *, sizes: Mapping[str, int] | None = None) -> "Inspection":
    """What could be removed from a model, and what pins the rest: `seam-onnx inspect`. Imports no torch.

    Args:
        model: path.
        sizes: of symbolic input dimensions.

    Raises:
        PathError, ModelError: no such file, or not a model.
    """
    from seam_onnx.inspection import inspect_model as run
    from seam_onnx.model import load

    return run(load(Path(model), sizes or {}))


def compact_model(
    model: AnyPath,
    output: AnyPath,
    *,
    width_step: int = 1,
    sizes: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> "PrunePlan":
    """Remove whatever can go without changing any output, and save: `seam-onnx compact`. Imports no torch.

    Args:
        model: path of a masked or sparse model, or of any other.
        output: path of the smaller one.
        width_step: widths stay multiples of this.
        sizes: of symbolic input dimensions.
        overwrite: replace an existing output.

    Returns:
        What went, what stayed and why.

    Raises:
        PathError, ModelError: as for `inspect_model`; a place that cannot be written.
    """
    from seam_onnx.atomic import check_writable
    from seam_onnx.channels import analyze
    from seam_onnx.model import check_finite, load, save
    from seam_onnx.surgery import plan_removal, remove_channels

    check_writable(Path(output), overwrite=overwrite)
    original = load(Path(model), sizes or {})
    check_finite(original)
    plan = plan_removal(original, analyze(original), width_step)
    save(remove_channels(original, plan), Path(output), overwrite=overwrite)
    return plan


def apply_masks(model: AnyPath, masks: AnyPath, output: AnyPath, *, point: int = 0, overwrite: bool = False) -> None:
    """Make a pruned model again, bit for bit, from the original and its masks: `seam-onnx apply`. Imports no torch.

    Args:
        model: path of the very file that was pruned.
        masks: path of what `reengineer` wrote beside its output.
        output: path of the pruned model.
        point: 0 is the model that was proved; 1, 2, ... what the search visited, largest first.
        overwrite: replace an existing output.

    Raises:
        UsageError: masks of another model, damaged, or without such a point. PathError: a place that cannot be written.
    """
    from seam_onnx.rebuild import apply_solution
    from seam_onnx.solution import read_solutions

    solutions = read_solutions(Path(masks))
    if not 0 <= point < len(solutions):
        raise UsageError(f"point {point}", f"is not in {masks}, which holds {len(solutions)}", "count from 0")
    apply_solution(Path(model), solutions[point], Path(output), overwrite=overwrite)


def _data(data: AnyPath | Arrays) -> Path | RawSplits:
    """A path, or arrays as if read from a file."""
    if isinstance(data, str | os.PathLike):
        return Path(data)
    arrays = data if isinstance(data, Mapping) else dict(zip(("x", "y"), data, strict=True))
    return read_arrays({name: np.asarray(array) for name, array in arrays.items()})
