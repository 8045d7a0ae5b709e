"""What a configuration file says, as fields of `Preprocess`: our `preprocess.json` or Hugging Face's.

A field that the file leaves open is absent from the result. The two are told apart by their keys.
"""

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from seam_onnx.data.names import read_text
from seam_onnx.errors import DataError

__all__ = ["hugging_face_fields", "own_fields", "read_fields"]

_HUGGING_FACE = {"image_processor_type", "feature_extractor_type", "image_mean", "image_std", "crop_size"}
_BAD = (KeyError, TypeError, ValueError, OverflowError)


def read_fields(path: Path) -> tuple[dict[str, Any], bool]:
    """(fields, whether the file is Hugging Face's). PathError where unreadable, DataError where senseless."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        do = "give a preprocess.json or preprocessor_config.json"
        raise DataError(path, f"is not JSON ({error})", do) from error
    foreign = isinstance(data, dict) and any(key in _HUGGING_FACE or key.startswith("do_") for key in data)
    try:
        return (hugging_face_fields(data) if foreign else own_fields(data)), foreign
    except DataError as error:
        raise DataError(path, f"{error.what}: {error.why}", error.do) from error


def own_fields(data: object) -> dict[str, Any]:
    """Our format: the fields' names as keys; null counts as left open. Raises DataError for anything else."""
    if not isinstance(data, dict):
        raise DataError("preprocessing", "is no JSON object", 'write {"mean": [0.5], "std": [0.5]} and so on')
    fields = {}
    for key, value in data.items():
        if key not in _READERS:
            close = difflib.get_close_matches(key, _READERS, n=1) or list(_READERS)
            raise DataError(f"preprocessing {key}", "is unknown", f"use {', '.join(close)}")
        if value is not None:
            fields[key] = _read(key, value, _READERS[key])
    return fields


def hugging_face_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """A `preprocessor_config.json`, of today's image processors or the older feature extractors.

    Left out, `do_resize`, `do_rescale` and `do_normalize` count as true, as there. Raises DataError for a
    size that an image of fixed size cannot come from.
    """
    fields: dict[str, Any] = {}
    factor = data.get("rescale_factor", 1 / 255) if data.get("do_rescale", True) else 1.0
    if abs(_read("rescale_factor", factor, _number) * 255 - 1) > 1e-3:
        fields["scale"] = float(factor)
    if data.get("do_normalize", True):
        for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
            if data.get(theirs) is not None:
                fields[ours] = _read(theirs, data[theirs], _floats)
    if data.get("do_flip_channel_order"):
        fields["channels"] = "bgr"
    if isinstance(data.get("resample"), int):
        fields["resample"] = _read("resample", data["resample"], lambda v: Image.Resampling(v).name.lower())
    return fields | _geometry(data)


def _geometry(data: Mapping[str, Any]) -> dict[str, Any]:
    """`size`, `resize`, `resize_to` of a Hugging Face file."""
    crop = _read("crop_size", data.get("crop_size"), _side) if data.get("do_center_crop") else None
    size = _read("size", data.get("size"), _side) if data.get("do_resize", True) else None
    if size is None:
        return {} if crop is None else {"size": _square(crop)}
    if "crop_pct" in data and isinstance(size, int):
        whole = _read("crop_pct", data["crop_pct"] or 224 / 256, lambda share: int(size / share))
        return _cut(size, whole) if size < 384 else {"size": _square(size)}
    if crop is not None and isinstance(size, int):
        return _cut(crop, size)
    if crop is not None and _square(crop) != size:
        why = f"squashes to {size} and cuts {crop} from it, which is not supported"
        raise DataError("preprocessing crop_size", why, "give images cut to size, and use flags instead")
    shortest = isinstance(data.get("size"), dict) and isinstance(size, int)
    return _cut(size, size) if shortest else {"size": _square(size)}


def _cut(crop: int | tuple[int, int], shorter: int | tuple[int, int]) -> dict[str, Any]:
    return {"size": _square(crop), "resize": "shorter", "resize_to": shorter}


def _square(side: int | tuple[int, int]) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


def _side(value: Any) -> int | tuple[int, int] | None:
    """Hugging Face's sizes: 224, {shortest_edge: 224}, {height: 224, width: 224} or [224, 224]."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, dict):
        return _pair(value)
    if "shortest_edge" in value:
        return int(value["shortest_edge"])
    return int(value["height"]), int(value["width"])


def _read(key: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    try:
        return reader(value)
    except _BAD as error:
        why = f"{value!r} makes no sense here"
        raise DataError(f"preprocessing {key}", why, "correct it, or use flags") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value.lower()


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    if _number(value) != int(value):
        raise ValueError
    return int(value)


def _floats(value: Any) -> tuple[float, ...]:
    return tuple(map(_number, value)) if isinstance(value, list) else (_number(value),)


def _pair(value: Any) -> tuple[int, int]:
    height, width = value if isinstance(value, list) else (value, value)
    return _whole(height), _whole(width)


_READERS: dict[str, Callable[[Any], Any]] = {
    "size": _pair,
    "resize": _text,
    "resize_to": _whole,
    "resample": _text,
    "scale": _number,
    "mean": _floats,
    "std": _floats,
    "layout": _text,
    "channels": _text,
    "augment": lambda names: tuple(map(_text, [names] if isinstance(names, str) else names)),
    "sample": lambda dims: tuple(None if dim is None else _whole(dim) for dim in dims),
}
"""A reader for each field of `Preprocess`."""
