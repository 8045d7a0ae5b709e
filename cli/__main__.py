"""The installed command, and `python -m seam_onnx_cli`: quiet on Ctrl-C from the first import on."""

import os
import signal

__all__ = ["run"]

INTERRUPTED = 130


def run() -> None:
    """Load the command line, which takes a moment, and run it. Until it is loaded there is nothing to clean up."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else somebody wants SIGINT ignored
    if ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from .main import run as command

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    run()
