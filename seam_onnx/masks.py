"""Masks: which elements of which initializers stay, as they are stored beside a model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from seam_onnx.atomic import writing
from seam_onnx.errors import PathError, UsageError

__all__ = ["Mask", "MaskSet", "read_masks", "write_masks"]

KEPT = "kept channels of node "
"""What the names of `MaskSet.kept` begin with in a file."""
Mask = NDArray[np.bool_]
"""True = keep; broadcasts to the shape of its initializer."""


@dataclass(frozen=True)
class MaskSet:
    """Masks by initializer name; an initializer that is not named stays whole."""

    masks: Mapping[str, Mask]
    """One a masked initializer."""
    sha256: str
    """Of the model file they belong to."""
    kept: Mapping[str, Mask] = field(default_factory=dict)
    """By node name, for nodes that combine channels: which ones they combine. As long as the node's first operand along
    its axis of channels, 1 along the others."""

    def digest(self) -> str:
        """Hex sha256 over names and contents, the same for equal masks."""
        digest = hashlib.sha256(self.sha256.encode())
        for masks in (self.masks, self.kept):
            for name in sorted(masks):
                digest.update(f"{name} {masks[name].shape}".encode())
                digest.update(np.packbits(masks[name]).tobytes())
        return digest.hexdigest()


def write_masks(masks: MaskSet, path: Path, *, overwrite: bool = False) -> None:
    """Write as safetensors (bool tensors), the model's sha256 in the metadata."""
    tensors = {name: np.asarray(mask, order="C") for name, mask in masks.masks.items()}
    tensors |= {KEPT + name: np.asarray(mask, order="C") for name, mask in masks.kept.items()}
    content = save(tensors, metadata={"format": "seam-onnx masks 1", "model.sha256": masks.sha256})
    with writing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def read_masks(path: Path) -> MaskSet:
    """Read what `write_masks` wrote. Raises PathError or UsageError."""
    if not path.is_file():
        raise PathError(path, "no such file", "give a masks.safetensors")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            masks = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(path, f"is not a safetensors file ({error})", "give a masks.safetensors") from error
    for name, mask in masks.items():
        if mask.dtype != np.bool_:
            raise UsageError(path, f"mask {name!r} is {mask.dtype}, not bool", "give masks that seam-onnx wrote")
    if "model.sha256" not in metadata:
        raise UsageError(path, "does not say which model it belongs to", "give masks that seam-onnx wrote")
    kept = {name.removeprefix(KEPT): mask for name, mask in masks.items() if name.startswith(KEPT)}
    masks = {name: mask for name, mask in masks.items() if not name.startswith(KEPT)}
    return MaskSet(masks, metadata["model.sha256"], kept)
