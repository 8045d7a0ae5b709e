"""The `seam-onnx` command."""

import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer

from seam_onnx.errors import SeamError

from .apply import apply
from .bench import bench
from .compact import compact
from .console import errors
from .init import init
from .inspect import inspect
from .lazy import import_lazily
from .options import Grouped
from .prune import prune
from .validate import validate

__all__ = ["app", "run"]

UNEXPECTED = 70
USAGE = 2
INTERRUPTED = 130

import_lazily("sympy", "onnx_ir._symbolic_shapes")

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Grouped)(prune)
app.command(cls=Grouped)(init)
app.command(cls=Grouped)(apply)
app.command(cls=Grouped)(inspect)
app.command(cls=Grouped)(compact)
app.command(cls=Grouped)(validate)
app.command(cls=Grouped)(bench)


def print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"seam-onnx {version('seam-onnx')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with errors.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give it an ONNX classifier and the labels you need; get a smaller, faster ONNX file back, with proof.

    Exit codes: 0 done, 1 a gate failed, 2 usage, labels, data or paths, 3 the model, 70 a bug, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def run() -> None:
    """Entry point: errors become one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code: Any = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, line = explained(error)
        errors.print(f"error: {line}")
    if code == INTERRUPTED:
        errors.print("interrupted: nothing was written")
    sys.exit(code)


def explained(error: Exception) -> tuple[int, str]:
    """The exit code for an error, and its one line."""
    if isinstance(error, SeamError):
        return error.exit_code, str(error)
    if hasattr(error, "format_message"):  # typer's own, whose classes it does not export
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "seam-onnx"
        return USAGE, " ".join(f"{error.format_message().rstrip('.')}; see {command} --help".split())
    text = " ".join(str(error).split())[:300]
    return UNEXPECTED, f"{type(error).__name__}: {text}; this is a bug: report it with what --debug shows"
