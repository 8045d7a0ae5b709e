"""Reading option values that typer has no type for."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from seam_onnx.errors import PathError, UsageError

__all__ = ["above_zero", "counts", "floats", "page_path", "pair", "report_path", "sizes"]


def floats(text: str | None, option: str) -> tuple[float, ...] | None:
    """Comma-separated finite numbers."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{option} {text!r}", "is not a list of numbers", "write for example .485,.456,.406")
    return numbers


def counts(text: str, option: str) -> tuple[int, ...]:
    """Comma-separated whole numbers from 1 on."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,6}", part) and int(part) for part in parts):
        raise UsageError(f"{option} {text!r}", "is not a list of whole numbers above 0", "write for example 1,16")
    return tuple(map(int, parts))


def above_zero(number: float | None, option: str) -> float | None:
    """A finite number above 0, or None where the option was not given."""
    if number is not None and not 0 < number < math.inf:
        raise UsageError(f"{option} {number:g}", "is not above 0", "give a positive number, or leave it out")
    return number


def pair(text: str | None, option: str) -> tuple[int, int] | None:
    """`224` or `240x320` as (height, width)."""
    if text is None:
        return None
    found = re.fullmatch("([0-9]{1,6})(?:x([0-9]{1,6}))?", text.lower())
    if not found or 0 in (int(found[1]), int(found[2] or 1)):
        raise UsageError(f"{option} {text!r}", "is not a size", "write 224 or 240x320 (height x width)")
    return int(found[1]), int(found[2] or found[1])


def sizes(entries: Sequence[str]) -> dict[str, int]:
    """`name=size` entries."""
    found = {}
    for entry in entries:
        name, _, size = entry.rpartition("=")
        if not name or not re.fullmatch("[0-9]{1,9}", size) or int(size) < 1:
            raise UsageError(f"--shape {entry!r}", "is not name=size", "write for example --shape seq=128")
        found[name] = int(size)
    return found


def report_path(text: str | None, option: str, *, overwrite: bool, others: Sequence[Path | None]) -> None:
    """Refuse, before any work, a file for a report that cannot be written or is another file of the command."""
    from seam_onnx.atomic import check_writable
    from seam_onnx.model import refuse_source  # imported late: --help stays fast

    if text is None or text == "-":
        return
    path = Path(text)
    check_writable(path, overwrite=overwrite)
    refuse_source(path, [other for other in others if other is not None and other.is_file()])
    if any(other is not None and path.absolute() == other.absolute() for other in others):
        raise PathError(f"{option} {path}", "is another file of this command", "choose another name")


def page_path(path: Path | None, option: str, *, overwrite: bool, others: Sequence[Path | None]) -> None:
    """The same for a page, which cannot go to stdout."""
    if path == Path("-"):
        raise PathError(f"{option} -", "is no file name", "give a file; only --json can go to stdout")
    report_path(None if path is None else str(path), option, overwrite=overwrite, others=others)
