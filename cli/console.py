"""Where text goes: results to stdout, progress and errors to stderr, no colour where nobody looks."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from seam_onnx.atomic import write_text
from seam_onnx.progress import Event, Observer, silent

__all__ = ["errors", "out", "print_table", "progress", "write_json"]

NARROWEST = 100
"""Columns of tables where no terminal says how many there are."""

out = Console(
    markup=False, highlight=False, soft_wrap=True,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else NARROWEST,
)  # fmt: skip
errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """A table no wider than the terminal; where there is none, as wide as it is without wrapping."""
    before = out.width
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = max(before, Measurement.get(out, out.options.update(width=10_000), table).maximum)
    out.print(table, soft_wrap=False)
    out.width = before


@contextmanager
def progress(quiet: bool) -> Iterator[Observer]:
    """An observer that draws one bar a stage; it draws nothing when quiet or where stderr is no terminal."""
    if quiet or not errors.is_terminal:
        yield silent
        return
    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as display:

        def observe(event: Event) -> None:
            if event.stage not in bars:
                bars[event.stage] = display.add_task(event.stage, figures="")
            bar = bars[event.stage]
            display.update(bar, completed=event.done, total=event.total or None)
            if event.figures:
                display.update(bar, figures=describe(event))

        yield observe


def describe(event: Event) -> str:
    """The figures of an event, short."""
    return "  ".join(f"{name} {value:.3f}" for name, value in event.figures.items())


def write_json(data: Any, target: str) -> None:
    """Write to a file, or to stdout for `-`."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if target == "-":
        print(text)
    else:
        write_text(Path(target), text + "\n")
