"""A result as one page that needs nothing else: no network, no script, no file beside it.

    text = page(report)                       # of a prune
    text = comparison_page(comparison)        # of a validation

Everything that a model, a file or a user named is escaped; the figures come from plots and confusion.py, the words
from facts.py and labels.py, the markup from markup.py.
"""

import json
from collections.abc import Mapping
from html import escape
from itertools import accumulate
from pathlib import PurePath
from typing import Any, Final

import yaml

from seam_onnx import words
from seam_onnx.report.comparison import ModelComparison
from seam_onnx.report.facts import checks, notes, rounding, rows, seed_rows, sentence, tiles, weights
from seam_onnx.report.labels import accuracy_tile, paired_rows
from seam_onnx.report.markup import (
    changes,
    document,
    facts_table,
    figure,
    folded,
    gates_section,
    items,
    labels_section,
    section,
    table,
    tiles_grid,
)
from seam_onnx.report.parts import Row, Tile
from seam_onnx.report.plots import figures
from seam_onnx.report.schema import Report

__all__ = ["comparison_page", "page"]

_TITLE: Final = 72
_LONGEST: Final = 32
_CAPTIONS: Final = {
    "tradeoff": (
        "Accuracy against latency",
        "Up and to the left is better. Bars are 95 % intervals: Wilson's for accuracy, for latency by its openings.",
    ),
    "pareto": (
        "What the search looked at",
        "Up and to the left is better. On validation, which chose; a visited network may be less trained than the "
        "pruned model, which was recovered.",
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
    """The page of a prune as HTML. Takes about a second, for the figures.

    Raises:
        UsageError: matplotlib is not installed.
    """
    problem = report.problem
    title = f"{PurePath(report.output).name}: {_listed(problem.labels)}"
    samples = ", ".join(f"{count} {name}" for name, count in problem.samples.items())
    origin = f"{len(problem.labels)} outputs from {problem.model} ({problem.classes} classes). Samples: {samples}."
    return document(title, report.version, (
        _heading(title, sentence(report), origin), tiles_grid(tiles(report)), gates_section(report.gates),
        _figures(figures(report)), section("Before and after", changes(rows(report))), _seeds(report),
        labels_section(problem.labels, report.proof.paired),
        section("What was checked", items(checks(report))), section("Notes", items(notes(report))),
        _blockers(report), _width_table(report), _how(report),
        section("Environment", facts_table(report.environment)),
    ))  # fmt: skip


def comparison_page(found: ModelComparison) -> str:
    """The page of a validation as HTML; needs no matplotlib."""
    names = {role: PurePath(path).name for role, path in found.models.items()}
    title = f"{names['original']} and {names['pruned']}: {_listed(found.labels)}"
    old, new = found.paired.original.accuracy, found.paired.pruned.accuracy
    change = f"Accuracy: {words.points(new, old)} against the original restricted to the wanted labels, "
    lead = f"{change}McNemar {words.chance(found.paired.difference.p)}."
    classes = f"outputs {found.classes['original']} and {found.classes['pruned']}"
    origin = f"{found.samples} samples, {found.split} split; {classes}."
    parity = [] if found.parity is None else [
        f"Parity: pruned against masked model at most {found.parity.relative:.1e} of the outputs' range."
    ]  # fmt: skip
    return document(title, found.version, (
        _heading(title, lead, origin), tiles_grid(_comparison_tiles(found)), gates_section(found.gates),
        section("Both models", changes(_comparison_rows(found))), labels_section(found.labels, found.paired),
        section("What was checked", items([f"{words.mcnemar(found.paired.difference)}.", *parity])),
        section("Notes", items(found.notes)), _comparison_how(found),
        section("Environment", facts_table(found.environment)),
    ))  # fmt: skip


def _comparison_tiles(found: ModelComparison) -> list[Tile]:
    old, new = (found.file_bytes[name] for name in ("original", "pruned"))
    alike = found.paired.agreement
    return [
        accuracy_tile(found.paired, f"accuracy on {found.split}"),
        Tile("agreement", words.share(alike.value, 2), (f"95 % interval {words.between(alike.interval)}",)),
        Tile("file", words.size(new), (f"{words.ratio(new, old)} of {words.size(old)}",)),
    ]


def _comparison_rows(found: ModelComparison) -> list[Row]:
    old, new = found.paired.original.accuracy, found.paired.pruned.accuracy
    before, after = (found.file_bytes[name] for name in ("original", "pruned"))
    return [
        Row("accuracy", words.accuracy(old), words.accuracy(new), words.points(new, old)),
        Row("accuracy, any class", words.accuracy(found.paired.free), ""),
        *paired_rows(found.paired),
        Row("file", words.size(before), words.size(after), words.ratio(after, before)),
    ]


def _comparison_how(found: ModelComparison) -> str:
    facts = {
        "seam-onnx": found.version,
        **found.models,
        "labels": _numbered(found.labels, found.indices),
        "preprocessing": found.preprocess,
    }
    return _again(found.command, facts)


def _heading(title: str, lead: str, origin: str) -> str:
    return f'<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n<p class="soft">{escape(origin)}</p>'


def _listed(labels: tuple[str, ...]) -> str:
    """Some names: a title is no place for a thousand."""
    names = [label if len(label) <= _LONGEST else label[: _LONGEST - 1].rstrip() + "…" for label in labels]
    ends = accumulate(len(name) + len(", ") for name in names)
    most = max(1, sum(end <= _TITLE for end in ends))
    more = len(labels) - most
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:most])} and {more} more"


