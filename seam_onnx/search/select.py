"""From scores to a choice: which channels go so that a target is met, at the least loss for what is saved.

Moves are steps down in width of one group, in multiples that the runtime likes, and the removal of what is left of a
group that only feeds a residual branch (depth). Greedy by estimated rise of the loss for each unit of cost saved; since a
saving only shrinks as other channels go, a lazy queue gives the same choice as evaluating every move every time.
"""

import heapq
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seam_onnx.channels import Alive, Channels, Cost, Group
from seam_onnx.errors import UsageError

__all__ = ["Target", "parse_target", "select"]


@dataclass(frozen=True)
class Target:
    """What the search has to reach."""

    metric: str
    """'macs' or 'params'."""
    ratio: float
    """Of the original's, in (0, 1]."""

    def of(self, cost: Cost) -> float:
        """The figure that the target is about."""
        return cost.macs if self.metric == "macs" else cost.params


def parse_target(text: str) -> Target:
    """Read `macs=0.3` or `params=0.25`. Raises UsageError."""
    metric, _, number = text.partition("=")
    try:
        ratio = float(number)
    except ValueError:
        ratio = 0.0
    if metric not in ("macs", "params") or not 0 < ratio <= 1:
        raise UsageError(f"target {text!r}", "is not a ratio of macs or params", "write macs=0.3 or params=0.25")
    return Target(metric, ratio)


@dataclass(frozen=True)
class Move:
    """Channels of one group that may go next."""

    group: int
    """Index of the group."""
    members: NDArray[np.int64]
    """Representatives."""
    loss: float
    """Estimated rise of the loss (mean square of the summed derivatives)."""


def select(
    channels: Channels, derivatives: NDArray[np.float64], target: Target, goal: float, step: int, droppable: Collection[str]
) -> Alive:
    """Drop channels until the target's figure is at most `goal`, or nothing is left to drop.

    Args:
        channels: of the model.
        derivatives: (batches, labels), from `Scores`.
        target: which figure counts.
        goal: its value, in MACs or parameters.
        step: widths stay multiples of this (groups narrower than it stay whole or go).
        droppable: names of the groups that may go as a whole.

    Returns:
        bool (labels,).
    """
    orders = [g.channels[np.argsort((derivatives[:, g.channels] ** 2).mean(0))] for g in channels.groups]
    alive, cost = channels.everything(), target.of(channels.cost(channels.everything()))
    queue: list[tuple[float, int, int, Move]] = []
    version = [0] * len(orders)
    serial = 0

    def offer(group: int) -> None:
        """Put the group's next moves, rated for the present state, into the queue."""
        nonlocal serial
        for move in moves(group, channels.groups[group], orders[group], derivatives, step, droppable):
            serial += 1
            heapq.heappush(queue, (rate(channels, target, alive, cost, move), serial, version[group], move))

    for group in range(len(orders)):
        offer(group)
    while cost > goal and queue:
        _, _, made, move = heapq.heappop(queue)
        if made != version[move.group]:
            continue
        now = rate(channels, target, alive, cost, move)
        if queue and now > queue[0][0]:
            serial += 1
            heapq.heappush(queue, (now, serial, made, move))
            continue
        alive &= channels.without(move.members)
        cost = target.of(channels.cost(alive))
        orders[move.group] = orders[move.group][len(move.members) :]
        version[move.group] += 1
        offer(move.group)
    return alive


def moves(
    index: int, group: Group, order: NDArray[np.int64], derivatives: NDArray[np.float64], step: int, droppable: Collection[str]
) -> list[Move]:
    """The next step down of a group, and its removal."""
    found = []
    down = len(order) % step or step
    if len(order) > down:
        found.append(order[:down])
    if group.name in droppable and len(order):
        found.append(order)
    return [Move(index, members, float((derivatives[:, members].sum(1) ** 2).mean())) for members in found]


def rate(channels: Channels, target: Target, alive: Alive, cost: float, move: Move) -> float:
    """Estimated rise of the loss for each unit of cost saved."""
    saved = cost - target.of(channels.cost(alive & channels.without(move.members)))
    return move.loss / saved if saved > 0 else float("inf")
