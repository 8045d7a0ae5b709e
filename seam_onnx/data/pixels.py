"""Arrays of images, (N, H, W, C) in RGB order: recognised, recoloured, resized, put in the model's layout."""

import numpy as np
from PIL import Image

from seam_onnx.data.dataset import Array
from seam_onnx.errors import DataError

__all__ = ["channels_last", "ordered", "recoloured", "resized"]

_LUMA = np.array([19595, 38470, 7471], np.uint32)
"""Pillow's weights of R, G, B for mode "L", in 1/65536."""


def channels_last(images: Array) -> Array:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3 -> (N, H, W, C), a view; else DataError."""
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images.transpose(0, 2, 3, 1)
    why = f"an array of shape {images.shape} holds no gray or colour images"
    raise DataError("data", why, "give (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1 or 3")


def recoloured(images: Array, channels: int) -> Array:
    """(N, H, W, 1 or 3) -> (N, H, W, channels): gray is repeated, uint8 colour becomes Pillow's luma."""
    if images.shape[3] == channels:
        return images
    if images.shape[3] == 1:
        return np.repeat(images, channels, axis=3)
    if images.dtype != np.uint8:
        why = f"{images.shape[3]} channels where the model takes {channels}, and floats are taken as they are"
        raise DataError("data", why, "give uint8 images, or floats with the model's channels")
    gray = np.empty((*images.shape[:3], 1), np.uint8)
    for image, out in zip(images, gray, strict=True):
        out[..., 0] = (image @ _LUMA + 0x8000) >> 16
    return gray


def resized(image: Image.Image, size: tuple[int, int], shorter: int | None, resample: str) -> Image.Image:
    """The image at `size` = (height, width): squashed, or cut from it once its shorter side is `shorter`."""
    (height, width), by = size, Image.Resampling[resample.upper()]
    if shorter is None:
        return image if image.size == (width, height) else image.resize((width, height), by)
    short = min(image.size)
    image = image.resize((shorter * image.width // short, shorter * image.height // short), by)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def ordered(images: Array, bgr: bool, nchw: bool) -> Array:
    """(N, H, W, C) in RGB order -> the model's channel order and layout, a view."""
    images = images[..., ::-1] if bgr else images
    return images.transpose(0, 3, 1, 2) if nchw else images
