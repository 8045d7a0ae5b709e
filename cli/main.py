"""The `seam-onnx` command."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from seam_onnx.errors import SeamError
from seam_onnx_cli.compact import compact
from seam_onnx_cli.console import errors
from seam_onnx_cli.inspect import inspect
from seam_onnx_cli.prune import prune

__all__ = ["app", "run"]

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(prune)
app.command()(inspect)
app.command()(compact)


def print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"seam-onnx {version('seam-onnx')}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with errors.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give it an ONNX classifier and the labels you need; get a smaller, faster ONNX file back, with proof.

    Exit codes: 0 done, 2 usage, labels, data or paths, 3 the model, 130 interrupted.
    """


def run() -> None:
    """Entry point: errors become one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except SeamError as error:
        if debug:
            raise
        errors.print(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("interrupted: nothing was written")
        sys.exit(INTERRUPTED)
