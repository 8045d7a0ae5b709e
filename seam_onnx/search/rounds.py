"""Several removals as one: which channels of the original are left, and the masks on it that say so.

A search removes in rounds, each on the network that the one before left. A channel is the same in all of them: the index at
which an initializer carries it tells which index of the original's initializer it was. So what goes in a round goes in the
original, and one removal there gives the graph that all rounds gave (`seam_onnx.rebuild` compares them).
"""

from collections.abc import Callable, Iterator

import numpy as np

from seam_onnx.channels import Alive, Channels, analyze
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.ops import Labels
from seam_onnx.search.ladders import silencing
from seam_onnx.search.refit import Kept
from seam_onnx.surgery import Removal, remove_masked, without_dead

__all__ = ["Rounds"]

TRIES = 10
"""Times that a choice is corrected, at most; two is usual."""


class Rounds:
    """Removes, and remembers what of the original is left.

    Args:
        model: before the first removal.
        step: widths stay multiples of this where what is dead in it goes.
    """

    def __init__(self, model: Model, step: int = 1) -> None:
        self.base = without_dead(model, step)
        self.channels = analyze(self.base)
        self.labels = {(b.initializer, b.axis): self.channels.roots[b.labels] for b in self.channels.bindings}
        self.whole: Kept = {place: np.arange(len(labels)) for place, labels in self.labels.items()}
        self.kept: Kept = self.whole
        self.alive = self.channels.everything()

    def remove(self, model: Model, channels: Channels, alive: Alive) -> Removal:
        """`propose` and `accept`."""
        alive, removal = self.propose(model, channels, alive)
        self.accept(channels, alive, removal)
        return removal

    def propose(self, model: Model, channels: Channels, alive: Alive) -> tuple[Alive, Removal]:
        """Remove from what the last removal left the channels that are not alive, by masks that silence exactly what goes.

        Some must stay after all: the last operand of a node, or what is one channel with others in the original. Others
        go as well, since nothing reads them any more. The choice is corrected until masks and removal agree: then no
        channel stays as zeros, and none goes with weights of its own. Changes nothing here.
        """
        return agreed(model, channels, alive, self.undivided)

    def restart(self, alive: Alive) -> Removal:
        """Remove from the base instead all that is not alive (labels,) there, and note it: channels may have come back."""
        return self.begun(*agreed(self.base, self.channels, alive, lambda _, choice: choice))

    def begin(self, masks: MaskSet) -> Removal:
        """Remove from the base instead what these masks on it leave, which an earlier search's rounds made."""
        removal = remove_masked(self.base, masks)
        return self.begun(left_by(removal, self.channels, self.channels.everything()), removal)

    def begun(self, alive: Alive, removal: Removal) -> Removal:
        """Note a removal from the base, and give it."""
        self.alive, self.kept = alive, self.whole
        self.kept = self.kept_after(removal)
        return removal

    def places(self, name: str, shape: tuple[int, ...]) -> list[Labels]:
        """For each axis of an initializer of the base the indices that are left."""
        return [self.kept.get((name, axis), np.arange(size)) for axis, size in enumerate(shape)]

    def masks(self, alive: Alive | None = None) -> MaskSet:
        """All removals so far (or with a further one, see `after`), as masks on `base`."""
        return silencing(self.base, self.channels, self.alive if alive is None else alive)

    def origins(self, channels: Channels) -> Iterator[tuple[Labels, Labels]]:
        """Labels (n,) of the present model, and the channels (n,) of the base that they were, axis by axis."""
        for binding in channels.bindings:
            place = (binding.initializer, binding.axis)
            if place in self.kept:
                yield binding.labels, self.labels[place][self.kept[place]]

    def undivided(self, channels: Channels, alive: Alive) -> Alive:
        """The choice with every channel of the base kept that would stay in part: less may be tied now than there."""
        stays = np.zeros(len(self.alive), bool)
        for labels, origin in self.origins(channels):
            stays[origin[alive[labels]]] = True
        alive = alive.copy()
        for labels, origin in self.origins(channels):
            alive[channels.roots[labels[stays[origin]]]] = True
        return alive[channels.roots]

    def accept(self, channels: Channels, alive: Alive, removal: Removal) -> None:
        """Note which channels went, and where the others are now."""
        self.alive = self.after(channels, alive)
        self.kept = self.kept_after(removal)

    def after(self, channels: Channels, alive: Alive) -> Alive:
        """What is left of the base (labels,) after a removal from the present model."""
        left = self.alive.copy()
        for labels, origin in self.origins(channels):
            left &= self.channels.without(origin[~alive[labels]])
        return left

    def kept_after(self, removal: Removal) -> Kept:
        """Which indices of the base a removal leaves, axis by axis."""
        gathers, names = removal.plan.gathers, removal.pruned.initializers
        return {p: k[gathers[p]] if p in gathers else k for p, k in self.kept.items() if p[0] in names}


def agreed(
    model: Model, channels: Channels, alive: Alive, mended: Callable[[Channels, Alive], Alive]
) -> tuple[Alive, Removal]:
    """What stays in the end of a choice (labels,), mended before each try, and its removal; see `Rounds.propose`."""
    for _ in range(TRIES):
        alive = mended(channels, alive)
        removal = remove_masked(model, silencing(model, channels, alive))
        left = left_by(removal, channels, alive)
        if np.array_equal(left, alive):
            return alive, removal
        alive = left
    raise RuntimeError("masks and what they remove do not come to agree")


def left_by(removal: Removal, channels: Channels, alive: Alive) -> Alive:
    """The channels that a removal leaves; of those that no initializer carries, the ones that were alive. (labels,)"""
    left = alive.copy()
    for binding in channels.bindings:
        left[channels.roots[binding.labels]] = False
    for binding in channels.bindings:
        if binding.initializer in removal.pruned.initializers:
            kept = removal.plan.gathers.get((binding.initializer, binding.axis), slice(None))
            left[channels.roots[binding.labels[kept]]] = True
    left[0] = True
    return left[channels.roots]
