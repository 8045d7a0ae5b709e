"""`seam-onnx prune`."""

import shlex
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, progress, write_json
from .gates import Require, conclude
from .options import above_zero, counts, floats, page_path, pair, report_path, sizes

if TYPE_CHECKING:
    from seam_onnx.report import Report

__all__ = ["prune"]


class Granularity(StrEnum):
    """What a mask is about."""

    channel = "channel"
    weight = "weight"


class Recover(StrEnum):
    """What happens to the weights that stay."""

    none = "none"
    bn = "bn"
    finetune = "finetune"


def prune(
    model: Annotated[Path, typer.Argument(help="ONNX classifier, opset 7 or newer.")],
    labels: Annotated[str, typer.Option(help="Wanted labels: names, indices, ranges or @file, e.g. cat,dog or 3-7.")],
    data: Annotated[Path, typer.Option(help="Labelled data: .npz, a folder of class folders, or a CSV of path,label.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the pruned model goes, and beside it its masks.")
    ],
    val: Annotated[
        Path | None, typer.Option(help="Fresh labelled data to select on, in any of the same forms.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Labels file (.txt or .json) where the model has no names.")
    ] = None,
    other: Annotated[
        bool, typer.Option("--other", help="Add an output for 'none of these' beside several labels.")
    ] = False,
    target: Annotated[str, typer.Option(help="macs=RATIO or params=RATIO of the original.")] = "macs=0.3",
    granularity: Annotated[
        Granularity, typer.Option(help="channel: removable; weight: SeaM as published.")
    ] = Granularity.channel,
    recover: Annotated[Recover, typer.Option(help="What to train of what stays.")] = Recover.finetune,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training data [30; weight: 300].")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    width_step: Annotated[int, typer.Option(min=1, help="Widths stay multiples of this.")] = 8,
    mask_rate: Annotated[float, typer.Option(help="SeaM: learning rate of masks.")] = 0.05,
    head_rate: Annotated[float, typer.Option(help="SeaM: learning rate of the new head.")] = 0.1,
    alpha: Annotated[float, typer.Option(min=0, help="SeaM: weight of the kept ratio in the loss.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    preprocess: Annotated[Path | None, typer.Option(help="preprocess.json or preprocessor_config.json.")] = None,
    size: Annotated[str | None, typer.Option(help="Image size: 224 or 240x320 (height x width).")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted after scaling, e.g. .485,.456,.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Divides after that.")] = None,
    scale: Annotated[float | None, typer.Option(help="Multiplies raw pixels [1/255 for 8-bit images].")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw, nhwc or none.")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb, bgr or gray.")] = None,
    augment: Annotated[str | None, typer.Option(help="crop,flip or none [by the number of channels].")] = None,
    provider: Annotated[str, typer.Option(help="onnxruntime provider that judges: cpu, cuda, tensorrt, auto.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="onnxruntime threads while timing, 0 for all.")] = 1,
    batch: Annotated[str, typer.Option(help="Batch sizes to time, comma-separated.")] = "1",
    device: Annotated[str, typer.Option(help="Where torch searches: auto, cpu, cuda.")] = "auto",
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    require: Require = None,
    export_snippet: Annotated[
        Path | None,
        typer.Option(help="Write a script that serves the model, image file to label, to this place beside it."),
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write the report to this file, - for stdout.")] = None,
    html: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the report as one HTML page.")
    ] = None,
    card: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write a model card for Hugging Face.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing outputs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print one line.")] = False,
) -> None:
    """Make a smaller, faster model for some of a classifier's labels.

    One label means this against the rest (two outputs), several mean which of these.

    Examples:

      seam-onnx prune model.onnx --labels cat,dog --data cifar10.npz --mean .49,.48,.45 --std .25,.24,.26 -o pets.onnx

      seam-onnx prune model.onnx --labels 17 --data photos/ --target macs=0.15 -o one.onnx --json report.json
    """
    from seam_onnx.data import PreprocessFlags  # imported late: --help stays fast
    from seam_onnx.figures import PRUNE, report_figures
    from seam_onnx.gate_text import parse_gates
    from seam_onnx.gates import check
    from seam_onnx.pipeline import Request, reengineer
    from seam_onnx.search import Recipe, SeamRecipe
    from seam_onnx.solution import masks_beside

    from .tables import headline, proof_lines, report_table

    gates = parse_gates(require or (), PRUNE)
    chosen = None if augment is None else tuple(a for a in augment.split(",") if a != "none")
    flags = PreprocessFlags(
        size=pair(size, "--size"), mean=floats(mean, "--mean"), std=floats(std, "--std"), scale=scale, layout=layout,
        channels=channels, augment=chosen,
    )  # fmt: skip
    recipe = Recipe(epochs=epochs or Recipe.epochs, rate=above_zero(rate, "--rate") or Recipe.rate, seed=seed)
    seam = SeamRecipe(
        epochs=epochs or SeamRecipe.epochs, mask_rate=above_zero(mask_rate, "--mask-rate") or mask_rate,
        head_rate=above_zero(head_rate, "--head-rate") or head_rate, alpha=alpha, seed=seed,
    )  # fmt: skip
    request = Request(
        model=model, labels=labels, data=data, output=output, val=val, names=names, other=other, preprocess=preprocess,
        flags=flags, granularity=granularity.value, target=target, recover=recover.value, width_step=width_step,
        recipe=recipe, seam=seam, provider=provider, threads=threads,
        batches=counts(batch, "--batch"), device=device, sizes=sizes(shape or ()),
        overwrite=force, snippet=export_snippet, command=shlex.join(["seam-onnx", *sys.argv[1:]]),
    )  # fmt: skip
    masks = masks_beside(output)
    report_path(json, "--json", overwrite=force, others=(model, data, output, masks, val, names, preprocess))
    written = (output, masks, export_snippet, Path(json) if json and json != "-" else None)
    check_pages(html, card, overwrite=force, others=(model, data, val, names, preprocess, *written))
    with progress(quiet) as observer:
        report = reengineer(request, observer)
    report = replace(report, gates=check(gates, report_figures(report)))
    if json is not None:
        write_json(report.to_json(), json)
    write_pages(report, html, card)
    if not quiet and json != "-":
        out.print(report_table(report), soft_wrap=False)
        for line in proof_lines(report):
            out.print(line)
    if json != "-":
        out.print(headline(report))
    conclude(report.gates, quiet or json == "-")


def check_pages(html: Path | None, card: Path | None, *, overwrite: bool, others: tuple[Path | None, ...]) -> None:
    """Refuse, before any work, pages that could not be made or written."""
    for option, path, more in (("--report", html, card), ("--card", card, html)):
        page_path(path, option, overwrite=overwrite, others=(*others, more))
    if html is not None:
        from seam_onnx.report.plots import require_matplotlib

        require_matplotlib()


def write_pages(report: "Report", html: Path | None, card: Path | None) -> None:
    """The report for people to read and to publish."""
    from seam_onnx.atomic import write_text

    if html is not None:
        from seam_onnx.report.html import page

        write_text(html, page(report))
    if card is not None:
        from seam_onnx.report.card import card as card_of

        write_text(card, card_of(report))