def _figures(drawn: Mapping[str, str]) -> str:
    shown = "".join(figure(name, _CAPTIONS[name][0], svg, _CAPTIONS[name][1]) for name, svg in drawn.items())
    return f'<div class="figures">\n{shown}</div>'


def _seeds(report: Report) -> str:
    """What each search came to; nothing where there was one."""
    found = seed_rows(report)
    head = ("seed", "accuracy, validation", "kept", "search time")
    intro = "<p class=soft>The best on validation is delivered; only that one was read on test.</p>"
    lines = [(str(number), *cells) for number, cells in enumerate(found, 1)]
    return section("Searches", intro + table(("#", *head), lines)) if found else ""


def _blockers(report: Report) -> str:
    found = report.blockers
    if not found:
        return section("Channels that stayed for a reason", "<p>None: every channel could be judged.</p>")
    intro = "<p class=soft>Channels of the original that could not be touched, and why.</p>"
    return section("Channels that stayed for a reason", intro + folded(items(found), len(found), "reason"))


def _width_table(report: Report) -> str:
    lines = [
        (str(number), name, str(old), str(new or "gone"))
        for number, (name, (old, new)) in enumerate(report.widths.items(), 1)
    ]
    shown = table(("#", "layer", "original", "pruned"), lines)
    return section("Widths", folded(shown, len(report.widths), "layer"))


def _how(report: Report) -> str:
    """What is needed to make it again."""
    problem, search = report.problem, report.search
    facts = {
        "seam-onnx": report.version,
        "original": problem.model,
        "sha256": problem.sha256,
        "labels": _numbered(problem.labels, problem.indices),
        "preprocessing": problem.preprocess,
        "search": f"{search.granularity}, {search.target or search.recipe.get('schedule', '')}, recover {search.recover}",
        "widths": rounding(report),
        "weights": weights(report),
        "time": f"{search.seconds:.0f} s on {search.device}",
        "engine": search.engine,
        "seeds": f"search {search.recipe.get('seed', 'none')}, latency {report.proof.latency.seed}",
        "sha256 of the recipe": report.recipe_hash,
        "hyperparameters": ", ".join(f"{name} {_plain(value)}" for name, value in search.recipe.items()),
        "output": report.output,
    }
    recipe = yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True)
    whole = f"\n<details><summary>The whole recipe</summary>\n<pre>{escape(recipe)}</pre>\n</details>"
    return _again(report.command, facts, whole)


def _again(command: str, facts: Mapping[str, str], more: str = "") -> str:
    return section("How to make it again", f"<pre>{escape(command)}</pre>\n{facts_table(facts)}{more}")


def _numbered(labels: tuple[str, ...], indices: tuple[int, ...]) -> str:
    """The labels with the class of the original that each is; a rest has none."""
    known = [f"{label} (class {index})" for label, index in zip(labels, indices, strict=False)]
    return ", ".join((*known, *labels[len(known) :]))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
