"""Figures of a report as SVG text, to stand inline in a page; the only place that knows matplotlib.

canvas.py makes SVG of a drawing, tradeoff.py draws accuracy against cost, curves.py what has a course: widths along
the network, training, latency distributions. The same report gives the same text.
"""

from seam_onnx.report.facts import batches
from seam_onnx.report.plots import curves, tradeoff
from seam_onnx.report.plots.canvas import require_matplotlib, svg
from seam_onnx.report.schema import Report

__all__ = ["figures", "require_matplotlib"]


def figures(report: Report) -> dict[str, str]:
    """SVG by the figure's name.

    'tradeoff' and 'latency' if that was measured, 'pareto' if the search told what it looked at, 'widths', 'training'
    if there was any. Takes about a second.

    Raises:
        UsageError: as for `require_matplotlib`.
    """
    require_matplotlib()
    sizes = len(batches(report))
    drawings = (
        ("tradeoff", 3.2, tradeoff.measured, bool(sizes)),
        ("pareto", 3.4, tradeoff.visited, bool(report.pareto)),
        ("latency", 1.2 + 1.9 * sizes, curves.latency, bool(sizes)),
        ("widths", 3.0, curves.widths, True),
        ("training", 5.2, curves.training, bool(report.search.curve)),
    )
    return {name: svg(name, height, draw, report) for name, height, draw, there in drawings if there}
