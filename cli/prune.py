"""`seam-onnx prune`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from seam_onnx.errors import UsageError
from seam_onnx.settings import Setting, Settings

from .console import out, progress, write_json
from .gates import conclude
from .options import PRUNE, with_options

__all__ = ["prune"]


@with_options(*PRUNE)
def prune(
    model: Annotated[Path | None, typer.Argument(help="ONNX classifier, opset 7 or newer.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="<path>", help="YAML file with options (docs/recipes.md).")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="<key=value>", help="A key of a recipe, e.g. search.epochs=5.")
    ] = None,
    *,
    given: Settings,
) -> None:
    """Make a smaller, faster model for some of a classifier's labels.

    One label means this against the rest (two outputs), several mean which of these.

    Options go before --set, --set before the recipe, the recipe before defaults.

    Examples:

      seam-onnx prune model.onnx --labels cat,dog --data cifar10.npz --mean .49,.48,.45 --std .25,.24,.26 -o pets.onnx

      seam-onnx prune model.onnx --labels 17 --data photos/ --target macs=0.15 -o one.onnx --json report.json

      seam-onnx prune --recipe prune.yaml --set search.epochs=5 --force
    """
    from seam_onnx.recipe import load_recipe, parse_sets  # imported late: --help stays fast
    from seam_onnx.request import Request

    settings = load_recipe(recipe) if recipe is not None else Settings()
    settings |= parse_sets(sets or ())
    settings |= given
    if model is not None:
        settings["model"] = Setting(model, "model")
    if "model" not in settings:
        raise UsageError(
            "model", "is missing", "name an ONNX file, or write model: in a recipe; see seam-onnx prune --help"
        )
    request = settings.build(Request, command=shlex.join(["seam-onnx", *sys.argv[1:]]))
    from seam_onnx.delivery import check_delivery, deliver
    from seam_onnx.pipeline import reengineer

    from .tables import headline, proof_lines, report_table, seeds_table

    gates = check_delivery(request)
    quiet, piped = request.delivery.quiet, request.delivery.piped
    with progress(quiet) as observer:
        report = reengineer(request, observer)
    report = deliver(report, request, gates)
    if piped:
        write_json(report.to_json(), "-")
    else:
        if not quiet:
            for table in filter(None, (report_table(report), seeds_table(report))):
                out.print(table, soft_wrap=False)
            for line in proof_lines(report):
                out.print(line)
        out.print(headline(report))
    conclude(report.gates, quiet or piped)
