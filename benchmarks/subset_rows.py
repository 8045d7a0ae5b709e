"""The rows of the table of label subsets: kept in a .csv beside the table, one line a run, so that a table grows over many
sessions and machines; means and paired differences are computed from them.
"""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

__all__ = ["Row", "merged", "read", "row_of", "tables", "write"]


@dataclass(frozen=True)
class Row:
    """One run. Accuracies, their interval (95 %) and ratios to the original are fractions."""

    model: str
    labels: str
    method: str
    training: str
    """How networks are trained on the way and afterwards: optimiser and epochs, the same for a search and its controls."""
    target: str
    original: float
    restricted: float
    pruned: float
    low: float
    high: float
    params: float
    macs: float
    p50_1: float
    p50_16: float
    seconds: float
    machine: str

    @property
    def key(self) -> tuple[str, ...]:
        """What a later run of the same replaces."""
        return self.model, self.labels, self.method, self.training, self.target, self.machine

    @property
    def kind(self) -> str:
        """What a mean is over: one label against the rest, or several labels."""
        return "one against the rest" if self.labels.endswith(", other") else "several labels"

    @property
    def lost(self) -> float:
        """Points lost against the original restricted to the wanted labels."""
        return 100 * (self.restricted - self.pruned)


def row_of(report: dict[str, Any], method: str, training: str) -> Row:
    """A row of a run's JSON report, timed at batch 1 and 16."""
    problem, test, environment = report["problem"], report["proof"]["test"], report["environment"]
    before, after = report["before"], report["after"]
    p50 = [comparison["ratio"] for comparison in report["proof"]["latency"]["comparisons"]]
    machine = [f"{key} {environment[key]}" for key in ("cpu", "cores", "simd", "onnxruntime") if key in environment]
    return Row(
        Path(problem["model"]).stem, ", ".join(problem["labels"]), method, training, report["search"]["target"],
        test["original"]["value"], test["restricted"]["value"], test["pruned"]["value"],
        test["pruned"]["interval"]["low"], test["pruned"]["interval"]["high"],
        after["params"] / before["params"], after["macs"] / before["macs"], *p50,
        report["search"]["seconds"], ", ".join(machine),
    )  # fmt: skip


def read(path: Path) -> list[Row]:
    """The rows of a .csv, none where there is no such file."""
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in fields(Row)}
    with path.open(newline="") as file:
        return [
            Row(**{key: float(text) if kinds[key] is float else text for key, text in line.items()})
            for line in csv.DictReader(file)
        ]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows as a .csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: short(value) for key, value in asdict(row).items()} for row in rows)


def short(value: float | str) -> float | str:
    """Six digits are more than a test of some thousand images tells."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def merged(rows: Iterable[Row], more: Iterable[Row], order: Callable[[Row], Any]) -> list[Row]:
    """The rows with others added or in place of the same, in order."""
    return sorted(({row.key: row for row in (*rows, *more)}).values(), key=order)


# ---- the page -------------------------------------------------------------------------------------------------------


def tables(rows: Sequence[Row]) -> list[str]:
    """Markdown: the machines, the means, the paired differences, and every row."""
    machines = list(dict.fromkeys(row.machine for row in rows))
    letters = {machine: chr(ord("A") + place) for place, machine in enumerate(machines)}
    lines = ["Machines:", "", *(f"- {letter}: {machine}" for machine, letter in letters.items())]
    lines += ["", "## Means", "", *means(rows, letters), "", "## Against the search", "", *paired(rows, letters)]
    return [*lines, "", "## Rows", "", *all_rows(rows, letters)]


def means(rows: Sequence[Row], letters: dict[str, str]) -> list[str]:
    """Mean loss and latency by network, kind of problem, method, training, target and machine."""
    lines = heads(
        "model", "problems", "method", "training", "rows", "lost, points, mean", "MACs", "p50 batch 1", "machine"
    )
    for each, chosen in groups(rows).items():
        model, problems, method, training, target, machine = each
        lost, macs, p50 = (fmean(getattr(row, name) for row in chosen) for name in ("lost", "macs", "p50_1"))
        cells = model, problems, f"{method} {target}", training, len(chosen), f"{lost:.2f}", f"{macs:.1%}", f"{p50:.0%}"
        lines.append(line(*cells, letters[machine]))
    return lines


def paired(rows: Sequence[Row], letters: dict[str, str], than: str = "effect") -> list[str]:
    """How much more every method loses than the search with the same training at the same target, over the same problems.

    The search's row is of the same machine where there is one. The standard error is that of the mean over problems: the
    sample's standard deviation / sqrt(n).
    """
    names = "model", "problems", "method", "training", "pairs", "lost more, points, mean", "standard error", "machine"
    lines = heads(*names)
    ours: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if row.method == than:
            ours.setdefault((row.model, row.labels, row.training, row.target), {})[row.machine] = row
    for each, chosen in groups(row for row in rows if row.method != than).items():
        model, problems, method, training, target, machine = each
        others = [(row, ours.get((row.model, row.labels, training, target), {})) for row in chosen]
        more = [row.lost - here.get(machine, next(iter(here.values()))).lost for row, here in others if here]
        if more:
            error = f"{stdev(more) / math.sqrt(len(more)):.2f}" if len(more) > 1 else ""
            cells = model, problems, f"{method} {target}", training, len(more), f"{fmean(more):+.2f}", error
            lines.append(line(*cells, letters[machine]))
    return lines


def groups(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """The rows by network, kind of problem, method, training, target and machine, in the order of the first of each."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row.model, row.kind, row.method, row.training, row.target, row.machine), []).append(row)
    return found


def all_rows(rows: Iterable[Row], letters: dict[str, str]) -> list[str]:
    """Every row."""
    lines = heads(
        "model", "labels", "method", "training", "original: free / restricted", "pruned (95 % interval)", "lost, points",
        "parameters", "MACs", "p50 batch 1", "p50 batch 16", "search, s", "machine",
    )  # fmt: skip
    for row in rows:
        interval = f"{row.pruned:.2%} ({row.low:.1%} to {row.high:.1%})"
        cells = (
            row.model,
            row.labels,
            f"{row.method} {row.target}",
            row.training,
            f"{row.original:.2%} / {row.restricted:.2%}",
            interval,
        )
        sizes = f"{row.lost:.2f}", f"{row.params:.1%}", f"{row.macs:.1%}", f"{row.p50_1:.0%}", f"{row.p50_16:.0%}"
        lines.append(line(*cells, *sizes, f"{row.seconds:.0f}", letters[row.machine]))
    return lines


def heads(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [line(*names), "|" + "---|" * len(names)]


def line(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"
