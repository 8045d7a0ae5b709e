"""A report as one page that needs nothing else: no network, no script, no file beside it.

    text = page(report)

Everything that a model, a file or a user named is escaped; the figures come from plots.py, the words from facts.py.
"""

import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import PurePath
from typing import Any, Final

import yaml

from seam_onnx.report.facts import Tile, checks, notes, rows, sentence, tiles
from seam_onnx.report.plots import figures
from seam_onnx.report.schema import Report
from seam_onnx.report.template import PAGE

__all__ = ["page"]

_OPEN_UP_TO: Final = 12
"""Longer lists and tables start folded."""
_CAPTIONS: Final = {
    "tradeoff": (
        "Accuracy against latency",
        "Up and to the left is better. Bars are 95 % intervals: Wilson's for accuracy, bootstrap for the median.",
    ),
    "widths": ("Widths along the network", "Channels that each layer makes, before and after; 0 where it is gone."),
    "training": (
        "Training",
        "Loss and training accuracy are running means; validation is where it was read. Grey: the search; "
        "white: the recovery.",
    ),
    "latency": (
        "Latency distributions",
        "Share of the samples that took at most so long, up to the slower model's p99. Dotted: medians.",
    ),
}


def page(report: Report) -> str:
    """The whole page as HTML. Takes about a second, for the figures.

    Raises:
        UsageError: matplotlib is not installed.
    """
    title = f"{PurePath(report.output).name}: {', '.join(report.problem.labels)}"
    parts = (
        _heading(report, title), _tiles(tiles(report)), _figures(figures(report)), _changes(report),
        _section("What was checked", _list(checks(report))), _section("Notes", _list(notes(report))),
        _blockers(report), _width_table(report), _how(report),
        _section("Environment", _table(report.environment)),
    )  # fmt: skip
    return PAGE.substitute(version=escape(report.version), title=escape(title), body="\n".join(parts))


def _heading(report: Report, title: str) -> str:
    problem = report.problem
    samples = ", ".join(f"{count} {name}" for name, count in problem.samples.items())
    return (
        f"<h1>{escape(title)}</h1>\n<p>{escape(sentence(report))}</p>\n"
        f'<p class="soft">{len(problem.labels)} outputs from {escape(problem.model)} ({problem.classes} classes). '
        f"Samples: {escape(samples)}.</p>"
    )


def _tiles(found: Iterable[Tile]) -> str:
    one = "".join(
        f'<div class="tile">{escape(tile.name)}<strong>{escape(tile.figure)}</strong>'
        f"{''.join(f'<div>{escape(detail)}</div>' for detail in tile.details)}</div>\n"
        for tile in found
    )
    return f'<div class="tiles">\n{one}</div>'


def _figures(drawn: Mapping[str, str]) -> str:
    return f'<div class="figures">\n{"".join(_figure(name, svg) for name, svg in drawn.items())}</div>'


def _figure(name: str, svg: str) -> str:
    title, caption = _CAPTIONS[name]
    image = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return (
        f'<figure id="{name}">\n<h2>{escape(title)}</h2>\n{image}\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n"
    )


def _changes(report: Report) -> str:
    """Before and after; on a phone each line becomes a block."""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.name)}</th>'
        + "".join(
            f'<td data-name="{name}">{escape(cell)}</td>' if cell else "<td></td>"
            for name, cell in (("original", row.original), ("pruned", row.pruned), ("change", row.change))
        )
        + "</tr>\n"
        for row in rows(report)
    )
    head = "<thead><tr><th></th><th>original</th><th>pruned</th><th>change (95 % interval)</th></tr></thead>"
    return _section(
        "Before and after", f'<div class="scroll"><table class="stack">{head}<tbody>\n{lines}</tbody></table></div>'
    )


def _blockers(report: Report) -> str:
    found = report.blockers
    if not found:
        return _section("Channels that stayed for a reason", "<p>None: every channel could be judged.</p>")
    intro = "<p class=soft>Channels of the original that could not be touched, and why.</p>"
    return _section("Channels that stayed for a reason", intro + _folded(_list(found), len(found), "reason"))


def _width_table(report: Report) -> str:
    lines = "".join(
        f"<tr><td>{number}</td><th scope='row'>{escape(name)}</th><td>{old}</td><td>{new or 'gone'}</td></tr>\n"
        for number, (name, (old, new)) in enumerate(report.widths.items(), 1)
    )
    head = "<thead><tr><th>#</th><th>layer</th><th>original</th><th>pruned</th></tr></thead>"
    table = f'<div class="scroll"><table>{head}<tbody>\n{lines}</tbody></table></div>'
    return _section("Widths", _folded(table, len(report.widths), "layer"))


def _how(report: Report) -> str:
    """What is needed to make it again."""
    problem, search = report.problem, report.search
    facts = {
        "seam-onnx": report.version,
        "original": problem.model,
        "sha256": problem.sha256,
        "labels": ", ".join(
            f"{label} (class {index})" for label, index in zip(problem.labels, problem.indices, strict=False)
        ),
        "preprocessing": problem.preprocess,
        "search": f"{search.granularity}, {search.target or 'SeaM'}, recover {search.recover}",
        "time": f"{search.seconds:.0f} s on {search.device}",
        "seeds": f"search {search.recipe.get('seed', 'none')}, latency {report.proof.latency.seed}",
        "sha256 of the recipe": report.recipe_hash,
        "hyperparameters": ", ".join(f"{name} {_plain(value)}" for name, value in search.recipe.items()),
        "output": report.output,
    }
    recipe = yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True)
    folded = f"<details><summary>The whole recipe</summary>\n<pre>{escape(recipe)}</pre>\n</details>"
    return _section("How to make it again", f"<pre>{escape(report.command)}</pre>\n{_table(facts)}\n{folded}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _folded(body: str, count: int, what: str) -> str:
    opened = " open" if count <= _OPEN_UP_TO else ""
    return f"<details{opened}><summary>{count} {what}{'' if count == 1 else 's'}</summary>\n{body}\n</details>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>\n{''.join(f'<li>{escape(line)}</li>{chr(10)}' for line in lines)}</ul>"


def _table(facts: Mapping[str, str]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n' for name, value in facts.items()
    )
    return f'<table class="stack"><tbody>\n{lines}</tbody></table>'
