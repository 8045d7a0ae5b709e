"""Tables for people."""

from rich.table import Table

from seam_onnx.report import Report
from seam_onnx.validate import Accuracy

__all__ = ["headline", "proof_lines", "report_table"]


def percent(accuracy: Accuracy) -> str:
    """Accuracy with its count and 95 % Wilson interval."""
    low, high = accuracy.interval.low, accuracy.interval.high
    return f"{accuracy.value:.2%} ({accuracy.correct}/{accuracy.total}; {low:.1%} to {high:.1%})"


def quantity(number: float) -> str:
    """A count with a unit prefix."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.2f}{unit}"
    return f"{number:.0f}"


def report_table(report: Report) -> Table:
    """Before and after."""
    table = Table(title=f"{report.problem.model} → {report.output}", title_justify="left")
    table.add_column("")
    table.add_column("original")
    table.add_column("pruned")
    table.add_column("ratio", justify="right")
    test, before, after = report.proof.test, report.before, report.after
    table.add_row("accuracy, free", percent(test.original), "")
    table.add_row("accuracy, wanted labels", percent(test.restricted), percent(test.pruned))
    for name, a, b in (("parameters", before.params, after.params), ("MACs", before.macs, after.macs)):
        table.add_row(name, quantity(a), quantity(b), f"{b / a:.1%}")
    table.add_row(
        "file",
        f"{before.file_bytes / 1024:.0f} KiB",
        f"{after.file_bytes / 1024:.0f} KiB",
        f"{after.file_bytes / before.file_bytes:.1%}",
    )
    for comparison in report.proof.latency.comparisons:
        a, b = (report.proof.latency.timing(m, comparison.batch) for m in ("original", "pruned"))
        label = f"latency, batch {comparison.batch} (p50 / p95)"
        interval = f"{comparison.interval.low:.1%} to {comparison.interval.high:.1%}"
        shown = f"{comparison.ratio:.1%} ({interval}): {comparison.verdict}"
        table.add_row(label, f"{a.p50:.3f} / {a.p95:.3f} ms", f"{b.p50:.3f} / {b.p95:.3f} ms", shown)
    return table


def proof_lines(report: Report) -> list[str]:
    """What stands behind the table, one line each."""
    proof, problem, search = report.proof, report.problem, report.search
    worst = max((p.relative for p in proof.surgery), default=0.0)
    timing = proof.latency.timings[0]
    lines = [
        f"labels: {', '.join(problem.labels)}; data: {problem.samples['train']} train, {problem.samples['val']} validation, "
        f"{problem.samples['test']} test; input: {problem.preprocess}",
        f"search: {search.granularity}, {search.target or 'SeaM'}, recover {search.recover}, {search.seconds:.0f} s on {search.device}, "
        f"seed {search.recipe['seed']}; kept {search.kept:.1%}",
        f"parity: {len(proof.surgery)} removals, pruned against masked at most {worst:.1e} of the outputs' range; "
        f"torch against onnxruntime {proof.lowering.relative:.1e}",
        f"test: pruned against restricted original, McNemar p = {proof.difference.p:.3f} "
        f"({proof.difference.b} only pruned right, {proof.difference.c} only the original); validation accuracy {proof.val.pruned.value:.2%}",
        f"latency: onnxruntime {report.environment.get('onnxruntime', '')}, {timing.provider}, {timing.threads} thread, interleaved runs",
    ]
    return lines + [f"note: {note}" for note in (*problem.notes, *proof.latency.notes)]


def headline(report: Report) -> str:
    """The result in a sentence."""
    test, comparison = report.proof.test, report.proof.latency.comparisons[0]
    change = (test.pruned.value - test.restricted.value) * 100
    return (
        f"{report.output}: {comparison.verdict} ({comparison.ratio:.0%} of the original's p50), "
        f"accuracy {change:+.2f} points against the original restricted to the wanted labels"
    )
