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

from .console import out, progress, write_json
from .gates import Require, conclude
from .options import floats, page_path, pair, report_path

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.report import ModelComparison
    from seam_onnx.validate import Classification

__all__ = ["Provider", "Split", "validate"]


class Provider(StrEnum):
    """onnxruntime's execution providers."""

    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"
    auto = "auto"


class Split(StrEnum):
    """What is judged."""

    test = "test"
    all = "all"


def validate(
    original: Annotated[Path, typer.Argument(help="ONNX classifier.")],
    pruned: Annotated[Path, typer.Argument(help="ONNX classifier of some of its labels, by whatever tool.")],
    data: Annotated[Path, typer.Option(help="Labelled data: .npz, a folder of class folders, or a CSV of path,label.")],
    labels: Annotated[
        str | None, typer.Option(help="Wanted labels, in the order of the pruned model's outputs [its own].")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Labels file (.txt or .json) where the original has no names.")
    ] = None,
    other: Annotated[
        bool, typer.Option("--other", help="The pruned model has an output for 'none of these', its last.")
    ] = False,
    masked: Annotated[Path | None, typer.Option(help="Masked form of the pruned model: report parity with it.")] = None,
    split: Annotated[Split, typer.Option(help="all: judge every sample, where no model has seen them.")] = Split.test,
    preprocess: Annotated[Path | None, typer.Option(help="preprocess.json or preprocessor_config.json.")] = None,
    size: Annotated[str | None, typer.Option(help="Image size: 224 or 240x320 (height x width).")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted after scaling, e.g. .485,.456,.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Divides after that.")] = None,
    scale: Annotated[float | None, typer.Option(help="Multiplies raw pixels [1/255 for 8-bit images].")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw, nhwc or none.")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb, bgr or gray.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of splitting the data; that of the prune.")] = 0,
    provider: Annotated[Provider, typer.Option(help="onnxruntime provider.")] = Provider.cpu,
    threads: Annotated[int, typer.Option(min=0, help="onnxruntime threads, 0 for all.")] = 1,
    require: Require = None,
    json: Annotated[str | None, typer.Option(help="Write everything to this file, - for stdout.")] = None,
    html: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the result as one HTML page.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print one line.")] = False,
) -> None:
    """Compare two classifiers on the same test samples, whoever made them.

    Examples:

      seam-onnx validate model.onnx small.onnx --labels cat,dog --data cifar10.npz

      seam-onnx validate model.onnx small.onnx --data photos/ --require 'accuracy>=original-0.5pp' --json report.json
    """
    from seam_onnx.atomic import write_text
    from seam_onnx.comparison import ComparisonRequest, compare_models  # imported late: --help stays fast
    from seam_onnx.data import PreprocessFlags
    from seam_onnx.figures import VALIDATE, comparison_figures
    from seam_onnx.gate_text import parse_gates
    from seam_onnx.gates import check
    from seam_onnx.report.html import comparison_page

    gates = parse_gates(require or (), VALIDATE)
    read = (original, pruned, masked, data, names, preprocess)
    report_path(json, "--json", overwrite=force, others=read)
    page_path(html, "--report", overwrite=force, others=(*read, None if json in (None, "-") else Path(json)))
    flags = PreprocessFlags(
        size=pair(size, "--size"), mean=floats(mean, "--mean"), std=floats(std, "--std"), scale=scale, layout=layout,
        channels=channels,
    )  # fmt: skip
    request = ComparisonRequest(
        original, pruned, data, labels, names=names, other=other, masked=masked, preprocess=preprocess, flags=flags,
        split=split.value, seed=seed, provider=provider.value, threads=threads,
        command=shlex.join(["seam-onnx", *sys.argv[1:]]),
    )  # fmt: skip
    with progress(quiet) as observer:
        found = compare_models(request, observer)
    found = replace(found, gates=check(gates, comparison_figures(found)))
    if json is not None:
        write_json(found.to_json(), json)
    if html is not None:
        write_text(html, comparison_page(found))
    if json != "-":
        show(found, quiet)
    conclude(found.gates, quiet or json == "-")


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
