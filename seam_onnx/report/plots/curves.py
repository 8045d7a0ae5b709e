"""Figures of what has a course: widths along the network, training by epochs, latencies by their quantiles."""

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from seam_onnx.report.facts import batches, kept_of
from seam_onnx.report.plots.canvas import COLOURS, legend
from seam_onnx.report.schema import Report
from seam_onnx.validate import Timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["latency", "training", "widths"]

_QUANTILES: Final = 200


def widths(figure: "Figure", report: Report) -> None:
    """Channels along the network: one filled outline for each model, however deep it is."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    edges = np.arange(len(report.widths) + 1) + 0.5
    for k, model in enumerate(("original", "pruned")):
        values = [pair[k] for pair in report.widths.values()]
        axes.stairs(values, edges, fill=True, color=COLOURS[model], alpha=(0.35, 0.9)[k], label=model)
    widest = max((max(pair) for pair in report.widths.values()), default=1)
    narrowest = min((max(pair) for pair in report.widths.values()), default=1)
    if widest > 32 * max(narrowest, 1):
        axes.set_yscale("symlog", base=2, linthresh=8)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="layer, in the network's order", ylabel="channels", xlim=(0.5, len(report.widths) + 0.5))
    legend(axes)


def training(figure: "Figure", report: Report) -> None:
    """Loss, accuracy and kept ratio over the passes through the data; grey is the search, white the recovery."""
    panels = figure.subplots(3, 1, sharex=True)
    curve = report.search.curve
    epochs = [point.epoch for point in curve]
    lines: tuple[tuple[int, str, list[float], str], ...] = (
        (0, "loss", [point.loss for point in curve], COLOURS["pruned"]),
        (1, "training", [100 * point.train for point in curve], COLOURS["original"]),
        (1, "validation", [100 * point.val for point in curve], COLOURS["pruned"]),
        (2, "kept", [100 * point.kept for point in curve], COLOURS["pruned"]),
    )
    marker = "o" if len(curve) <= 40 else ""
    for row, name, values, colour in lines:
        known = [(x, y) for x, y in zip(epochs, values, strict=True) if math.isfinite(y)]
        if known:
            panels[row].plot(*zip(*known, strict=True), color=colour, label=name, marker=marker, markersize=3)
    searched = [point.epoch for point in curve if point.stage == "search"]
    for panel, label in zip(panels, ("loss", "accuracy (%)", f"kept (%)\n{kept_of(report)}"), strict=True):
        panel.set_ylabel(label)
        if searched:
            panel.axvspan(0, searched[-1], color="#f1f3f6", zorder=0, linewidth=0)
    panels[1].legend(loc="lower right")
    panels[2].set_ylim(bottom=0)
    panels[2].set(xlabel="epoch", xlim=(0, max(epochs)) if max(epochs) > 0 else None)


def latency(figure: "Figure", report: Report) -> None:
    """Share of calls at most so long, a panel for each batch size; the medians are dotted."""
    sizes = batches(report)
    panels = figure.subplots(len(sizes), 1, squeeze=False)[:, 0]
    for panel, batch in zip(panels, sizes, strict=True):
        found = [one for one in report.proof.latency.timings if one.batch == batch and one.model in COLOURS]
        for one in found:
            _distribution(panel, one)
        _time_axis(panel, found)
        panel.set(ylabel="samples (%)", ylim=(0, 100))
        panel.set_title(f"batch {batch}", loc="right", fontsize=9)
    legend(panels[0])
    panels[-1].set_xlabel("latency (ms)")


def _distribution(axes: "Axes", one: Timing) -> None:
    at = np.linspace(0, 1, min(_QUANTILES, len(one.samples)) + 1)
    axes.plot(np.quantile(one.samples, at), 100 * at, color=COLOURS[one.model], label=one.model)
    axes.axvline(one.p50, color=COLOURS[one.model], linestyle=":", linewidth=1)


def _time_axis(axes: "Axes", found: list[Timing]) -> None:
    """Up to the slower model's p99; logarithmic where the tail is long."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = min(min(one.samples) for one in found), max(one.p99 for one in found)
    if high > 3 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if high > low:
        axes.set_xlim(0.95 * low, 1.02 * high)
