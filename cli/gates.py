"""`--require`: the option that validate, bench and prune share, and how its outcome is told."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .console import errors, out

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.gates import GateResult

__all__ = ["Require", "conclude"]

FAILED = 1

Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", help="Exit 1 unless this holds, e.g. 'accuracy>=original-0.5pp'; repeatable (docs/gates.md)."
    ),
]
"""The option."""


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
