"""`seam-onnx validate`."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from seam_onnx.request import Delivery
from seam_onnx.settings import Settings

from .console import out, progress, write_json
from .gates import conclude, with_gates
from .options import COMMON, PREPROCESSING, check_json, with_options

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.comparison import ModelComparison
    from seam_onnx.validate import Accuracy, Classification

__all__ = ["Split", "validate"]

WIDEST = 12
"""Labels up to which a confusion matrix is shown; the JSON always has it."""


class Split(StrEnum):
    """What is judged."""

    test = "test"
    all = "all"


@with_options(
    "data", "names", *PREPROCESSING, "provider", "threads", *COMMON,
    labels="Wanted labels, in the order of the pruned model's outputs [its own].",
    other="The pruned model has an output for 'none of these', its last.",
    seed="Of splitting the data; that of the prune.",
)  # fmt: skip
def validate(
    original: Annotated[Path, typer.Argument(help="ONNX classifier.")],
    pruned: Annotated[Path, typer.Argument(help="ONNX classifier of some of its labels, by whatever tool.")],
    masked: Annotated[Path | None, typer.Option(help="Masked form of the pruned model: report parity with it.")] = None,
    split: Annotated[Split, typer.Option(help="all: judge every sample, where no model has seen them.")] = Split.test,
    *,
    given: Settings,
) -> None:
    """Compare two classifiers on the same test samples, whoever made them.

    Examples:

      seam-onnx validate model.onnx small.onnx --labels cat,dog --data cifar10.npz

      seam-onnx validate model.onnx small.onnx --data photos/ --require 'accuracy>=original-0.5pp' --json report.json
    """
    from seam_onnx.comparison import ComparisonRequest, compare_models  # imported late: --help stays fast
    from seam_onnx.figures import VALIDATE, comparison_figures
    from seam_onnx.gate_text import parse_gates
    from seam_onnx.gates import check

    delivery = given.build(Delivery)
    gates = parse_gates(delivery.require, VALIDATE)
    request = given.build(
        ComparisonRequest, original=original, pruned=pruned, masked=masked, split=split.value,
        command=shlex.join(["seam-onnx", *sys.argv[1:]]),
    )  # fmt: skip
    check_json(delivery, original, pruned, masked, request.data)
    with progress(delivery.quiet) as observer:
        found = compare_models(request, observer)
    results = check(gates, comparison_figures(found))
    if delivery.json is not None:
        write_json(with_gates(found.to_json(), results), str(delivery.json))
    if not delivery.piped:
        show(found, delivery.quiet)
    conclude(results, delivery.quiet or delivery.piped)


def show(found: "ModelComparison", quiet: bool) -> None:
    """Tables for people, the headline last."""
    if not quiet:
        out.print(summary(found))
        out.print(per_label(found))
        if len(found.labels) <= WIDEST:
            out.print(confusion("original, restricted", found.labels, found.original))
            out.print(confusion("pruned", found.labels, found.pruned))
        for note in found.notes:
            out.print(f"note: {note}")
    out.print(headline(found))


def percent(accuracy: "Accuracy") -> str:
    """Accuracy with its count and 95 % Wilson interval."""
    low, high = accuracy.interval.low, accuracy.interval.high
    return f"{accuracy.value:.2%} ({accuracy.correct}/{accuracy.total}; {low:.1%} to {high:.1%})"


def summary(found: "ModelComparison") -> Table:
    """Both models beside each other."""
    title = f"{found.models['original']} → {found.models['pruned']}, {found.split} split"
    table = Table("", "original, free", "original, restricted", "pruned", title=title, title_justify="left")
    a, b = found.original, found.pruned
    table.add_row("accuracy", percent(found.free), percent(a.accuracy), percent(b.accuracy))
    table.add_row("balanced accuracy", "", f"{a.balanced:.2%}", f"{b.balanced:.2%}")
    table.add_row("calibration error", "", f"{a.calibration_error:.2%}", f"{b.calibration_error:.2%}")
    table.add_row("agreement", "", "", percent(found.agreement))
    table.add_row("ties", "", str(a.ties), str(b.ties))
    sizes = [f"{found.file_bytes[name] / 1024:,.0f} KiB" for name in ("original", "pruned")]
    table.add_row("file", *[sizes[0], "", sizes[1]])
    return table


def per_label(found: "ModelComparison") -> Table:
    """Precision, recall and F1 of each label, the restricted original's in front."""
    table = Table("label", "samples", "precision", "recall", "F1")
    for name, a, b in zip(found.labels, found.original.labels, found.pruned.labels, strict=True):
        figures = [f"{_share(getattr(a, key))} → {_share(getattr(b, key))}" for key in ("precision", "recall", "f1")]
        table.add_row(name, str(a.support), *figures)
    return table


def confusion(title: str, labels: tuple[str, ...], found: "Classification") -> Table:
    """Counts; a row is a label, a column an answer."""
    table = Table(f"{title}: label, answer", *labels)
    for name, row in zip(labels, found.confusion.tolist(), strict=True):
        table.add_row(name, *map(str, row))
    return table


def headline(found: "ModelComparison") -> str:
    """The result in a sentence."""
    change = (found.pruned.accuracy.value - found.original.accuracy.value) * 100
    test = found.difference
    parity = "" if found.parity is None else f"; parity with the masked model {found.parity.relative:.1e}"
    return (
        f"{found.models['pruned']}: accuracy {found.pruned.accuracy.value:.2%}, {change:+.2f} points against the "
        f"original restricted to the wanted labels (McNemar p = {test.p:.3f}: {test.b} only pruned right, "
        f"{test.c} only the original){parity}"
    )


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1%}"
