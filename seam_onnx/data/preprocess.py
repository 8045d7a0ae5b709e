"""From raw images to what the model reads: first `arrange` (uint8 stays uint8), then `normalize` (float32).

The steps are apart so that a data set is arranged once and kept small in memory, while normalisation, which
is one multiplication and one addition a channel (`affine`), runs batch by batch wherever the batch is.
"""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from seam_onnx.data.config import own_fields
from seam_onnx.data.dataset import Array
from seam_onnx.data.pixels import channels_last, ordered, recoloured, resized
from seam_onnx.errors import DataError

__all__ = ["CHANNELS", "Preprocess", "Shape", "fits", "shape_text"]

Float32 = npt.NDArray[np.float32]
Shape = tuple[int | None, ...]
"""None where free."""

CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
"""How many channels each order has."""
_AUTO = ("auto",)
_CHOICES = {
    "resize": ("squash", "shorter"),
    "resample": tuple(name.lower() for name in Image.Resampling.__members__),
    "layout": ("nchw", "nhwc", "none"),
    "channels": tuple(CHANNELS),
    "augment": ("crop", "flip", "zoom"),
}


@dataclass(frozen=True)
class Preprocess:
    """How raw images become the model's input. Raises DataError where the fields contradict each other."""

    size: tuple[int, int] | None = None
    """(height, width) in pixels, or None: leave as it is."""
    resize: str = "squash"
    """`squash` both sides to `size`, or bring the `shorter` side to `resize_to` and crop the centre."""
    resize_to: int | None = None
    """Pixels of the shorter side before the crop; None: the larger side of `size`."""
    resample: str = "bilinear"
    """Pillow's name of the filter: nearest, box, bilinear, hamming, bicubic or lanczos."""
    scale: float | None = None
    """Multiplies raw values; None: 1/255 for uint8, 1 for floats."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted after scaling; one number, or one a channel in the model's channel order."""
    std: tuple[float, ...] = (1.0,)
    """Divides after that; one number, or one a channel in the model's channel order."""
    layout: str = "nchw"
    """`nchw` or `nhwc` images, or `none`: arrays go as they are (sound, tables, images of many bands)."""
    channels: str = "rgb"
    """`rgb`, `bgr` (the flip comes before mean and std) or `gray`; of no meaning without a layout."""
    augment: tuple[str, ...] = _AUTO
    """Of `crop`, `flip` and `zoom`, for the search. Default: all for 3 channels, crop for 1, none without layout."""
    sample: Shape | None = None
    """Shape of one arranged sample that the model takes, None where free; `arrange` checks it."""

    def __post_init__(self) -> None:
        if self.augment == _AUTO:
            more = ("flip", "zoom") if CHANNELS.get(self.channels) == 3 else ()
            object.__setattr__(self, "augment", () if self.layout == "none" else ("crop", *more))
        _check_choices(self)
        _check_geometry(self)
        _check_numbers(self)

    @property
    def channel_count(self) -> int:
        """Length of the channel axis; 1 without a layout, where one scale serves all values."""
        return 1 if self.layout == "none" else CHANNELS[self.channels]

    def arrange(self, images: Array) -> Array:
        """uint8 (N, H, W) or (N, H, W, C) -> (N, C, h, w) or (N, h, w, C), uint8; floats too, never resized.

        Images that have the model's size already are neither resized nor cropped. (N, C, H, W) is recognised
        by its shape. Without a layout any array passes. Raises DataError where the result does not fit the
        model.
        """
        arranged = images if self.layout == "none" else self._arrange_images(images)
        self.check(arranged)
        return np.ascontiguousarray(arranged)

    def arrange_one(self, image: Image.Image) -> Array:
        """One decoded image -> uint8 (C, h, w) or (h, w, C). Raises DataError without a layout."""
        if self.layout == "none":
            do = "give --layout nchw or nhwc, or an array of what the model takes"
            raise DataError("images", "the model's input does not look like an image", do)
        image = image.convert("L" if self.channel_count == 1 else "RGB")
        if self.size is not None:
            image = resized(image, self.size, self.shorter, self.resample)
        pixels = np.asarray(image).reshape(1, image.height, image.width, self.channel_count)
        arranged: Array = self._ordered(pixels)[0]
        return arranged

    def normalize(self, arranged: Array) -> Float32:
        """(x * scale - mean) / std of arranged samples, or of a single one, as float32 of the same shape."""
        mul, add = self.affine(arranged.dtype)
        axes = (-1, 1, 1) if self.layout == "nchw" else (-1,)
        result: Float32 = np.multiply(arranged, mul.reshape(axes), dtype=np.float32)
        result += add.reshape(axes)
        return result

    def affine(self, dtype: npt.DTypeLike = np.uint8) -> tuple[Float32, Float32]:
        """(mul, add), float32 (C,) each: `normalize` is x * mul + add for arranged samples of this dtype."""
        scale = self.scale if self.scale is not None else 1 / 255 if np.dtype(dtype) == np.uint8 else 1.0
        mean = np.broadcast_to(np.array(self.mean, np.float64), self.channel_count)
        std = np.broadcast_to(np.array(self.std, np.float64), self.channel_count)
        return (scale / std).astype(np.float32), (-mean / std).astype(np.float32)

    def __call__(self, images: Array) -> Float32:
        """`normalize` of `arrange`."""
        return self.normalize(self.arrange(images))

    def check(self, arranged: Array) -> None:
        """Raise DataError unless samples of this shape (N, ...) fit the model."""
        want, shape = self.sample, arranged.shape[1:]
        if want is None or fits(shape, want):
            return
        why = f"a sample is {shape_text(shape)} where the model takes {shape_text(want)}"
        raise DataError("data", why, "give data of this shape, or other --size, --layout, --channels")

    def to_json(self) -> str:
        """As a `preprocess.json`; `from_json` reads it back."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Preprocess":
        """From a `preprocess.json`; what it leaves out has its default. Raises DataError for anything odd."""
        try:
            return cls(**own_fields(json.loads(text)))
        except json.JSONDecodeError as error:
            raise DataError("preprocess.json", f"is not JSON ({error})", "repair it, or use flags") from error

    def describe(self) -> str:
        """One line for a person."""
        scale = "uint8 x 1/255" if self.scale is None else f"x {self.scale:.6g}"
        numbers = f"{scale}, mean {_numbers(self.mean)}, std {_numbers(self.std)}"
        if self.layout == "none":
            return f"arrays as they are, {numbers}"
        size = "{}x{}".format(*self.size) if self.size else "of any size"
        if self.size and self.shorter:
            size += f" cut from shorter side {self.shorter}"
        order = f"{self.channels.upper()} {self.layout.upper()}"
        return f"images {size}, {order}, {numbers}, augment {'+'.join(self.augment) or 'none'}"

    @property
    def shorter(self) -> int | None:
        """Pixels of the shorter side before the crop, or None: no crop."""
        return (self.resize_to or max(self.size or (1,))) if self.resize == "shorter" else None

    def _arrange_images(self, images: Array) -> Array:
        here, count = images.shape[1:], self.channel_count
        if self.size and here == (count, *self.size) and here != (*self.size, count):
            images = images.transpose(0, 2, 3, 1)
        images = recoloured(channels_last(images), count)
        if self.size in (None, images.shape[1:3]):
            return self._ordered(images)
        if images.dtype != np.uint8:
            why = f"floats are not resized: {images.shape[1:3]} where the model takes {self.size}"
            raise DataError("data", why, "give arrays of the model's size, or uint8 images")
        sample = (count, *self.size) if self.layout == "nchw" else (*self.size, count)
        out = np.empty((len(images), *sample), np.uint8)
        for index, image in enumerate(images):
            pixels = np.ascontiguousarray(image[..., 0] if count == 1 else image)
            out[index] = self.arrange_one(Image.fromarray(pixels))
        return out

    def _ordered(self, images: Array) -> Array:
        return ordered(images, bgr=self.channels == "bgr", nchw=self.layout == "nchw")


def _check_choices(it: Preprocess) -> None:
    for field, known in _CHOICES.items():
        given = getattr(it, field)
        for choice in (given,) if isinstance(given, str) else given:
            if choice not in known:
                raise DataError(f"preprocessing {field}", f"{choice!r} is unknown", f"use {', '.join(known)}")


def _check_geometry(it: Preprocess) -> None:
    if it.size is None and it.resize_to is None and it.resize == "squash":
        return
    if it.layout == "none":
        do = "give --layout nchw or nhwc, or no size"
        raise DataError("preprocessing size", "only images have one", do)
    if it.size is None:
        raise DataError("preprocessing resize", "has no size to crop to", "give --size")
    if min(it.size) < 1 or (it.resize_to is not None and it.resize_to < max(it.size)):
        why = f"{it.size} cannot be cut from a shorter side of {it.resize_to}"
        raise DataError("preprocessing size", why, "give positive pixels, and resize_to no less than size")


def _check_numbers(it: Preprocess) -> None:
    for field, values in (("mean", it.mean), ("std", it.std)):
        if len(values) not in (1, it.channel_count):
            why = f"{len(values)} numbers for {it.channel_count} channel(s)"
            raise DataError(f"preprocessing {field}", why, "give one, or one a channel")
    if not np.isfinite([*it.mean, *it.std, it.scale or 1]).all() or 0 in (*it.std, it.scale):
        why = "mean, std and scale must be finite, std and scale not 0"
        raise DataError("preprocessing", why, "correct them")


def fits(made: Shape, taken: Shape) -> bool:
    """Whether two shapes agree where both are known."""
    pairs = zip(made, taken, strict=False)
    return len(made) == len(taken) and all(m == t or None in (m, t) for m, t in pairs)


def shape_text(shape: Shape) -> str:
    """A shape for a person: `3x32x32`, `anyx784`."""
    return "x".join("any" if dim is None else str(dim) for dim in shape) or "a single number"


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
