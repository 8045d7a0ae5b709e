"""What a page and a card both say of a report, in words and rounded figures; nothing here is marked up."""

from dataclasses import dataclass

from seam_onnx.report.schema import Report
from seam_onnx.validate import Accuracy, Interval, Timing

__all__ = [
    "Row",
    "Tile",
    "accuracy",
    "batches",
    "checks",
    "kept_of",
    "notes",
    "rows",
    "sentence",
    "threads",
    "tiles",
    "timing",
]


@dataclass(frozen=True)
class Tile:
    """One figure of the headline."""

    name: str
    """What it is."""
    figure: str
    """The pruned model's."""
    details: tuple[str, ...]
    """Its interval, and the original's."""


@dataclass(frozen=True)
class Row:
    """One line of before and after."""

    name: str
    """What it is."""
    original: str
    """The original's figure."""
    pruned: str
    """The pruned model's."""
    change: str = ""
    """Ratio or difference, with its interval where there is one."""


def share(value: float, digits: int = 1) -> str:
    """A share in per cent."""
    return f"{value:.{digits}%}"


def between(interval: Interval) -> str:
    """A 95 % interval of shares."""
    return f"{share(interval.low)} to {share(interval.high)}"


def accuracy(found: Accuracy) -> str:
    """An accuracy with its count and interval."""
    return f"{share(found.value, 2)} ({found.correct} of {found.total}; {between(found.interval)})"


def quantity(number: float) -> str:
    """A count with a unit prefix."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.2f}{unit}"
    return f"{number:.0f}"


def size(count: float) -> str:
    """Bytes on disk."""
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


def milliseconds(value: float) -> str:
    """A latency to three figures or so."""
    return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"


def ratio(new: float, old: float) -> str:
    """What stays of a cost; empty where there was none."""
    return share(new / old) if old else ""


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
    return {"macs": "multiply-adds", "params": "parameters"}.get(name, name) or "mask elements"


def points(report: Report) -> float:
    """Accuracy gained on test against the restricted original, in percentage points."""
    test = report.proof.test
    return (test.pruned.value - test.restricted.value) * 100


def sentence(report: Report) -> str:
    """The result in a sentence, which claims no more than the intervals allow."""
    compared = report.proof.latency.comparisons
    speed = f"{compared[0].verdict} ({share(compared[0].ratio, 0)} of the original's p50)" if compared else "not timed"
    return (
        f"Latency: {speed}. Accuracy: {points(report):+.2f} points against the original restricted to the wanted "
        f"labels, McNemar p = {report.proof.difference.p:.3f}."
    )


def tiles(report: Report) -> list[Tile]:
    """The headline: accuracy, latency, size, kept ratio."""
    test = report.proof.test
    old, new = report.before.file_bytes, report.after.file_bytes
    return [
        Tile(
            "accuracy on test", share(test.pruned.value, 2),
            (f"95 % interval {between(test.pruned.interval)}", f"original {share(test.restricted.value, 2)}"),
        ),
        *latency_tile(report),
        Tile("file", size(new), (f"{ratio(new, old)} of {size(old)}",)),
        Tile("kept", share(report.search.kept), (f"of the {kept_of(report)}", "exact, no interval")),
    ]  # fmt: skip


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
    """Test and validation, and the original's free answer."""
    test, val = report.proof.test, report.proof.val
    return [
        Row("accuracy, test", accuracy(test.restricted), accuracy(test.pruned), f"{points(report):+.2f} points"),
        Row("accuracy, test, any class", accuracy(test.original), ""),
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


def threads(one: Timing) -> str:
    """Threads within one operator."""
    return {0: "all threads", 1: "1 thread"}.get(one.threads, f"{one.threads} threads")


def quantile(found: Timing | None, name: str) -> str:
    """One of its quantiles, or that there is none."""
    return "not measured" if found is None else milliseconds(getattr(found, name))


def checks(report: Report) -> list[str]:
    """What was checked, one sentence each."""
    proof = report.proof
    worst = max((parity.relative for parity in proof.surgery), default=0.0)
    one = proof.difference
    kind = "exact" if one.exact else "chi-square"
    return [
        f"Parity: {len(proof.surgery)} removals, pruned against masked at most {worst:.1e} of the outputs' range.",
        f"Lowering: torch against onnxruntime {proof.lowering.relative:.1e} of the outputs' range.",
        f"Test: McNemar p = {one.p:.3f} ({kind}); {one.b} only the pruned model got right, {one.c} only the original.",
        *(
            f"Latency, batch {t.batch}, {t.model}: {len(t.samples)} interleaved samples, each the mean of {t.loops}, "
            f"{t.provider}, {threads(t)}, "
            f"warm-up {'stable' if t.stable else 'not stable'} after {t.warmup_calls} calls."
            for t in proof.latency.timings
        ),
    ]


def notes(report: Report) -> list[str]:
    """What a reader of the figures has to know."""
    return [
        "Accuracies of the original are of its answer restricted to the wanted labels, unless a line says any class.",
        "The test split was read once, after all choices; intervals are 95 % (Wilson; bootstrap for latency).",
        *report.problem.notes,
        *report.proof.latency.notes,
    ]
