"""From scores to a choice: which channels go so that a target is met, at the least loss for what is saved.

Each group has a ladder of widths, in multiples that the runtime likes, down to none for a group that only feeds a
residual branch: width and depth compete in one budget.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seam_onnx.channels import Alive, Channels
from seam_onnx.search.price import Price

__all__ = ["Ladder", "rungs", "select", "shaken"]


@dataclass(frozen=True)
class Ladder:
    """The ways to narrow one group, from a little to most."""

    order: NDArray[np.int64]
    """Representatives of its channels, the one that matters least first."""
    counts: tuple[int, ...]
    """How many of them may go; rising, without 0."""
    changes: tuple[float, ...]
    """Mean squared change of the logits when as many go, measured."""


RUNGS = 4
"""Narrowings of one group that are measured in a round, at most; the next round starts from a narrower one."""


def rungs(width: int, step: int, droppable: bool) -> list[int]:
    """How many of a group's channels may go so that a multiple of `step`, or none, is left: `RUNGS`, evenly spread."""
    every = [width - k for k in reversed(range(step, width, step))] + ([width] if droppable else [])
    if len(every) <= RUNGS:
        return every
    return [every[round(k * (len(every) - 1) / (RUNGS - 1))] for k in range(RUNGS)]


def shaken(ladders: Sequence[Ladder], spread: float, rng: np.random.Generator) -> list[Ladder]:
    """Ladders whose changes are wrong by a random factor each, exp(N(0, spread^2)): another balance between groups."""
    factors = np.exp(rng.normal(0.0, spread, len(ladders)))
    return [
        Ladder(one.order, one.counts, tuple(c * float(f) for c in one.changes))
        for one, f in zip(ladders, factors, strict=True)
    ]


def select(channels: Channels, ladders: Sequence[Ladder], price: Price, goal: float) -> Alive:
    """Step down ladders until the price is at most `goal`, or no step is left that saves anything.

    Greedy: of all steps from where each group stands to any lower rung, take the one with the least change of the logits
    for each unit of cost saved; what is saved beyond the goal does not count. A saving of multiply-adds or parameters only
    shrinks as other channels go, so a lazy queue gives the same choice as rating every step every time; one of
    milliseconds nearly does. The last step often saves more than was asked for: what fits into the rest is given back, the
    dearest first.

    Returns:
        bool (labels,).
    """
    return Descent(channels, ladders, price, goal).run()


class Descent:
    """State of the greedy choice: down to the goal, then up again as far as it allows."""

    def __init__(self, channels: Channels, ladders: Sequence[Ladder], price: Price, goal: float) -> None:
        self.channels, self.ladders, self.price, self.goal = channels, ladders, price, goal
        self.alive = channels.everything()
        self.cost = price(channels, self.alive)
        self.place = [-1] * len(ladders)
        self.queue: list[tuple[float, int, int, int]] = []
        for index in range(len(ladders)):
            self.offer(index)

    def run(self) -> Alive:
        """Take steps until the goal is met."""
        while self.cost > self.goal and self.queue:
            _, index, rung, origin = heapq.heappop(self.queue)
            if origin != self.place[index]:
                continue
            now = self.rate(index, rung)
            if now == math.inf:  # a width off the provider's block
                continue
            if self.queue and now > self.queue[0][0]:
                heapq.heappush(self.queue, (now, index, rung, origin))
                continue
            self.alive &= self.channels.without(self.members(index, rung))
            self.cost = self.price(self.channels, self.alive)
            self.place[index] = rung
            self.offer(index)
        while self.cost <= self.goal and self.regrow():
            pass
        return self.alive

    def regrow(self) -> bool:
        """Take back, of all descents that fit into what is left of the goal, the one that changed the logits most."""
        best, gain = None, 0.0
        for index, here in enumerate(self.place):
            for rung in range(-1, here):
                regained = self.change(index, here) - self.change(index, rung)
                if regained > gain and self.price(self.channels, self.left(index, rung)) <= self.goal:
                    best, gain = (index, rung), regained
        if best is None:
            return False
        self.alive = self.left(*best)
        self.cost = self.price(self.channels, self.alive)
        self.place[best[0]] = best[1]
        return True

    def left(self, index: int, rung: int) -> Alive:
        """What would stay if one group stood at another rung."""
        alive = self.channels.everything()
        for other, ladder in enumerate(self.ladders):
            place = rung if other == index else self.place[other]
            if place >= 0:
                alive &= self.channels.without(ladder.order[: ladder.counts[place]])
        return alive

    def change(self, index: int, rung: int) -> float:
        """Of the logits where a group stands at a rung; -1 is its whole width."""
        return self.ladders[index].changes[rung] if rung >= 0 else 0.0

    def offer(self, index: int) -> None:
        """Queue every lower rung of a group, rated from where it stands."""
        for rung in range(self.place[index] + 1, len(self.ladders[index].counts)):
            heapq.heappush(self.queue, (self.rate(index, rung), index, rung, self.place[index]))

    def members(self, index: int, rung: int) -> NDArray[np.int64]:
        """The channels that a step takes away."""
        ladder, here = self.ladders[index], self.place[index]
        return ladder.order[ladder.counts[here] if here >= 0 else 0 : ladder.counts[rung]]

    def rate(self, index: int, rung: int) -> float:
        """Change of the logits for each unit of cost saved by a step."""
        change = max(0.0, self.change(index, rung) - self.change(index, self.place[index]))
        rest = self.alive & self.channels.without(self.members(index, rung))
        saved = self.cost - max(self.goal, self.price(self.channels, rest))
        return (change + 1e-12) / saved if saved > 0 else math.inf
