"""Figures of accuracy against cost: what was measured at the end, and what the search looked at on the way."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from seam_onnx.report.facts import batches, timing
from seam_onnx.report.plots.canvas import COLOURS, legend
from seam_onnx.report.schema import Report
from seam_onnx.validate import medians, ratio_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier", "measured", "visited"]

Spot = tuple[float, float]
"""Cost, accuracy in per cent."""

_MARKS: Final[dict[str, dict[str, Any]]] = {
    "original, any class": {"color": COLOURS["original"], "markerfacecolor": "none", "markersize": 11},
    "original, restricted": {"color": COLOURS["original"], "markersize": 6},
    "pruned": {"color": COLOURS["pruned"], "markersize": 6},
}


def measured(figure: "Figure", report: Report) -> None:
    """Accuracy on test against p50 at the smallest batch size, both with 95 % intervals."""
    axes = figure.subplots()
    test, batch = report.proof.test, batches(report)[0]
    slowest = 0.0
    accuracies = (test.original, test.restricted, test.pruned)
    for (name, mark), found in zip(_MARKS.items(), accuracies, strict=True):
        one = timing(report, name.partition(",")[0], batch)
        if one is None:
            continue
        around = ratio_interval(medians(one))
        right = min(around.high, 2 * one.p50)  # one opening alone tells nothing: to infinity
        value, share = one.p50, 100 * found.value
        axes.errorbar(
            [value], [share], xerr=[[max(0.0, value - around.low)], [max(0.0, right - value)]],
            yerr=[[share - 100 * found.interval.low], [100 * found.interval.high - share]],
            fmt="o", capsize=3, label=name, clip_on=False, **mark,
        )  # fmt: skip
        slowest = max(slowest, right)
    axes.set_xlim(0, 1.15 * slowest or 1)
    axes.set(xlabel=f"latency, p50, batch {batch} (ms)", ylabel="accuracy on test (%)")
    legend(axes)


def visited(figure: "Figure", report: Report) -> None:
    """Accuracy on validation against latency, or multiply-adds where a point has none, and the frontier."""
    axes = figure.subplots()
    by_latency = all(point.latency_ms is not None for point in report.pareto) and bool(batches(report))
    spots = [
        ((point.latency_ms or 0.0) if by_latency else point.macs, 100 * point.val_accuracy) for point in report.pareto
    ]
    axes.plot(*zip(*spots, strict=True), "o", color=COLOURS["visited"], markersize=4, label="visited", alpha=0.7)
    edge = frontier(spots)
    axes.step(*zip(*edge, strict=True), where="post", color=COLOURS["visited"], linewidth=1, label="best so far")
    chosen = [spot for spot, point in zip(spots, report.pareto, strict=True) if point.chosen]
    if chosen:
        ring: dict[str, Any] = {"markerfacecolor": "none", "markersize": 11, "color": COLOURS["pruned"]}
        axes.plot(*zip(*chosen, strict=True), "o", label="chosen", **ring)
    _models(axes, report, by_latency)
    axes.set_xlim(left=0)
    cost = f"latency, p50, batch {batches(report)[0]} (ms)" if by_latency else "multiply-adds, of the original's"
    axes.set(xlabel=cost, ylabel="accuracy on validation (%)")
    legend(axes)


def frontier(spots: Iterable[Spot]) -> list[Spot]:
    """Those than which none is both cheaper and better, from the cheapest on."""
    best: list[Spot] = []
    for cost, accuracy in sorted(spots, key=lambda spot: (spot[0], -spot[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


def _models(axes: "Axes", report: Report, by_latency: bool) -> None:
    """The original and the pruned model, as they are at the end."""
    val = report.proof.val
    ratios = {"original": 1.0, "pruned": report.after.macs / report.before.macs if report.before.macs else 1.0}
    for (name, mark), found in zip(_MARKS.items(), (val.original, val.restricted, val.pruned), strict=True):
        model = name.partition(",")[0]
        one = timing(report, model, batches(report)[0]) if by_latency else None
        if one is not None or not by_latency:
            cost = ratios[model] if one is None else one.p50
            axes.plot([cost], [100 * found.value], "o", clip_on=False, label=name, **mark)
