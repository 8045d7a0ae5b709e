"""How the outcome of `--require` is told, the same for prune, validate and bench."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from .console import errors, out

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.gates import GateResult

__all__ = ["conclude"]

FAILED = 1


def conclude(results: Sequence["GateResult"], quiet: bool) -> None:
    """Tell failed gates on stderr, held ones on stdout unless quiet, and leave with 1 where one failed.

    Call it last: whatever has to be written is written by then.
    """
    for result in results:
        if not result.holds:
            errors.print(f"gate {result}")
        elif not quiet:
            out.print(f"gate {result}")
    if not all(result.holds for result in results):
        raise typer.Exit(FAILED)
