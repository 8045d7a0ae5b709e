"""What gates may ask of each command, and where its figures are found in the results.

A latency without `@batch` is that of the smallest batch measured.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from seam_onnx.bench import Bench, BenchModel
from seam_onnx.gates import Figure, Gate, GateResult, Metric, check
from seam_onnx.report import ModelComparison, Report
from seam_onnx.validate import PARITY_LIMIT, Latency, Paired

__all__ = ["BENCH", "PRUNE", "VALIDATE", "check_bench", "comparison_figures", "latency_figures", "report_figures"]

Figures = dict[str, Figure]

_QUANTILES: Final = ("p50", "p90", "p95", "p99", "mean")
_PAIRED: Final = {
    "accuracy": Metric("share"),
    "accuracy.low": Metric("share"),
    "accuracy.free": Metric("share"),
    "mcnemar.p": Metric("ratio", paired=False),
    "balanced_accuracy": Metric("share"),
    "calibration_error": Metric("share"),
    "agreement": Metric("share", paired=False),
    **{f"{name}.*": Metric("share") for name in ("precision", "recall", "f1")},
}
"""`.*` stands for a label, or `min`: the worst label's."""
_LATENCY: Final = {
    **{f"latency.{name}": Metric("ms", batched=True) for name in _QUANTILES},
    "latency.throughput": Metric("rate", batched=True),
    "latency.ratio": Metric("ratio", paired=False, batched=True),
    "latency.ratio.high": Metric("ratio", paired=False, batched=True),
}
_PARITY: Final = {"parity": Metric("flag"), "parity.relative": Metric("ratio", paired=False)}
VALIDATE: Final[Mapping[str, Metric]] = {**_PAIRED, "size": Metric("bytes"), **_PARITY}
"""Of `validate`."""
BENCH: Final[Mapping[str, Metric]] = {
    **_LATENCY,
    "load": Metric("ms"),
    "memory": Metric("bytes"),
    "size": Metric("bytes"),
}
"""Of `bench`."""
PRUNE: Final[Mapping[str, Metric]] = {
    **_PAIRED,
    **_LATENCY,
    "size": Metric("bytes"),
    "params": Metric("count"),
    "macs": Metric("count"),
    **_PARITY,
}
"""Of `prune`."""


def comparison_figures(found: ModelComparison) -> Figures:
    """Figures of `validate`; parity only where a masked model was given."""
    return {
        **_paired(found.labels, found.paired),
        "size": Figure(found.file_bytes["pruned"], found.file_bytes["original"]),
        **_parity([] if found.parity is None else [found.parity.relative]),
    }


def report_figures(report: Report) -> Figures:
    """Figures of `prune`: on the test split, against the restricted original."""
    proof, before, after = report.proof, report.before, report.after
    return {
        **_paired(report.problem.labels, proof.paired),
        **latency_figures(proof.latency, "pruned", "original"),
        "size": Figure(after.file_bytes, before.file_bytes),
        "params": Figure(after.params, before.params),
        "macs": Figure(after.macs, before.macs),
        **_parity([one.relative for one in proof.surgery]),
    }


def latency_figures(latency: Latency, model: str, reference: str | None) -> Figures:
    """Latencies of one model beside the reference's, each batch size as `@batch` and the smallest also without."""
    figures: Figures = {}
    mine = sorted((t for t in latency.timings if t.model == model), key=lambda timing: -timing.batch)
    for timing in mine:
        base = next((t for t in latency.timings if (t.model, t.batch) == (reference, timing.batch)), None)
        found = {
            f"latency.{name}": Figure(getattr(timing, name), None if base is None else getattr(base, name))
            for name in (*_QUANTILES, "throughput")
        }
        for one in latency.comparisons:
            if (one.model, one.reference, one.batch) == (model, reference, timing.batch):
                found |= {"latency.ratio": Figure(one.ratio), "latency.ratio.high": Figure(one.interval.high)}
        figures |= {f"{name}@{timing.batch}": figure for name, figure in found.items()} | found
    return figures


def check_bench(gates: Iterable[Gate], found: Bench) -> tuple[GateResult, ...]:
    """Every gate for every model but the first, which is the original; for that one where it is alone."""
    gates, (first, *others) = tuple(gates), found.models
    reference = first if others else None
    return tuple(
        result
        for model in others or [first]
        for result in check(gates, _bench_figures(found, model, reference), model.name)
    )


def _bench_figures(found: Bench, model: BenchModel, reference: BenchModel | None) -> Figures:
    """Latencies and costs of one model beside the reference's; what could not be measured is left out."""
    figures = latency_figures(found.latency, model.name, None if reference is None else reference.name)
    for name, key in (("load", "load_ms"), ("size", "file_bytes"), ("memory", "peak_bytes")):
        value = getattr(model.cost, key)
        if value is not None:
            figures[name] = Figure(value, None if reference is None else getattr(reference.cost, key))
    return figures


def _paired(labels: tuple[str, ...], found: Paired) -> Figures:
    pruned, original = found.pruned, found.original
    return {
        "accuracy": Figure(pruned.accuracy.value, original.accuracy.value),
        "accuracy.low": Figure(pruned.accuracy.interval.low, original.accuracy.value),
        "accuracy.free": Figure(pruned.accuracy.value, found.free.value),
        "mcnemar.p": Figure(found.difference.p),
        "balanced_accuracy": Figure(pruned.balanced, original.balanced),
        "calibration_error": Figure(pruned.calibration_error, original.calibration_error),
        "agreement": Figure(found.agreement.value),
        **_per_label(labels, found),
    }


def _per_label(labels: tuple[str, ...], found: Paired) -> Figures:
    """precision, recall and f1 of each label, and of the worst as `min`; what is 0 / 0 is left out."""
    figures: Figures = {}
    for name in ("precision", "recall", "f1"):
        rows = zip(found.pruned.labels, found.original.labels, strict=True)
        values = [(getattr(a, name), getattr(b, name)) for a, b in rows]
        known = {label: Figure(*pair) for label, pair in zip(labels, values, strict=True) if pair[0] is not None}
        figures |= {f"{name}.{label}": figure for label, figure in known.items()}
        others = [pair[1] for pair in values if pair[1] is not None]
        if len(known) == len(labels):
            worst = min(figure.value for figure in known.values())
            figures[f"{name}.min"] = Figure(worst, min(others) if len(others) == len(labels) else None)
    return figures


def _parity(relative: list[float]) -> Figures:
    """Nothing where nothing was compared."""
    if not relative:
        return {}
    worst = max(relative)
    return {"parity": Figure(float(worst <= PARITY_LIMIT)), "parity.relative": Figure(worst)}
