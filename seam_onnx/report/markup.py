"""The pieces of a page as HTML: sections, tables, lists, tiles and figures. Whatever comes in as text is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Final

from seam_onnx.gates import GateResult
from seam_onnx.report.confusion import draw_confusion
from seam_onnx.report.labels import MATRIX_UP_TO, label_rows, mistakes
from seam_onnx.report.parts import Row, Tile
from seam_onnx.report.template import PAGE
from seam_onnx.validate import Paired

__all__ = [
    "changes",
    "document",
    "facts_table",
    "figure",
    "folded",
    "gates_section",
    "items",
    "labels_section",
    "section",
    "table",
    "tiles_grid",
]

_OPEN_UP_TO: Final = 12
"""Longer lists and tables start folded."""
_CELL: Final = Template('<td data-name="$name">$text</td>')
_MATRIX: Final = (
    "Rows: the label; columns: the answer. Blue is right, red is wrong; the darker, the larger the share of "
    "the row (of mistakes its root, so that rare ones show)."
)


def document(title: str, version: str, parts: Iterable[str]) -> str:
    """The whole page of its parts, which are markup already."""
    return PAGE.substitute(version=escape(version), title=escape(title), body="\n".join(filter(None, parts)))


def section(title: str, body: str) -> str:
    """A framed part of the page."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def folded(body: str, count: int, what: str) -> str:
    """Open where it is short."""
    opened = " open" if count <= _OPEN_UP_TO else ""
    return f"<details{opened}><summary>{count} {what}{'' if count == 1 else 's'}</summary>\n{body}\n</details>"


def items(lines: Iterable[str]) -> str:
    """A list."""
    return f"<ul>\n{''.join(f'<li>{escape(line)}</li>{chr(10)}' for line in lines)}</ul>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is too wide; the second column names the row."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f'<tr><td>{escape(row[0])}</td><th scope="row">{escape(row[1])}</th>'
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in row[2:])}</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and what they are."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n' for name, value in facts.items()
    )
    return f'<table class="stack"><tbody>\n{lines}</tbody></table>'


def changes(rows: Iterable[Row]) -> str:
    """Original and pruned; on a phone each line becomes a block."""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.name)}</th>'
        + "".join(
            _CELL.substitute(name=name, text=escape(cell)) if cell else "<td></td>"
            for name, cell in (("original", row.original), ("pruned", row.pruned), ("change", row.change))
        )
        + "</tr>\n"
        for row in rows
    )
    head = "<thead><tr><th></th><th>original</th><th>pruned</th><th>change (95 % interval)</th></tr></thead>"
    return f'<div class="scroll"><table class="stack">{head}<tbody>\n{lines}</tbody></table></div>'


def tiles_grid(found: Iterable[Tile]) -> str:
    """The headline."""
    one = "".join(
        f'<div class="tile">{escape(tile.name)}<strong>{escape(tile.figure)}</strong>'
        f"{''.join(f'<div>{escape(detail)}</div>' for detail in tile.details)}</div>\n"
        for tile in found
    )
    return f'<div class="tiles">\n{one}</div>'


def figure(name: str, title: str, svg: str, caption: str) -> str:
    """A drawing with its title and what it shows; `svg` is markup."""
    image = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return (
        f'<figure id="{name}">\n<h2>{escape(title)}</h2>\n{image}\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n"
    )


def gates_section(gates: Sequence[GateResult]) -> str:
    """What was demanded, and what became of it; nothing where nothing was."""
    lines = "".join(
        f'<tr class="{"holds" if one.holds else "failed"}"><th scope="row">{"holds" if one.holds else "FAILED"}</th>'
        f"<td><code>{escape(one.gate.text)}</code></td><td>{escape(one.reason)}</td></tr>\n"
        for one in gates
    )
    return section("Gates", f'<table class="stack gates"><tbody>\n{lines}</tbody></table>') if gates else ""


def labels_section(labels: tuple[str, ...], found: Paired) -> str:
    """Both confusion matrices, the most frequent mistakes, and every label's figures."""
    matrices = "".join(
        figure(name, title, draw_confusion(labels, one.confusion), _MATRIX)
        for name, title, one in (
            ("confusion-original", "Confusion: original, restricted", found.original),
            ("confusion-pruned", "Confusion: pruned", found.pruned),
        )
    )
    return f'<div class="figures">\n{matrices}</div>\n' + section("Label by label", _labels(labels, found))


def _labels(labels: tuple[str, ...], found: Paired) -> str:
    rows = label_rows(labels, found)
    lines = [(str(row.number), row.name, str(row.count), *row.changes) for row in rows]
    shown = table(("#", "label", "samples", "precision", "recall", "F1"), lines)
    intro = '<p class="soft">Original restricted to the wanted labels → pruned, on the same samples.</p>'
    wrong = mistakes(labels, found) if len(labels) > MATRIX_UP_TO else []
    frequent = f"<h3>Most frequent mistakes</h3>\n{items(wrong)}" if wrong else ""
    return intro + folded(shown, len(rows), "label") + frequent
