"""What a page and a card both say of a prune, in words and rounded figures; nothing here is marked up."""

from seam_onnx.report.labels import accuracy_tile, paired_rows
from seam_onnx.report.parts import Row, Tile
from seam_onnx.report.schema import Report
from seam_onnx.validate import Timing
from seam_onnx.words import (
    accuracy,
    between,
    chance,
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

__all__ = ["batches", "checks", "kept_of", "notes", "rows", "sentence", "tiles", "timing"]


def timing(report: Report, model: str, batch: int) -> Timing | None:
    """How fast 'original' or 'pruned' was at a batch size, if it was measured there."""
    found = (one for one in report.proof.latency.timings if (one.model, one.batch) == (model, batch))
    return next(found, None)


def batches(report: Report) -> list[int]:
    """Batch sizes at which anything was timed."""
    return sorted({one.batch for one in report.proof.latency.timings})


def kept_of(report: Report) -> str:
    """What the kept ratio is a share of."""
    name = report.search.target.partition("=")[0]
    return {
        "macs": "multiply-adds",
        "params": "parameters",
        "latency": "multiply-adds",
        "max-drop": "multiply-adds",
    }.get(name, name) or "mask elements"


def sentence(report: Report) -> str:
    """The result in a sentence, which claims no more than the intervals allow."""
    compared = report.proof.latency.comparisons
    speed = f"{compared[0].verdict} ({share(compared[0].ratio, 0)} of the original's p50)" if compared else "not timed"
    test = report.proof.test
    missed = (
        ""
        if report.search.met
        else f"The target {report.search.target} was not reached; this is the best that was found. "
    )
    return (
        f"{missed}Latency: {speed}. Accuracy: {points(test.pruned, test.restricted)} against the original restricted to the "
        f"wanted labels, McNemar {chance(report.proof.difference.p)}."
    )


def tiles(report: Report) -> list[Tile]:
    """The headline: accuracy, latency, size, kept ratio."""
    old, new = report.before.file_bytes, report.after.file_bytes
    return [
        accuracy_tile(report.proof.paired, "accuracy on test"),
        *latency_tile(report),
        Tile("file", size(new), (f"{ratio(new, old)} of {size(old)}",)),
        Tile("kept", share(report.search.kept), (f"of the {kept_of(report)}", "exact, no interval")),
    ]


def latency_tile(report: Report) -> list[Tile]:
    """Latency at the smallest batch size at which both models were timed."""
    for one in report.proof.latency.comparisons[:1]:
        new, old = (timing(report, model, one.batch) for model in (one.model, one.reference))
        if new and old:
            change = f"{share(one.ratio)} of {milliseconds(old.p50)}: {one.verdict}"
            name = f"latency, p50, batch {one.batch}"
            return [Tile(name, milliseconds(new.p50), (change, f"95 % interval {between(one.interval)}"))]
    return []


def rows(report: Report) -> list[Row]:
    """Before and after."""
    before, after = report.before, report.after
    costs = (("parameters", before.params, after.params), ("multiply-adds", before.macs, after.macs))
    return [
        *accuracy_rows(report),
        *(Row(name, quantity(old), quantity(new), ratio(new, old)) for name, old, new in costs),
        Row("nodes", str(before.nodes), str(after.nodes), ratio(after.nodes, before.nodes)),
        Row("file", size(before.file_bytes), size(after.file_bytes), ratio(after.file_bytes, before.file_bytes)),
        *latency_rows(report),
    ]


def accuracy_rows(report: Report) -> list[Row]:
    """Test, the original's free answer, what the labels come to, and validation."""
    test, val = report.proof.test, report.proof.val
    return [
        Row("accuracy, test", accuracy(test.restricted), accuracy(test.pruned), points(test.pruned, test.restricted)),
        Row("accuracy, test, any class", accuracy(test.original), ""),
        *paired_rows(report.proof.paired),
        Row("accuracy, validation", accuracy(val.restricted), accuracy(val.pruned)),
    ]


def latency_rows(report: Report) -> list[Row]:
    """Quantiles at every batch size."""
    compared = {one.batch: one for one in report.proof.latency.comparisons}
    found = []
    for batch in batches(report):
        old, new = (timing(report, model, batch) for model in ("original", "pruned"))
        for name in ("p50", "p90", "p99"):
            one = compared.get(batch) if name == "p50" else None
            change = f"{share(one.ratio)} ({between(one.interval)}), {one.verdict}" if one else ""
            found.append(Row(f"latency, batch {batch}, {name}", quantile(old, name), quantile(new, name), change))
    return found


def quantile(found: Timing | None, name: str) -> str:
    """One of its quantiles, or that there is none."""
    return "not measured" if found is None else milliseconds(getattr(found, name))


def checks(report: Report) -> list[str]:
    """What was checked, one sentence each."""
    proof = report.proof
    worst = max((parity.relative for parity in proof.surgery), default=0.0)
    return [
        f"Parity: {len(proof.surgery)} removals, pruned against masked at most {worst:.1e} of the outputs' range.",
        f"Lowering: torch against onnxruntime {proof.lowering.relative:.1e} of the outputs' range.",
        f"Test: {mcnemar(proof.difference)}.",
        *([f"Sparsity: {sparsity(report.sparsity)}."] if report.sparsity else []),
        *(
            f"Latency, batch {t.batch}, {t.model}: {len(t.samples)} interleaved samples, each the mean of {t.loops}, "
            f"model opened {t.openings} times, {t.provider}, {threads(t.threads)}, "
            f"warm-up {'stable' if t.stable else 'not stable'} after {t.warmup_calls} calls."
            for t in proof.latency.timings
        ),
    ]


def notes(report: Report) -> list[str]:
    """What a reader of the figures has to know."""
    return [
        "Accuracies of the original are of its answer restricted to the wanted labels, unless a line says any class.",
        "The test split was read once, after all choices; intervals are 95 %: Wilson's for accuracies, for latencies "
        "Student's t over the openings.",
        *report.problem.notes,
        *report.proof.latency.notes,
    ]
