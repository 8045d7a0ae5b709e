"""Image files and their labels: class folders and CSV tables. Files are listed, not opened."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from seam_onnx.data.names import read_text
from seam_onnx.data.raw import RawPart, RawSplits
from seam_onnx.errors import DataError, PathError

__all__ = ["read_csv", "read_folder"]

_IMAGES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_PATH_COLUMN = ("path", "file", "filename", "image")
_LABEL_COLUMN = ("label", "class", "target", "category", "name")

_Row = tuple[str, Path, str]
"""(split, image file, label as text)"""


def read_folder(path: Path) -> RawSplits:
    """Class folders of images, or train/, val/ (valid/, validation/) and test/ with class folders in them.

    The classes are the folders' names, sorted; images may lie deeper. Hidden files and files that are no
    images are passed over. Raises DataError for a class folder without images or a folder without class
    folders, PathError where a folder cannot be listed.
    """
    folders = _folders(path)
    splits = {folder.name: folder for folder in folders if folder.name in _SPLITS and _folders(folder)}
    if "train" not in splits and len(splits) < len(folders):
        splits = {}
    splits = splits or {"train": path}
    rows = [row for name, folder in splits.items() for row in _rows_of_folder(_SPLITS[name], folder)]
    return _raw(path, rows, by_name=True)


def read_csv(path: Path) -> RawSplits:
    """A table of image path (relative to the table), label, and optionally split (train, val or test).

    A first line that names the columns is optional. Labels are class indices where all are whole numbers,
    else names. Raises PathError where unreadable, DataError naming the line for what is wrong in it.
    """
    try:
        lines = [(n, row) for n, row in enumerate(csv.reader(read_text(path).splitlines()), 1) if any(row)]
    except csv.Error as error:
        raise DataError(path, f"is no CSV table ({error})", "give lines of path,label") from error
    columns, header = _columns(path, lines[0][1] if lines else [])
    rows = [_row_of_table(path, number, row, columns) for number, row in lines[header:]]
    if not rows:
        raise DataError(path, "lists no images", "give lines of path,label")
    return _raw(path, rows, by_name=not all(re.fullmatch("-?[0-9]{1,18}", label) for _, _, label in rows))


def _raw(source: Path, rows: Sequence[_Row], by_name: bool) -> RawSplits:
    names = tuple(sorted({label for _, _, label in rows})) if by_name else None
    index = {name: i for i, name in enumerate(names or ())}
    parts = {}
    for split in dict.fromkeys(split for split, _, _ in rows):
        mine = [(file, label) for where, file, label in rows if where == split]
        y = np.array([index[label] if by_name else int(label) for _, label in mine], np.int64)
        parts[split] = RawPart(tuple(file for file, _ in mine), y)
    if "train" not in parts:
        raise DataError(source, f"has only a {next(iter(parts))} split", "give training images too")
    return RawSplits(source, parts["train"], parts.get("val"), parts.get("test"), names)


def _rows_of_folder(split: str, folder: Path) -> Iterable[_Row]:
    classes = _folders(folder)
    if not classes:
        raise DataError(folder, "has no class folders", "put each class's images into a folder of its name")
    for class_folder in classes:
        files = _image_files(class_folder)
        if not files:
            raise DataError(class_folder, "holds no image", f"put images there or remove it ({_kinds()})")
        yield from ((split, file, class_folder.name) for file in files)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not _hidden(entry.name))
    except OSError as error:
        raise PathError(path, f"cannot be listed ({error.strerror})", "make it readable") from error


def _image_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        images = (name for name in names if Path(name).suffix.lower() in _IMAGES and not _hidden(name))
        files.extend(Path(here, name) for name in images)
    return sorted(files)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _kinds() -> str:
    return ", ".join(sorted(_IMAGES))


def _columns(path: Path, first: Sequence[str]) -> tuple[tuple[int, int, int | None], int]:
    """((path, label, split) columns, 1 if the first line names them else 0)."""
    heads = [head.strip().lower() for head in first]
    if not set(heads) & set(_PATH_COLUMN):
        return (0, 1, 2 if len(heads) > 2 else None), 0
    label = next((heads.index(name) for name in _LABEL_COLUMN if name in heads), None)
    if label is None:
        raise DataError(path, f"its columns are {', '.join(heads)}", "name one path and one label")
    image = next(heads.index(name) for name in _PATH_COLUMN if name in heads)
    return (image, label, heads.index("split") if "split" in heads else None), 1


def _row_of_table(path: Path, number: int, row: Sequence[str], columns: tuple[int, int, int | None]) -> _Row:
    def refuse(why: str) -> DataError:
        return DataError(f"{path} line {number}", why, "give path,label or path,label,split")

    cells = [row[c].strip() if c is not None and c < len(row) else "" for c in columns]
    if not cells[0] or not cells[1]:
        raise refuse("has no path or no label")
    split = _SPLITS.get(cells[2].lower() or "train")
    if split is None:
        raise refuse(f"names the split {cells[2]!r}, which is none of {', '.join(_SPLITS)}")
    file = path.parent / cells[0]
    if not file.is_file():
        raise refuse(f"names {cells[0]}, which is not there")
    return split, file, cells[1]
