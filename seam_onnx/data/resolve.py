"""The preprocessing in force: what the model's input shape says, then a configuration file, then flags."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seam_onnx.data.config import read_fields
from seam_onnx.data.preprocess import Preprocess, Shape, fits, shape_text
from seam_onnx.data.raw import RawSplits
from seam_onnx.errors import DataError
from seam_onnx.values import Natural

__all__ = ["Augment", "PreprocessFlags", "beside", "resolve"]

Augment = Literal["crop", "flip", "zoom"]
"""Ways to vary an image."""


@dataclass(frozen=True)
class PreprocessFlags:
    """What a person says about the preprocessing (see `Preprocess`); None leaves it to file and model."""

    size: tuple[Natural, Natural] | None = None
    """Image size: 224 or 240x320 (height x width) [the model's]."""
    mean: tuple[float, ...] | None = None
    """Subtracted after scaling, one number or one a channel, e.g. .485,.456,.406."""
    std: tuple[float, ...] | None = None
    """Divides after that, one number or one a channel."""
    layout: str | None = None
    """nchw, nhwc or none (arrays go as they are) [by the model's input]."""
    scale: float | None = None
    """Multiplies raw pixels [1/255 for 8-bit images]."""
    channels: str | None = None
    """rgb, bgr or gray [by the number of channels]."""
    augment: tuple[Augment, ...] | None = None
    """crop,flip,zoom or none [all for colour, crop for gray]."""


def beside(data: Path | RawSplits, name: str) -> Path | None:
    """A file of this name in the data's folder, if there is one; arrays have no folder."""
    if isinstance(data, RawSplits):
        return None
    path = (data if data.is_dir() else data.parent) / name
    return path if path.is_file() else None


def resolve(input_shape: Shape, file: Path | None = None, flags: PreprocessFlags | None = None) -> Preprocess:
    """The `Preprocess` for a model whose input has this shape (batch first, None where free).

    Raises PathError for an unreadable file, DataError for a senseless one and for anything that contradicts
    the model's input shape.
    """
    fields = _from_shape(input_shape)
    if file is not None:
        said, foreign = read_fields(file)
        if foreign and fields["layout"] == "none" and len(input_shape) == 4:
            fields["layout"] = "nchw"
        fields |= said
    fields |= _from_flags(flags or PreprocessFlags(), fields)
    if fields["layout"] != "none":
        fields = _size_of(fields["layout"], input_shape) | fields
    preprocess = Preprocess(**fields | {"sample": input_shape[1:]})
    _check(preprocess, input_shape)
    return preprocess


def _from_shape(shape: Shape) -> dict[str, Any]:
    """Layout and channels; `channels` only where the channel axis is known."""
    if len(shape) == 4 and shape[1] in (1, 3):
        return {"layout": "nchw", "channels": "gray" if shape[1] == 1 else "rgb"}
    if len(shape) == 4 and shape[3] in (1, 3):
        return {"layout": "nhwc", "channels": "gray" if shape[3] == 1 else "rgb"}
    return {"layout": "none"}


def _size_of(layout: str, shape: Shape) -> dict[str, Any]:
    sides = (shape[2:4] if layout == "nchw" else shape[1:3]) if len(shape) == 4 else ()
    return {"size": sides} if sides and None not in sides else {}


def _from_flags(flags: PreprocessFlags, fields: dict[str, Any]) -> dict[str, Any]:
    """The flags given; a new size keeps a crop's proportion."""
    given = {f.name: v for f in dataclasses.fields(flags) if (v := getattr(flags, f.name)) is not None}
    if "size" in given and "resize_to" in fields and "size" in fields:
        given["resize_to"] = round(fields["resize_to"] * max(given["size"]) / max(fields["size"]))
    return given


def _check(preprocess: Preprocess, shape: Shape) -> None:
    if preprocess.layout == "none":
        return
    if len(shape) != 4:
        why = f"the model's input of {len(shape)} axes holds no images"
        raise DataError(f"layout {preprocess.layout}", why, "give --layout none")
    sides = preprocess.size or (None, None)
    count = preprocess.channel_count
    made = (count, *sides) if preprocess.layout == "nchw" else (*sides, count)
    if not fits(made, shape[1:]):
        why = f"makes samples of {shape_text(made)}, but the model takes {shape_text(shape[1:])}"
        raise DataError("preprocessing", why, "correct --size, --layout, --channels or the file")
