"""What a network costs, as a search counts it: multiply-adds, parameters, or the milliseconds of its layers.

Milliseconds come as a value, a `Latencies`: search runs no onnxruntime. A layer's are known at some widths and taken to be
linear between them, one axis after the other; a layer of an unknown kind costs what its multiply-adds would elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seam_onnx.channels import Alive, Channels, analyze
from seam_onnx.model import Model

__all__ = ["Latencies", "LayerLatency", "Price", "macs", "params", "price_of"]


class Price(Protocol):
    """What is paid for the channels that stay; never less for more of them but for noise."""

    def __call__(self, channels: Channels, alive: Alive, /) -> float:
        """Of a network with these channels (labels,) alone."""


def macs(channels: Channels, alive: Alive, /) -> float:
    """Multiply-adds."""
    return channels.cost(alive).macs


def params(channels: Channels, alive: Alive, /) -> float:
    """Parameters."""
    return channels.cost(alive).params


def price_of(model: Model, price: Price) -> float:
    """Of a whole network."""
    channels = analyze(model)
    return price(channels, channels.everything())


@dataclass(frozen=True)
class LayerLatency:
    """How long one layer takes, by its widths."""

    widths: tuple[tuple[int, ...], ...]
    """For each axis along which it can be narrowed the widths measured, rising."""
    ms: NDArray[np.float64]
    """At these widths, one axis an axis."""

    def at(self, counts: tuple[int, ...]) -> float:
        """Milliseconds at any widths; below and above the measured ones it is those of the nearest; 0 where a width is."""
        if 0 in counts:
            return 0.0
        values = self.ms
        for count, widths in zip(counts, self.widths, strict=True):
            place = float(np.interp(count, widths, np.arange(len(widths))))
            low = int(place)
            values = values[low] + (place - low) * (values[min(low + 1, len(widths) - 1)] - values[low])
        return float(values)


@dataclass(frozen=True)
class Latencies:
    """A price: the sum of the layers' milliseconds."""

    layers: Mapping[str, LayerLatency]
    """By the node's name."""
    rate: float
    """Milliseconds of one multiply-add in a layer that is not among them."""

    def __call__(self, channels: Channels, alive: Alive, /) -> float:
        """See `Price`; at batch 1."""
        total = 0.0
        for work in channels.works:
            counts = tuple(int(alive[labels].sum()) for labels in work.axes)
            known = self.layers.get(work.node)
            total += work.unit * float(np.prod(counts)) * self.rate if known is None else known.at(counts)
        return total
