"""`seam-onnx validate`."""

import shlex
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from seam_onnx import words
from seam_onnx.request import Delivery
from seam_onnx.settings import Settings

from .console import out, progress
from .gates import finish
from .options import COMMON, PREPROCESSING, with_options

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.report import ModelComparison
    from seam_onnx.validate import Classification

__all__ = ["Split", "validate"]


class Split(StrEnum):
    """What is judged."""

    test = "test"
    all = "all"


@with_options(
    "data", "names", *PREPROCESSING, "provider", "threads", "report", *COMMON,
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
    from seam_onnx.atomic import write_text
    from seam_onnx.comparison import ComparisonRequest, compare_models  # imported late: --help stays fast
    from seam_onnx.delivery import check_files
    from seam_onnx.figures import VALIDATE, comparison_figures
    from seam_onnx.gate_text import parse_gates
    from seam_onnx.gates import check
    from seam_onnx.report.html import comparison_page

    delivery = given.build(Delivery)
    gates = parse_gates(delivery.require, VALIDATE)
    request = given.build(
        ComparisonRequest, original=original, pruned=pruned, masked=masked, split=split.value,
        command=shlex.join(["seam-onnx", *sys.argv[1:]]),
    )  # fmt: skip
    check_files(delivery, (original, pruned, masked, request.data, request.names, request.preprocess))
    with progress(delivery.quiet) as observer:
        found = compare_models(request, observer)
    found = replace(found, gates=check(gates, comparison_figures(found)))
    if delivery.report is not None:
        write_text(delivery.report, comparison_page(found))
    finish(found, delivery, show)


def show(found: "ModelComparison", quiet: bool) -> None:
    """Tables for people, the headline last."""
    from seam_onnx.report.labels import MATRIX_UP_TO

    if not quiet:
        out.print(summary(found))
        out.print(per_label(found))
        if len(found.labels) <= MATRIX_UP_TO:
            out.print(confusion("original, restricted", found.labels, found.paired.original))
            out.print(confusion("pruned", found.labels, found.paired.pruned))
        for note in found.notes:
            out.print(f"note: {note}")
    out.print(headline(found))


def summary(found: "ModelComparison") -> Table:
    """Both models beside each other."""
    from seam_onnx.report.labels import paired_rows

    title = f"{found.models['original']} → {found.models['pruned']}, {found.split} split"
    table = Table("", "original, free", "original, restricted", "pruned", title=title, title_justify="left")
    a, b = found.paired.original.accuracy, found.paired.pruned.accuracy
    table.add_row("accuracy", words.accuracy(found.paired.free), words.accuracy(a), words.accuracy(b))
    for row in paired_rows(found.paired):
        table.add_row(row.name, "", row.original, row.pruned)
    sizes = [words.size(found.file_bytes[name]) for name in ("original", "pruned")]
    table.add_row("file", sizes[0], "", sizes[1])
    return table


def per_label(found: "ModelComparison") -> Table:
    """Precision, recall and F1 of each label, the restricted original's in front."""
    from seam_onnx.report.labels import label_rows

    table = Table("label", "samples", "precision", "recall", "F1")
    for row in label_rows(found.labels, found.paired):
        table.add_row(row.name, str(row.count), *row.changes)
    return table


def confusion(title: str, labels: tuple[str, ...], found: "Classification") -> Table:
    """Counts; a row is a label, a column an answer."""
    table = Table(f"{title}: label, answer", *labels)
    for name, row in zip(labels, found.confusion.tolist(), strict=True):
        table.add_row(name, *map(str, row))
    return table


def headline(found: "ModelComparison") -> str:
    """The result in a sentence."""
    new, old = found.paired.pruned.accuracy, found.paired.original.accuracy
    parity = "" if found.parity is None else f"; parity with the masked model {found.parity.relative:.1e}"
    return (
        f"{found.models['pruned']}: accuracy {words.share(new.value, 2)}, {words.points(new, old)} against the "
        f"original restricted to the wanted labels; {words.mcnemar(found.paired.difference)}{parity}"
    )
