"""A confusion matrix as a drawing of its own: SVG that stays small and readable from 2 labels to 1000.

1. Rows are labels, columns answers; colour is the share of the row. Right answers are blue, wrong ones red and by the
   root of their share, as they would not show otherwise.
2. Up to 12 labels rows have names and cells their counts; columns have names where they fit, else numbers. Above that
   both axes have numbers, fewer the more there are.
3. Cells of one shade are one path, and empty ones are not drawn: a page with 100 labels grows by some ten kilobytes.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seam_onnx.report.labels import MATRIX_UP_TO

__all__ = ["draw_confusion"]

Counts = NDArray[np.int64]

_WIDTH: Final = 400.0
"""Units; on a phone one is near a pixel."""
_TOP: Final = 16.0
_NAMES: Final = 96.0
_NUMBERS: Final = 30.0
_MARGIN: Final = 8.0
_LARGEST_CELL: Final = 56.0
_SHADES: Final = 8
_LONGEST_NAME: Final = 13
_LETTER: Final = 6.0
_MOST_TICKS: Final = 10
_RIGHT, _WRONG = "#0b6bcb", "#c8442d"


def draw_confusion(labels: tuple[str, ...], counts: Counts) -> str:
    """An <svg> element of (K, K) counts; row = the label, column = the answer."""
    count = len(counts)
    named = count <= MATRIX_UP_TO
    left = _NAMES if named else _NUMBERS
    cell = min(_LARGEST_CELL, (_WIDTH - left - _MARGIN) / count)
    side = count * cell
    body = (
        f'<rect x="{left:g}" y="{_TOP:g}" width="{side:.2f}" height="{side:.2f}" fill="#f1f3f6"/>',
        f'<g transform="translate({left:g} {_TOP:g}) scale({cell:.4f})">{"".join(_cells(counts))}</g>',
        *_axes(labels, count, left, cell),
        *(_numbers(counts, left, cell) if named else ()),
    )
    width = left + side + _MARGIN
    return (
        f'<svg viewBox="0 0 {width:.0f} {_TOP + side + _MARGIN / 2:.0f}" style="max-width: {1.4 * width:.0f}px" '
        'font-size="10" fill="#1b2430">\n' + "\n".join(body) + "\n</svg>"
    )


def _cells(counts: Counts) -> Iterator[str]:
    """A path for each shade of either colour, in units of cells."""
    shades = _shades(counts)
    on_diagonal = np.eye(len(counts), dtype=bool)
    for colour, part in ((_RIGHT, on_diagonal), (_WRONG, ~on_diagonal)):
        for shade in range(1, _SHADES + 1):
            found = np.argwhere(part & (shades == shade))
            if len(found):
                squares = "".join(f"M{column} {row}h1v1h-1z" for row, column in found.tolist())
                yield f'<path fill="{colour}" fill-opacity="{shade / _SHADES:g}" d="{squares}"/>'


def _shades(counts: Counts) -> Counts:
    """(K, K) from 0, nothing there, to 8, the whole row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    strength = np.where(np.eye(len(counts), dtype=bool), shares, np.sqrt(shares))
    return np.asarray(np.ceil(strength * _SHADES - 1e-9), dtype=np.int64)


def _axes(labels: tuple[str, ...], count: int, left: float, cell: float) -> Iterator[str]:
    """Names on both sides where they fit; else numbers from 1, with the names on the left where they are few."""
    fits = count <= MATRIX_UP_TO and all(len(label) * _LETTER <= cell for label in labels)
    for index in _ticks(count):
        middle = (index + 0.5) * cell
        name = labels[index] if count <= MATRIX_UP_TO else ""
        above = name if fits else str(index + 1)
        text = name if fits else f"{index + 1} {name}".strip()
        yield f'<text x="{left + middle:.2f}" y="{_TOP - 5:g}" text-anchor="middle">{escape(above)}</text>'
        yield (
            f'<text x="{left - 5:g}" y="{_TOP + middle + 3.5:.2f}" text-anchor="end">{escape(_short(text))}'
            f"{f'<title>{escape(name)}</title>' if name else ''}</text>"
        )


def _ticks(count: int) -> list[int]:
    """Indices whose numbers are shown: all of few, else round numbers."""
    steps = (factor * 10**power for power in range(6) for factor in (1, 2, 5))
    step = 1 if count <= MATRIX_UP_TO else next(step for step in steps if count / step <= _MOST_TICKS)
    return list(range(step - 1, count, step))


def _numbers(counts: Counts, left: float, cell: float) -> Iterator[str]:
    """The count of each cell, white where the cell is dark."""
    shades, digits = _shades(counts), len(str(counts.max()))
    size = min(11.0, cell / (0.62 * max(digits, 2)))
    for (row, column), value in np.ndenumerate(counts):
        x, y = left + (column + 0.5) * cell, _TOP + (row + 0.5) * cell + size / 3
        colour = ' fill="#fff"' if shades[row, column] > _SHADES / 2 else ""
        if value:
            yield f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size:.1f}" text-anchor="middle"{colour}>{value}</text>'


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1].rstrip() + "…"
