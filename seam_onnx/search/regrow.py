"""Regrowth: channels that went in one round come back in a later one, where the loss asks for them.

A round goes a little below its size, and what is left of it is given to channels that are dead by then. Each comes back as
it was made in the original and is read by nobody yet: weights that read it are zero. So the network answers as before, but
training moves these weights. Which ones come back says the gradient of the loss by these zeros, as in RigL (Evci et al.,
"Rigging the Lottery: Making All Tickets Winners", ICML 2020, arXiv 1911.11134, section 3, "grow"), summed over all that
read a channel and divided by what it costs; the unit is a block of channels, not a weight.

Two things stay as they are: channels that a node combines (LayerNorm, a rest output), where no weight can be zero, never
come back; a constant that a removal made of a dropped branch is the original's again when the branch comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from seam_onnx.channels import Alive, Channels, Group
from seam_onnx.lowering import Lowered
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, float_initializers
from seam_onnx.ops import Array, Labels, Role
from seam_onnx.search.depth import silence_dropped
from seam_onnx.search.price import Price
from seam_onnx.search.rounds import Rounds
from seam_onnx.search.train import objective
from seam_onnx.search.training import FIT, Training
from seam_onnx.surgery import Removal, apply_masks, channel_masks, remove_masked
from seam_onnx.surgery.contents import with_values
from seam_onnx.surgery.twin import contents_of_twin

__all__ = ["Regrown", "pulls", "regrow", "taken_back", "widened"]

Pulls = NDArray[np.float64]
READ: tuple[Role, ...] = ("read",)


@dataclass(frozen=True)
class Regrown:
    """A network with channels that have come back."""

    removal: Removal
    """What is left out of the base now."""
    model: Model
    """With the values that it had, and zeros where it will read what came back."""


def regrow(rounds: Rounds, model: Model, training: Training, price: Price, goal: float, step: int) -> Regrown | None:
    """Take channels back, up to a cost of `goal`; None where none fits or none is asked for.

    Args:
        rounds: that left the model; told of what comes back.
        model: the present network.
        training: data and loss.
        price: what `goal` is in.
        goal: cost to stay within.
        step: widths stay multiples of this.

    Cost: forward and backward of the base over `FIT` samples, and two removals.
    """
    wide, values = widened(rounds, model)
    pull = pulls(training.lowered(wide), rounds.channels, training)
    alive = taken_back(rounds.channels, rounds.alive, pull, price, goal, step)
    if np.array_equal(alive, rounds.alive):
        return None
    removal = rounds.restart(alive)
    return Regrown(removal, with_values(removal.pruned, narrowed(values, removal.pruned, rounds)))


def widened(rounds: Rounds, model: Model) -> tuple[Model, dict[str, Array]]:
    """A network that rounds left, at the width of their base: what went is made again, and read by nobody.

    Returns:
        the wide network, which answers as the narrow one does, and its values: as wide as in the base, or as they are where
        a removal made the initializer.
    """
    narrow = remove_masked(rounds.base, rounds.masks()).pruned
    wide = apply_masks(rounds.base, unread(rounds))
    base = rounds.base.initializers
    values = {name: array.copy() for name, array in float_initializers(wide) if name in base}
    for name, array in contents_of_twin(narrow, model).items():
        if name in base:
            values[name][np.ix_(*rounds.places(name, values[name].shape))] = array
        else:
            values[name] = array
    return with_values(wide, {name: array for name, array in values.items() if name in base}), values


def unread(rounds: Rounds) -> MaskSet:
    """The masks that only keep from being read what went, and what a dropped branch would add as a constant."""
    masks = channel_masks(rounds.base, rounds.channels, rounds.alive, READ)
    return silence_dropped(rounds.base, rounds.channels, rounds.alive, masks)


def narrowed(values: Mapping[str, Array], model: Model, rounds: Rounds) -> dict[str, Array]:
    """Of values as wide as the base what a network has that rounds left."""
    left: dict[str, Array] = {}
    for name, array in values.items():
        if name in model.initializers:
            chosen = array[np.ix_(*rounds.places(name, array.shape))] if name in rounds.base.initializers else array
            if chosen.shape == model.shapes.dims[name]:
                left[name] = chosen
    return left


def pulls(module: Lowered, channels: Channels, training: Training) -> Pulls:
    """Sum of |gradient of the loss| over the weights that read each channel (labels,), summed over `FIT` samples.

    AdamW moves every weight by about the same, so this is how fast the loss falls at first, but for a factor.
    """
    for batch in islice(training.batches, -(-FIT // training.recipe.batch)):
        objective(module(batch.x).flatten(1), batch, training.recipe).backward()  # type: ignore[no-untyped-call]
    found, weights = np.zeros(len(channels.roots)), module.weights
    for binding in channels.bindings:
        if binding.role == "read" and binding.initializer in weights:
            gradient = weights[binding.initializer].grad
            if gradient is not None:
                sums = gradient.abs().double().movedim(binding.axis, 0).flatten(1).sum(1)
                np.add.at(found, channels.roots[binding.labels], sums.cpu().numpy())
    return found


def taken_back(channels: Channels, alive: Alive, pull: Pulls, price: Price, goal: float, step: int) -> Alive:
    """With blocks of dead channels, the largest pull for its cost first, as long as one fits into `goal`: (labels,)."""
    while True:
        cost, best, rate = price(channels, alive), alive, 0.0
        for group in channels.groups:
            left = alive | np.isin(channels.roots, block(group, alive, pull, step))
            more = price(channels, left) - cost
            gain = float(pull[group.channels[left[group.channels] & ~alive[group.channels]]].sum())
            if gain > rate * max(more, 1e-12) and cost + more <= goal:
                best, rate = left, gain / max(more, 1e-12)
        if best is alive:
            return alive
        alive = best


def block(group: Group, alive: Alive, pull: Pulls, step: int) -> Labels:
    """Of a group's dead channels the strongest, as many as bring its width to the next multiple of `step`."""
    dead = group.channels[~alive[group.channels]]
    width = len(group.channels) - len(dead)
    return dead[np.argsort(-pull[dead], kind="stable")][: step - width % step]
