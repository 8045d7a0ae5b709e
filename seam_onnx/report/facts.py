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

__all__ = [
    "batches",
    "checks",
    "kept_of",
    "missed",
    "notes",
    "rounding",
    "rows",
    "seed_rows",
    "sentence",
    "speed",
    "tiles",
    "timing",
    "weights",
]


HELD = 4
"""Names of tensors that a line has room for."""


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
        "latency": "milliseconds of its layers" if report.search.recipe.get("price") == "latency" else "multiply-adds",
        "max-drop": "multiply-adds",
    }.get(name, name) or "mask elements"


def speed(report: Report) -> str:
    """How fast the pruned model is at the smallest batch size, and no claim that the interval does not allow."""
    for one in report.proof.latency.comparisons[:1]:
        claim = {"faster": "faster", "slower": "slower"}.get(one.verdict, "not measurably faster")
        return f"{claim} ({share(one.ratio, 0)} of the original's p50)"
    return "not timed"


def missed(report: Report) -> str:
    """That the target was missed, and what is delivered instead; empty where it was met."""
    search = report.search
    return "" if search.met else f"target {search.target} was not reached: {search.unmet}"


def sentence(report: Report) -> str:
    """The result in a sentence, which claims no more than the intervals allow."""
    test, failed = report.proof.test, missed(report)
    lead = f"{failed[0].upper()}{failed[1:]}. " if failed else ""
    return (
        f"{lead}Latency: {speed(report)}. Accuracy: {points(test.pruned, test.restricted)} against the original restricted "
        f"to the wanted labels, McNemar {chance(report.proof.difference.p)}."
    )


def rounding(report: Report) -> str:
    """To what widths were rounded, why, and what that did."""
    search, parts = report.search, []
    name, _, asked = search.target.partition("=")
    if search.rounding.spare:
        parts.append(f"{search.rounding.spare} channels that could go stay for that")
    if search.met and name in ("macs", "params") and search.kept < 0.995 * float(asked):
        parts.append(f"{share(search.kept)} of the {kept_of(report)} are left where {share(float(asked))} were allowed")
    said = f"multiples of {search.rounding.step} ({search.rounding.why})" if search.rounding.step > 1 else "any"
    return "; ".join((said, *parts))


def weights(report: Report) -> str:
    """How many tensors were changed, were held, or are gone; those held by name, as far as there is room."""
    found = report.weights
    some = ", ".join(found.held[:HELD]) + (", ..." if len(found.held) > HELD else "")
    held = f"{len(found.held)} held as in the original{f' ({some})' if some else ''}"
    written = "; shortcuts of Slice and Pad are convolutions now" if report.search.convolved else ""
    return f"{len(found.changed)} tensors trained or refitted, {held}, {len(found.gone)} gone{written}"


def seed_rows(report: Report) -> list[tuple[str, ...]]:
    """Seed, accuracy on validation, kept, search time: of each search, then their mean and standard deviation."""
    runs, spread = report.search.runs, report.search.spread
    if len(runs) < 2:
        return []
    lines = [
        (f"{run.seed}{', delivered' if run.chosen else ''}{'' if run.met else ', target missed'}",
         share(run.accuracy, 2), share(run.kept), f"{run.seconds:.0f} s")
        for run in runs
    ]  # fmt: skip
    a, k, t = (spread[name] for name in ("accuracy", "kept", "seconds"))
    mean = ("mean", share(a.mean, 2), share(k.mean), f"{t.mean:.0f} s")
    deviation = ("standard deviation", f"{100 * a.deviation:.2f} points", f"{100 * k.deviation:.1f} points",
                 f"{t.deviation:.0f} s")  # fmt: skip
    return [*lines, mean, deviation]


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
