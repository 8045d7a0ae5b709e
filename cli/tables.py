"""Tables for people."""

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from seam_onnx.report import Accuracies, Report
from seam_onnx.report.facts import missed, rounding, seed_rows, speed, weights
from seam_onnx.validate import Comparison, Latency
from seam_onnx.words import (
    between,
    counted,
    mcnemar,
    milliseconds,
    points,
    quantity,
    ratio,
    share,
    size,
    sparsity,
    threads,
)

__all__ = ["headline", "proof_lines", "report_table", "seeds_table"]


def report_table(report: Report) -> Table:
    """Before and after; at most 80 columns wide."""
    table = Table("", "original", "pruned", Column("change", justify="right"), box=SIMPLE_HEAD)
    add_accuracy(table, report.proof.test)
    before, after = report.before, report.after
    for name, a, b in (("parameters", before.params, after.params), ("MACs", before.macs, after.macs)):
        table.add_row(name, quantity(a), quantity(b), ratio(b, a))
    old, new = before.file_bytes, after.file_bytes
    table.add_row("file", size(old), size(new), ratio(new, old))
    for comparison in report.proof.latency.comparisons:
        add_latency(table, report.proof.latency, comparison)
    return table


def add_accuracy(table: Table, test: Accuracies) -> None:
    """Test accuracies: the original's free answer, and both models on the wanted labels."""
    change = points(test.pruned, test.restricted)
    table.add_row("accuracy, free", counted(test.original), "", "")
    table.add_row("accuracy, wanted", counted(test.restricted), counted(test.pruned), change)
    table.add_row("  95 % interval", between(test.restricted.interval), between(test.pruned.interval), "")


def add_latency(table: Table, latency: Latency, comparison: Comparison) -> None:
    """One batch size."""
    old, new = (latency.timing(model, comparison.batch) for model in ("original", "pruned"))
    name = f"latency, batch {comparison.batch}"
    table.add_row(name, milliseconds(old.p50), milliseconds(new.p50), share(comparison.ratio))
    table.add_row("  p95", milliseconds(old.p95), milliseconds(new.p95), "")
    table.add_row("  95 % interval", "", comparison.verdict, between(comparison.interval))


def proof_lines(report: Report) -> list[str]:
    """What stands behind the table, one line each."""
    notes = (*report.problem.notes, *report.proof.latency.notes)
    return [*what_was_done(report), *what_was_checked(report), *(f"note: {note}" for note in notes)]


def what_was_done(report: Report) -> list[str]:
    """Data and search."""
    problem, search = report.problem, report.search
    samples = problem.samples
    return [
        f"labels: {', '.join(problem.labels)} of {problem.model}",
        f"data: {samples['train']} train, {samples['val']} validation, {samples['test']} test; {problem.preprocess}",
        f"search: {search.granularity}, {search.target or search.recipe.get('schedule', '')}, recover {search.recover}, "
        f"seed {search.recipe['seed']}, {search.seconds:.0f} s on {search.device}, {search.engine}; kept {search.kept:.1%}",
        f"widths: {rounding(report)}",
        f"weights: {weights(report)}",
    ]


def what_was_checked(report: Report) -> list[str]:
    """Parity, the test of the difference, and how time was taken."""
    proof = report.proof
    worst = max((parity.relative for parity in proof.surgery), default=0.0)
    timing = proof.latency.timings[0]
    return [
        f"parity: {len(proof.surgery)} removals, pruned against masked at most {worst:.1e} of the outputs' range; "
        f"torch against onnxruntime {proof.lowering.relative:.1e}",
        f"test: {mcnemar(proof.difference)}; agreement {share(proof.paired.agreement.value, 2)}, "
        f"calibration error {share(proof.paired.original.calibration_error)} to "
        f"{share(proof.paired.pruned.calibration_error)}; validation accuracy {share(proof.val.pruned.value, 2)}",
        *([f"sparsity: {sparsity(report.sparsity)}"] if report.sparsity else []),
        f"latency: onnxruntime {report.environment.get('onnxruntime', '')}, {timing.provider}, "
        f"{threads(timing.threads)}, median of interleaved runs, {timing.openings} sessions of each model",
    ]


def seeds_table(report: Report) -> Table | None:
    """What each search came to; None where there was one."""
    rows = seed_rows(report)
    if not rows:
        return None
    table = Table("seed", "accuracy, validation", "kept", "search time", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    return table


def headline(report: Report) -> str:
    """The result in a sentence."""
    test, failed = report.proof.test, missed(report)
    return (
        f"{report.output}: {speed(report)}, accuracy {points(test.pruned, test.restricted)} against the original restricted "
        f"to the wanted labels{f'; {failed}' if failed else ''}"
    )
