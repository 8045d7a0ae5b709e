"""What becomes of a report: files for machines and people, and gates.

gates = check_delivery(request)                  # before any work: what could not be written, what makes no sense
results = deliver(report, request, gates)        # after it; a failed gate keeps no file from being written
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seam_onnx.atomic import check_report_path, write_text
from seam_onnx.errors import PathError
from seam_onnx.figures import PRUNE, report_figures
from seam_onnx.gate_text import parse_gates
from seam_onnx.gates import Gate, GateResult, check
from seam_onnx.report import Report
from seam_onnx.request import STDOUT, Request
from seam_onnx.settings import keys_of
from seam_onnx.validate import to_json

__all__ = ["check_delivery", "deliver", "json_text", "with_gates"]

PAGES = ("json", "report", "card")
"""What a report can be written as."""


def check_delivery(request: Request) -> tuple[Gate, ...]:
    """The gates. Refuses what can be seen to fail before any work.

    Raises:
        UsageError: a gate that cannot be read, an HTML page without matplotlib. PathError: a file that cannot be written,
            or is another one of this run.
    """
    delivery = request.delivery
    gates = parse_gates(delivery.require, PRUNE)
    for name in PAGES:
        path = getattr(delivery, name)
        if path == STDOUT and name != "json":
            raise PathError(f"--{name} -", "is no file name", "give a file; only --json can go to stdout")
        if path is not None and path != STDOUT:
            check_report_path(path, f"--{name}", overwrite=delivery.overwrite, others=_other_paths(request, name))
    if delivery.report is not None:
        from seam_onnx.report.plots import require_matplotlib

        require_matplotlib()
    return gates


def _other_paths(request: Request, but: str) -> list[Path]:
    """Every file and folder that a request names, but for one."""
    values = (
        functools.reduce(getattr, key.places[0].path, request) for key in keys_of(Request).values() if key.name != but
    )
    return [value for value in values if isinstance(value, Path) and value != STDOUT]


def deliver(report: Report, request: Request, gates: Iterable[Gate]) -> tuple[GateResult, ...]:
    """Write what was asked for, but for JSON to stdout, and say what became of the gates. An HTML page takes a second."""
    delivery, results = request.delivery, check(gates, report_figures(report))
    if delivery.json is not None and not delivery.piped:
        write_text(delivery.json, json_text(with_gates(report.to_json(), results)) + "\n")
    if delivery.report is not None:
        from seam_onnx.report.html import page

        write_text(delivery.report, page(report))
    if delivery.card is not None:
        from seam_onnx.report.card import card

        write_text(delivery.card, card(report))
    return results


def with_gates(found: dict[str, Any], results: Iterable[GateResult]) -> dict[str, Any]:
    """A result in JSON's types with what became of the gates."""
    return {**found, "gates": to_json(list(results))}


def json_text(data: Any) -> str:
    """As a file has it."""
    return json.dumps(data, indent=2, ensure_ascii=False)
