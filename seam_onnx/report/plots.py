"""Figures of a report as SVG text, to stand inline in a page; the only place that knows matplotlib.

The same report gives the same text: ids are salted by the figure's name, and no date is written. The names of
labels and layers are not drawn, so that nothing foreign gets into a figure.
"""

import io
import math
import re
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from seam_onnx.errors import UsageError
from seam_onnx.report.facts import batches, kept_of, timing
from seam_onnx.report.schema import Report
from seam_onnx.validate import Timing, bootstrap_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "require_matplotlib"]

_WIDTH: Final = 4.6
"""Inches: at a phone's width the text stays near its size."""
_COLOURS: Final = {"original": "#7a8699", "pruned": "#0b6bcb"}
_QUANTILES: Final = 200
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ee",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa3b0",
    "legend.frameon": False,
    "text.parse_math": False,
}


def require_matplotlib() -> None:
    """Refuse early what could not be drawn later.

    Raises:
        UsageError: matplotlib is not installed, or cannot be imported.
    """
    try:
        import_module("matplotlib.backends.backend_svg")
    except ImportError as error:
        why = "needs matplotlib, which cannot be imported"
        raise UsageError("the HTML report", why, "install it: pip install 'seam-onnx[report]'") from error


def figures(report: Report) -> dict[str, str]:
    """SVG by the figure's name: 'tradeoff' and 'latency' if that was measured, 'widths', 'training' if any.

    Takes about a second.

    Raises:
        UsageError: as for `require_matplotlib`.
    """
    require_matplotlib()
    drawn = {}
    if batches(report):
        height = 1.2 + 1.9 * len(batches(report))
        drawn["tradeoff"] = _svg("tradeoff", 3.2, lambda figure: _tradeoff(figure, report))
        drawn["latency"] = _svg("latency", height, lambda figure: _latency(figure, report))
    drawn["widths"] = _svg("widths", 3.0, lambda figure: _widths(figure, report))
    if report.search.curve:
        drawn["training"] = _svg("training", 5.2, lambda figure: _training(figure, report))
    return drawn


def _svg(name: str, height: float, draw: Callable[["Figure"], None]) -> str:
    """An <svg> element; ids carry the figure's name, as several figures share one page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"seam-onnx {name}"}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>\s*", "", svg, flags=re.DOTALL)  # would reach all of the page
    prefixed = re.sub("<[^>]+>", lambda tag: re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag.group()), svg)
    return prefixed.strip()


def _tradeoff(figure: "Figure", report: Report) -> None:
    """Accuracy on test against p50 at the smallest batch size, both with 95 % intervals."""
    axes = figure.subplots()
    test, seed, batch = report.proof.test, report.proof.latency.seed, batches(report)[0]
    slowest = 0.0
    for model, found in (("original", test.restricted), ("pruned", test.pruned)):
        one = timing(report, model, batch)
        if one is None:
            continue
        around = bootstrap_ratio(one.samples, np.ones(len(one.samples)).tolist(), seed=seed)
        value, share = one.p50, 100 * found.value
        axes.errorbar(
            [value], [share],
            xerr=[[max(0.0, value - around.low)], [max(0.0, around.high - value)]],
            yerr=[[share - 100 * found.interval.low], [100 * found.interval.high - share]],
            fmt="o", color=_COLOURS[model], capsize=3, label=model, markersize=7, clip_on=False,
        )  # fmt: skip
        slowest = max(slowest, around.high)
    axes.set_xlim(0, 1.15 * slowest or 1)
    axes.set(xlabel=f"latency, p50, batch {batch} (ms)", ylabel="accuracy on test (%)")
    _legend(axes)


def _widths(figure: "Figure", report: Report) -> None:
    """Channels along the network: one filled outline for each model, however deep it is."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    edges = np.arange(len(report.widths) + 1) + 0.5
    for k, model in enumerate(("original", "pruned")):
        values = [pair[k] for pair in report.widths.values()]
        axes.stairs(values, edges, fill=True, color=_COLOURS[model], alpha=(0.35, 0.9)[k], label=model)
    widest = max((max(pair) for pair in report.widths.values()), default=1)
    narrowest = min((max(pair) for pair in report.widths.values()), default=1)
    if widest > 32 * max(narrowest, 1):
        axes.set_yscale("symlog", base=2, linthresh=8)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="layer, in the network's order", ylabel="channels", xlim=(0.5, len(report.widths) + 0.5))
    _legend(axes)


def _training(figure: "Figure", report: Report) -> None:
    """Loss, accuracy and kept ratio over the passes through the data; grey is the search, white the recovery."""
    panels = figure.subplots(3, 1, sharex=True)
    curve = report.search.curve
    epochs = [point.epoch for point in curve]
    lines: tuple[tuple[int, str, list[float], str], ...] = (
        (0, "loss", [point.loss for point in curve], _COLOURS["pruned"]),
        (1, "training", [100 * point.train for point in curve], _COLOURS["original"]),
        (1, "validation", [100 * point.val for point in curve], _COLOURS["pruned"]),
        (2, "kept", [100 * point.kept for point in curve], _COLOURS["pruned"]),
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


def _latency(figure: "Figure", report: Report) -> None:
    """Share of calls at most so long, a panel for each batch size; the medians are dotted."""
    sizes = batches(report)
    panels = figure.subplots(len(sizes), 1, squeeze=False)[:, 0]
    for panel, batch in zip(panels, sizes, strict=True):
        found = [one for one in report.proof.latency.timings if one.batch == batch and one.model in _COLOURS]
        for one in found:
            _distribution(panel, one)
        _time_axis(panel, found)
        panel.set(ylabel="samples (%)", title=f"batch {batch}", ylim=(0, 100))
    panels[0].legend(loc="lower right")
    panels[-1].set_xlabel("latency (ms)")


def _distribution(axes: "Axes", one: Timing) -> None:
    at = np.linspace(0, 1, min(_QUANTILES, len(one.samples)) + 1)
    axes.plot(np.quantile(one.samples, at), 100 * at, color=_COLOURS[one.model], label=one.model)
    axes.axvline(one.p50, color=_COLOURS[one.model], linestyle=":", linewidth=1)


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


def _legend(axes: "Axes") -> None:
    """Above the plot, where it hides nothing."""
    options: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "borderaxespad": 0.2}
    axes.legend(**options)
