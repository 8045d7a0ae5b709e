"""Writing files so that nothing half-written is ever seen, whatever interrupts it."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seam_onnx.errors import PathError

__all__ = ["check_report_path", "check_writable", "refuse_source", "write_text", "writing"]


@contextmanager
def writing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A path to write to; on success it, and every file written beside it, takes its final place.

    The temporary folder lies beside `path`, so that the rename stays on one file system. Side files (external data)
    are renamed before the main one, so that the main file never names data that is not there.

    Raises:
        PathError: the folder cannot be made or written, or `path` exists and `overwrite` is False.
    """
    check_writable(path, overwrite=overwrite)
    missing = [p for p in path.absolute().parents if not p.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".writing.", dir=path.parent))
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise PathError(path.parent, why, "choose another folder") from error
    try:
        yield folder / path.name
        sides = sorted(p for p in folder.iterdir() if p.name != path.name)
        made = [*sides, folder / path.name]
        for file in made:
            sync(file)
        with undivided():
            for file in made:
                file.replace(path.parent / file.name)
        sync(path.parent)
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise PathError(path, why, "check space and permissions") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in missing:  # made here: goes again where nothing was put there
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def undivided() -> Iterator[None]:
    """Hold Ctrl-C back until the block is through: all of its files are in place then, or none."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Refuse early what could not be written later. Makes nothing."""
    try:
        folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise PathError(path, f"cannot be written ({error.strerror})", "give another file name") from error
    if "\0" in str(path):
        raise PathError(path.name.replace("\0", "?"), "is no file name", "give another file name")
    if folder:
        raise PathError(path, "is a folder", "give a file name")
    if exists and not overwrite:
        raise PathError(path, "exists already", "give another name, or --force to replace it")
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise PathError(parent, "is no folder", "choose another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PathError(parent, "is not writable", "choose another folder")


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file atomically, UTF-8."""
    with writing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Ask the operating system to put a file or folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_source(target: Path, sources: Iterable[Path | str | None]) -> None:
    """Raise PathError where a file to write is one that the model was, and its weights still are, read from."""
    for source in sources:
        if source is not None and target.exists() and target.samefile(source):
            raise PathError(target, "is an input file", "choose another output name")


def check_report_path(path: Path, option: str, *, overwrite: bool, others: Iterable[Path]) -> None:
    """Refuse, before any work, a file for a report that cannot be written or is another file of the command."""
    others = tuple(others)
    check_writable(path, overwrite=overwrite)
    refuse_source(path, [other for other in others if other.is_file()])
    if any(path.absolute() == other.absolute() for other in others):
        raise PathError(f"{option} {path}", "is another file of this command", "choose another name")
