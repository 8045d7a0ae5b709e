"""What becomes of a report: files for machines and people, and gates.

gates = check_delivery(request)                  # before any work: what could not be written, what makes no sense
report = deliver(report, request, gates)         # after it; a failed gate keeps no file from being written
"""

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from seam_onnx.atomic import check_report_path, write_text
from seam_onnx.errors import PathError
from seam_onnx.figures import PRUNE, report_figures
from seam_onnx.gate_text import parse_gates
from seam_onnx.gates import Gate, check
from seam_onnx.keys import keys_of
from seam_onnx.report import Report
from seam_onnx.request import STDOUT, Delivery, Request
from seam_onnx.solution import masks_beside

__all__ = ["check_delivery", "check_files", "deliver"]

FILES = ("json", "report", "card")
"""What a report can be written as."""


def check_delivery(request: Request) -> tuple[Gate, ...]:
    """The gates of a prune. Refuses what can be seen to fail before any work.

    Raises:
        UsageError: a gate that cannot be read, an HTML page without matplotlib. PathError: a file that cannot be written,
            or is another one of this run.
    """
    gates = parse_gates(request.delivery.require, PRUNE)
    check_files(request.delivery, (*_paths(request), masks_beside(request.output)))
    if request.delivery.report is not None:
        from seam_onnx.report.plots import require_matplotlib

        require_matplotlib()
    return gates


def check_files(delivery: Delivery, others: Sequence[Path | None]) -> None:
    """Refuse files that a result cannot be written to.

    Args:
        delivery: where it goes.
        others: every other file and folder of the command.

    Raises:
        PathError: one cannot be written, is among the others, or is asked for twice.
    """
    files = {name: path for name in FILES if (path := getattr(delivery, name)) is not None}
    for name, path in files.items():
        if path != STDOUT:
            more = [other for key, other in files.items() if key != name]
            taken = [other for other in (*others, *more) if other is not None]
            check_report_path(path, f"--{name}", overwrite=delivery.overwrite, others=taken)
        elif name != "json":
            raise PathError(f"--{name} -", "is no file name", "give a file; only --json can go to stdout")


def _paths(request: Request) -> list[Path]:
    """Every file and folder that a request names but those for the report."""
    values = (
        functools.reduce(getattr, key.places[0].path, request)
        for key in keys_of(Request).values()
        if key.name not in FILES
    )
    return [value for value in values if isinstance(value, Path)]


def deliver(report: Report, request: Request, gates: Iterable[Gate]) -> Report:
    """Write what was asked for, but for JSON to stdout. An HTML page takes a second.

    Returns:
        The report with what became of the gates.
    """
    delivery, report = request.delivery, replace(report, gates=check(gates, report_figures(report)))
    if delivery.json is not None and not delivery.piped:
        write_text(delivery.json, json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    if delivery.report is not None:
        from seam_onnx.report.html import page

        write_text(delivery.report, page(report))
    if delivery.card is not None:
        from seam_onnx.report.card import card

        write_text(delivery.card, card(report))
    return report
