"""How a command ends: JSON where it was asked for, tables for people, and what became of `--require`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from .console import errors, out, write_json

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.gates import GateResult
    from seam_onnx.request import Delivery

__all__ = ["conclude", "finish"]

FAILED = 1


class Judged(Protocol):
    """A result with gates."""

    @property
    def gates(self) -> "tuple[GateResult, ...]":
        """What became of each."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""


Found = TypeVar("Found", bound=Judged)


def finish(found: Found, delivery: "Delivery", show: Callable[[Found, bool], None]) -> None:
    """Write JSON where it was asked for, show the result (told whether to be quiet), conclude."""
    if delivery.json is not None:
        write_json(found.to_json(), str(delivery.json))
    if not delivery.piped:
        show(found, delivery.quiet)
    conclude(found.gates, delivery.quiet or delivery.piped)


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
