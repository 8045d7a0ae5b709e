"""`seam-onnx bench`."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from seam_onnx.words import between, share, size

from .console import out, progress, write_json
from .gates import Require, conclude
from .options import counts, report_path, sizes
from .validate import Provider

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.bench import Bench
    from seam_onnx.validate import Comparison

__all__ = ["bench"]


def bench(
    models: Annotated[list[Path], typer.Argument(help="ONNX models that take the same samples, the reference first.")],
    provider: Annotated[Provider, typer.Option(help="onnxruntime provider; auto: CUDA where it loads.")] = Provider.cpu,
    batch: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = "1",
    threads: Annotated[int, typer.Option(min=0, help="onnxruntime threads, 0 for all cores.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Samples a model and batch size, at least.")] = 50,
    min_seconds: Annotated[float, typer.Option(min=0, help="Shortest measurement of a batch size.")] = 1.0,
    max_seconds: Annotated[
        float, typer.Option(min=0, help="Longest measurement of a batch size, but for 10 rounds.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the input and the order of turns.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Take the input from here: .npz, image folder or CSV [random].")
    ] = None,
    preprocess: Annotated[
        Path | None, typer.Option(help="preprocess.json or preprocessor_config.json for --data.")
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    require: Require = None,
    json: Annotated[
        str | None, typer.Option(help="Write everything, each sample too, to this file, - for stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print one line a model.")] = False,
) -> None:
    """Measure models against each other by interleaved runs; a difference inside the noise is called none.

    Examples:

      seam-onnx bench model.onnx small.onnx --batch 1,8

      seam-onnx bench model.onnx small.onnx --provider cuda --require 'latency.p50<=0.6*original' --json bench.json
    """
    from seam_onnx.bench import BenchRequest  # imported late: --help stays fast
    from seam_onnx.bench import bench as measured
    from seam_onnx.figures import BENCH, check_bench
    from seam_onnx.gate_text import parse_gates

    gates = parse_gates(require or (), BENCH)
    report_path(json, "--json", overwrite=force, others=(*models, data))
    request = BenchRequest(
        tuple(models), provider.value, counts(batch, "--batch"), threads, rounds, min_seconds, max_seconds, seed, data,
        preprocess, sizes(shape or ()), shlex.join(["seam-onnx", *sys.argv[1:]]),
    )  # fmt: skip
    with progress(quiet) as observer:
        found = measured(request, observer)
    found = replace(found, gates=check_bench(gates, found))
    if json is not None:
        write_json(found.to_json(), json)
    if json != "-":
        show(found, quiet)
    conclude(found.gates, quiet or json == "-")


def show(found: "Bench", quiet: bool) -> None:
    """Tables for people, what may be claimed last."""
    if not quiet:
        out.print(latencies(found))
        out.print(costs(found))
        for key, value in (*found.options.items(), *found.environment.items()):
            out.print(f"{key}: {value}")
        for note in found.latency.notes:
            out.print(f"note: {note}")
    for comparison in found.latency.comparisons:
        out.print(claim(comparison))


def latencies(found: "Bench") -> Table:
    """Every model at every batch size."""
    table = Table("model", "batch", "p50 ms", "p90 ms", "p99 ms", "items/s", "samples", "p50 / first's (95 %)")
    claims = {(one.model, one.batch): one for one in found.latency.comparisons}
    for timing in found.latency.timings:
        one = claims.get((timing.model, timing.batch))
        ratio = "" if one is None else f"{one.ratio:.3f} ({one.interval.low:.3f} to {one.interval.high:.3f})"
        numbers = (f"{value:.3f}" for value in (timing.p50, timing.p90, timing.p99))
        samples = f"{len(timing.samples)}{'' if timing.stable else ', warm-up unstable'}"
        table.add_row(timing.model, str(timing.batch), *numbers, f"{timing.throughput:,.0f}", samples, ratio)
    return table


def costs(found: "Bench") -> Table:
    """What having each model costs."""
    table = Table("model", "input", "provider", "load ms", "file", "peak memory")
    for model in found.models:
        peak = model.cost.peak_bytes
        table.add_row(
            model.name, model.input, model.provider, f"{model.cost.load_ms:.1f}", size(model.cost.file_bytes),
            "unknown" if peak is None else size(peak),
        )  # fmt: skip
    return table


def claim(one: "Comparison") -> str:
    """What may be said of a model, in a sentence."""
    ratio = f"{share(one.ratio)} of {one.reference}'s p50; {between(one.interval)}"
    return f"{one.model}, batch {one.batch}: {one.verdict} ({ratio})"
