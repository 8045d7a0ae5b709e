"""How the outcome of `--require` is told, the same for prune, validate and bench."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from .console import errors, out

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.gates import GateResult

__all__ = ["conclude", "with_gates"]

FAILED = 1


def with_gates(plain: dict[str, Any], results: Sequence["GateResult"]) -> dict[str, Any]:
    """A result in JSON's types with what became of the gates."""
    from seam_onnx.validate import to_json

    return {**plain, "gates": to_json(results)}


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
