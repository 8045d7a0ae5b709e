"""Reading a data set: `.npz` arrays here, image folders and CSV tables in `files`. No image is decoded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seam_onnx.data.dataset import Array, Labels
from seam_onnx.data.files import read_csv, read_folder
from seam_onnx.data.pixels import channels_last
from seam_onnx.data.raw import RawPart, RawSplits
from seam_onnx.errors import DataError, PathError

__all__ = ["read", "read_arrays", "read_npz"]

Arrays = dict[str, npt.NDArray[Any]]
_KEYS = "x and y, or x_train, y_train, x_test, y_test; optional x_val, y_val, names"


def read(path: Path) -> RawSplits:
    """The data set at `path`: a folder of class folders (or of train/, val/, test/), an `.npz` or a `.csv`.

    Arrays are loaded, image files listed. Raises PathError where nothing is there, DataError for what is
    wrong in it.
    """
    if not path.exists():
        raise PathError(path, "no such file or folder", "give an image folder, an .npz or a .csv")
    if path.is_dir():
        return read_folder(path)
    if path.suffix.lower() == ".csv":
        return read_csv(path)
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    raise DataError(path, "is no data set that can be read", "give an image folder, an .npz or a .csv")


def read_npz(path: Path) -> RawSplits:
    """The arrays of an `.npz`, see `read_arrays`. Nothing is unpickled. Raises PathError where unreadable, too."""
    return read_arrays(_arrays(path), path)


def read_arrays(arrays: Mapping[str, npt.NDArray[Any]], source: Path = Path("arrays")) -> RawSplits:
    """Arrays: x uint8 images (any layout) or floats (N, ...), y integers (N,) or (N, 1), names (K,) texts.

    Float arrays become float32, NCHW uint8 images NHWC. Raises DataError naming the array for missing keys, shapes,
    dtypes, NaN, lengths, labels outside the names.
    """
    names = _names(source, arrays["names"]) if "names" in arrays else None
    plain = "x" in arrays
    parts = {
        split: _part(source, arrays, "" if plain else f"_{split}", names)
        for split in (("train",) if plain else ("train", "val", "test"))
        if plain or split == "train" or f"x_{split}" in arrays
    }
    return RawSplits(source, parts["train"], parts.get("val"), parts.get("test"), names)


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            known = {"names"} | {f"{xy}{split}" for xy in "xy" for split in ("", "_train", "_val", "_test")}
            return {key: archive[key] for key in archive.files if key in known}
    except PermissionError as error:
        raise PathError(path, f"cannot be read ({error.strerror})", "make it readable") from error
    except Exception as error:  # numpy and zipfile let zlib.error, RuntimeError and others through
        unsafe = "holds an object array, which is not safe to load"
        why = unsafe if "Object arrays" in str(error) else f"is no sound .npz archive ({error})"
        raise DataError(path, why, "write it with numpy.savez from plain arrays, texts as str") from error


def _part(path: Path, arrays: Mapping[str, npt.NDArray[Any]], suffix: str, names: tuple[str, ...] | None) -> RawPart:
    for key in (f"x{suffix}", f"y{suffix}"):
        if key not in arrays:
            why = f"has no array {key!r} (it has {', '.join(sorted(arrays)) or 'none that is known'})"
            raise DataError(path, why, f"give {_KEYS}")
    x, y = _x(f"{path} x{suffix}", arrays[f"x{suffix}"]), _y(f"{path} y{suffix}", arrays[f"y{suffix}"])
    if len(x) != len(y):
        why = f"{len(x)} samples but {len(y)} labels"
        raise DataError(f"{path} x{suffix}", why, "give one label for each sample")
    if not len(x):
        raise DataError(f"{path} x{suffix}", "is empty", "give at least one sample for each class")
    if names is not None and not 0 <= y.min() <= y.max() < len(names):
        why = f"labels run from {y.min()} to {y.max()}, but there are {len(names)} names"
        raise DataError(f"{path} y{suffix}", why, "give one name for each label, counted from 0")
    return RawPart(x, y)


def _x(what: str, x: npt.NDArray[Any]) -> Array:
    if x.ndim < 2:
        why = f"of shape {x.shape} holds no samples of features"
        raise DataError(what, why, "give (N, H, W), (N, H, W, C) or (N, ...)")
    if x.dtype == np.uint8:
        image = x.ndim == 4 and x.shape[3] not in (1, 3) and x.shape[1] in (1, 3)
        return channels_last(x) if image else x
    if x.dtype.kind != "f":
        why = f"of dtype {x.dtype} is neither uint8 nor float"
        raise DataError(what, why, "give uint8 images or float32 arrays")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        raise DataError(what, "has values that are NaN or infinite", "remove these samples")
    return x


def _y(what: str, y: npt.NDArray[Any]) -> Labels:
    if y.dtype.kind not in "iu":
        do = "give class indices counted from 0, and the texts as names"
        raise DataError(what, f"labels of dtype {y.dtype} are not integers", do)
    if y.ndim != 1 and y.shape[1:] != (1,):
        why = f"labels of shape {y.shape}, where (N,) is expected"
        raise DataError(what, why, "give one class index a sample (of one-hot rows, the argmax)")
    return y.reshape(-1).astype(np.int64)


def _names(path: Path, names: npt.NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        why = f"of shape {names.shape} and dtype {names.dtype} is no list of texts"
        raise DataError(f"{path} names", why, "give numpy.array([...], dtype=str)")
    texts = names.tolist()
    return tuple(text.decode(errors="replace") if isinstance(text, bytes) else text for text in texts)
