"""Image files to one arranged array: decoded once, by a few threads, straight into their place."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from seam_onnx.data.dataset import Array
from seam_onnx.data.preprocess import Preprocess, shape_text
from seam_onnx.errors import DataError

__all__ = ["Progress", "decode"]

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all), from the calling thread."""


def decode(files: Sequence[Path], preprocess: Preprocess, progress: Progress | None = None) -> Array:
    """The images as uint8 (N, C, h, w) or (N, h, w, C), arranged by `preprocess`.

    Pillow decodes without the interpreter's lock, so threads help. Raises DataError naming the file that does
    not decode or, where `preprocess` leaves sizes as they are, has another size than the first.
    """
    first = _arranged(files[0], preprocess)
    out = np.empty((len(files), *first.shape), np.uint8)
    preprocess.check(out)

    def place(index: int) -> None:
        pixels = _arranged(files[index], preprocess) if index else first
        if pixels.shape != first.shape:
            why = f"is {shape_text(pixels.shape)} and the first image {shape_text(first.shape)}"
            raise DataError(files[index], why, "give --size, so that all are resized")
        out[index] = pixels

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, _ in enumerate(pool.map(place, range(len(files))), 1):
            if progress is not None:
                progress(done, len(files))
    return out


def _arranged(file: Path, preprocess: Preprocess) -> Array:
    try:
        with Image.open(file) as opened:
            opened.load()
            image = _eight_bits(opened)
    except Exception as error:  # Pillow's decoders let struct.error, zlib.error, TypeError and others through
        why = f"does not decode as an image ({error})"
        raise DataError(file, why, "repair or remove it") from error
    return preprocess.arrange_one(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit gray, which Pillow would clip at 255, to its upper 8 bits."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
