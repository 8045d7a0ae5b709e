"""What a figure is drawn on: matplotlib set up, and SVG text of a drawing.

Ids are salted by the figure's name, and no date is written. The names of labels and layers are not drawn, so that
nothing foreign gets into a figure.
"""

import io
import re
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from seam_onnx.errors import UsageError
from seam_onnx.report.schema import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "legend", "require_matplotlib", "svg"]

COLOURS: Final = {"original": "#7a8699", "pruned": "#0b6bcb", "visited": "#d9822b"}

_WIDTH: Final = 4.6
"""Inches: at a phone's width the text stays near its size."""
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


def svg(name: str, height: float, draw: Callable[["Figure", Report], None], report: Report) -> str:
    """An <svg> element; ids carry the figure's name, as several figures share one page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"seam-onnx {name}"}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure, report)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    drawn = text.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r"<style[^>]*>.*?</style>\s*", "", drawn, flags=re.DOTALL)  # would reach all of the page
    prefixed = re.sub("<[^>]+>", lambda tag: re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag.group()), drawn)
    return prefixed.strip()


def legend(axes: "Axes") -> None:
    """Above the plot, where it hides nothing."""
    options: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "borderaxespad": 0.2}
    axes.legend(**options)
