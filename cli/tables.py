"""Tables for people."""

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from seam_onnx.report import Accuracies, Report
from seam_onnx.validate import Accuracy, Comparison, Interval, Latency

__all__ = ["headline", "proof_lines", "report_table"]


def percent(accuracy: Accuracy) -> str:
    """Accuracy with its count."""
    return f"{accuracy.value:.2%} ({accuracy.correct}/{accuracy.total})"


def between(interval: Interval) -> str:
    """A 95 % interval of shares."""
    return f"{interval.low:.1%} to {interval.high:.1%}"


def quantity(number: float) -> str:
    """A count with a unit prefix."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.2f}{unit}"
    return f"{number:.0f}"


def report_table(report: Report) -> Table:
    """Before and after; at most 80 columns wide."""
    table = Table("", "original", "pruned", Column("change", justify="right"), box=SIMPLE_HEAD)
    add_accuracy(table, report.proof.test)
    before, after = report.before, report.after
    for name, a, b in (("parameters", before.params, after.params), ("MACs", before.macs, after.macs)):
        table.add_row(name, quantity(a), quantity(b), f"{b / a:.1%}")
    old, new = before.file_bytes, after.file_bytes
    table.add_row("file", f"{old / 1024:.0f} KiB", f"{new / 1024:.0f} KiB", f"{new / old:.1%}")
    for comparison in report.proof.latency.comparisons:
        add_latency(table, report.proof.latency, comparison)
    return table


def add_accuracy(table: Table, test: Accuracies) -> None:
    """Test accuracies: the original's free answer, and both models on the wanted labels."""
    change = f"{(test.pruned.value - test.restricted.value) * 100:+.2f} points"
    table.add_row("accuracy, free", percent(test.original), "", "")
    table.add_row("accuracy, wanted", percent(test.restricted), percent(test.pruned), change)
    table.add_row("  95 % interval", between(test.restricted.interval), between(test.pruned.interval), "")


def add_latency(table: Table, latency: Latency, comparison: Comparison) -> None:
    """One batch size."""
    old, new = (latency.timing(model, comparison.batch) for model in ("original", "pruned"))
    name = f"latency, batch {comparison.batch}"
    table.add_row(name, f"{old.p50:.3f} ms", f"{new.p50:.3f} ms", f"{comparison.ratio:.1%}")
    table.add_row("  p95", f"{old.p95:.3f} ms", f"{new.p95:.3f} ms", "")
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
        f"search: {search.granularity}, {search.target or 'SeaM'}, recover {search.recover}, "
        f"seed {search.recipe['seed']}, {search.seconds:.0f} s on {search.device}; kept {search.kept:.1%}",
    ]


def what_was_checked(report: Report) -> list[str]:
    """Parity, the test of the difference, and how time was taken."""
    proof = report.proof
    worst = max((parity.relative for parity in proof.surgery), default=0.0)
    timing, difference = proof.latency.timings[0], proof.difference
    return [
        f"parity: {len(proof.surgery)} removals, pruned against masked at most {worst:.1e} of the outputs' range; "
        f"torch against onnxruntime {proof.lowering.relative:.1e}",
        f"test: pruned against restricted original, McNemar p = {difference.p:.3f} ({difference.b} only pruned right, "
        f"{difference.c} only the original); validation accuracy {proof.val.pruned.value:.2%}",
        f"latency: onnxruntime {report.environment.get('onnxruntime', '')}, {timing.provider}, "
        f"{timing.threads} thread{'' if timing.threads == 1 else 's'}, median of interleaved runs",
    ]


def headline(report: Report) -> str:
    """The result in a sentence."""
    test, comparison = report.proof.test, report.proof.latency.comparisons[0]
    change = (test.pruned.value - test.restricted.value) * 100
    return (
        f"{report.output}: {comparison.verdict} ({comparison.ratio:.0%} of the original's p50), "
        f"accuracy {change:+.2f} points against the original restricted to the wanted labels"
    )
