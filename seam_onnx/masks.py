"""Masks: which elements of which initializers stay."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask", "MaskSet", "factors"]

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


def factors(mask: Mask) -> list[Mask]:
    """Masks whose product is this one: one vector for each axis along which whole slices go, or else the mask itself.

    A mask of channels that go in and out of a layer, (O, I, 1, 1), is O + I bits that way, not O times I.
    """
    axes = range(mask.ndim)
    sides: list[Mask] = [np.asarray(mask.any(axis=tuple(k for k in axes if k != axis), keepdims=True)) for axis in axes]
    vectors = [side for side in sides if not side.all()]
    product = np.ones((1,) * mask.ndim, bool)
    for vector in vectors:
        product = product & vector
    return vectors if vectors and np.array_equal(np.broadcast_to(product, mask.shape), mask) else [mask]
