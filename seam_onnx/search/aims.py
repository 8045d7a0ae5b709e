"""What a search is after, and how it gets there: which size to try next, and which of the sizes tried is the answer.

An aim sees what was visited so far, largest first, and names the next size as a share of the original's cost (or None: it
has seen enough), to which the search comes from the smallest that is larger. Then it lists candidates to recover, best first
and at least one, and says whether a recovered one will do. Of what another aim visited it would itself have come past the
first few (`way`), and goes on from there.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from seam_onnx.errors import UsageError
from seam_onnx.search.price import Price, macs, params

if TYPE_CHECKING:
    from seam_onnx.model import Model
    from seam_onnx.search.channel import Visited

__all__ = ["Aim", "CostAim", "DropAim", "Goal", "LatencyAim", "parse_target", "way"]

METRICS = {"macs": "MACs", "params": "parameters", "latency": "the original's latency", "max-drop": "points"}
SMALLEST = 0.01
"""Share of the original's cost below which no aim goes on."""
SHRINK = 0.7
"""Share that one round of an open-ended search leaves."""
SLACK = 0.025
"""Accuracy that recovery may give back beyond what a round's training reaches; 2.8 points were seen on CIFAR-10."""
NEAR = 0.9
"""Share of a ratio that was asked for from which on a network found for another counts as an answer."""
LEAST = 0.95
"""Share of a network that the next smaller one is, at most."""
RETRIES = 3
"""Candidates that are recovered, at most."""


@dataclass(frozen=True)
class Goal:
    """What was asked for."""

    metric: str
    """'macs', 'params', 'latency' (ratios of the original's) or 'max-drop' (percentage points of accuracy)."""
    value: float
    """In (0, 1], of a drop in [0, 100)."""


def parse_target(text: str) -> Goal:
    """Read `macs=0.3`, `params=0.25`, `latency=0.4` or `max-drop=0.5`. Raises UsageError."""
    metric, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if metric not in METRICS or not (0 <= value < 100 if metric == "max-drop" else 0 < value <= 1):
        do = "write macs=0.3, params=0.25, latency=0.4 (ratios of the original's) or max-drop=0.5 (points)"
        raise UsageError(f"target {text!r}", "is not known", do)
    return Goal(metric, value)


class Aim(Protocol):
    """See the module's docstring."""

    @property
    def metric(self) -> str:
        """Of its goal."""

    @property
    def price(self) -> Price:
        """What sizes are shares of, and what a cut has to save."""

    def next(self, visited: Sequence["Visited"]) -> float | None:
        """The next size."""

    def measured(self, point: "Visited") -> "Visited":
        """The point, with what the aim has to know of it."""

    def candidates(self, visited: Sequence["Visited"]) -> Sequence["Visited"]:
        """What to recover, best first."""

    def holds(self, point: "Visited") -> bool:
        """Will the recovered point do?"""

    def near(self, point: "Visited") -> bool:
        """Is it, as far as it was meant for something else, as large as a search for this would leave it?"""


def way(aim: Aim, visited: Sequence["Visited"]) -> Sequence["Visited"]:
    """Of networks that were visited for another aim, largest first, those after which a search for this one goes on."""
    own = next((visited[:n] for n in range(len(visited)) if aim.next(visited[:n]) is None), visited)
    return own if not own or aim.next(own) is not None or aim.near(own[-1]) else own[:-1]


@dataclass(frozen=True)
class CostAim:
    """A share of MACs or parameters, in so many rounds of the same factor."""

    metric: str
    ratio: float
    rounds: int

    @property
    def price(self) -> Price:
        """The metric itself."""
        return params if self.metric == "params" else macs

    def next(self, visited: Sequence["Visited"]) -> float | None:
        """Equal factors down to the ratio; where the last is between two of them, on from the one that is nearer."""
        if not visited:
            return float(self.ratio ** (1 / self.rounds))
        if self.holds(visited[-1]):
            return None
        done = round(self.rounds * math.log(visited[-1].kept) / math.log(self.ratio))
        return float(self.ratio ** min(1.0, (done + 1) / self.rounds))

    def measured(self, point: "Visited") -> "Visited":
        """Nothing more to know."""
        return point

    def candidates(self, visited: Sequence["Visited"]) -> Sequence["Visited"]:
        """The largest that is small enough, else the smallest."""
        return [point for point in visited if self.holds(point)][:1] or visited[-1:]

    def holds(self, point: "Visited") -> bool:
        """Is it small enough?"""
        return point.kept <= self.ratio * (1 + 1e-9)

    def near(self, point: "Visited") -> bool:
        """Is it hardly smaller than it has to be?"""
        return point.kept >= NEAR * self.ratio


@dataclass(frozen=True)
class LatencyAim:
    """A share of the original's latency, as `measure` finds it for a model."""

    ratio: float
    measure: Callable[["Model"], float]
    price: Price = macs
    """Milliseconds as far as they are known beforehand; what was measured decides."""
    metric: str = "latency"

    def next(self, visited: Sequence["Visited"]) -> float | None:
        """As much smaller as the latency still has to fall, between a twentieth and a half at a time.

        Where the largest that is fast enough is faster than it has to be, between it and the next larger one.
        """
        if not visited:
            return self.step(1.0, 1.0)
        place = next((k for k, point in enumerate(visited) if self.holds(point)), len(visited))
        larger = visited[place - 1] if place else None
        kept, latency = (1.0, 1.0) if larger is None else (larger.kept, larger.latency)
        if latency is None:
            return None
        if place == len(visited):
            return None if kept <= SMALLEST else self.step(kept, latency)
        fast = visited[place]
        if fast.latency is None or self.near(fast):
            return None
        share = (latency - self.ratio) / (latency - fast.latency)
        size = min(kept - share * (kept - fast.kept), kept * LEAST)
        return size if size * LEAST > fast.kept else None

    def step(self, kept: float, latency: float) -> float:
        """The next size after one of this latency."""
        return kept * max(0.5, min(LEAST, self.ratio / latency))

    def measured(self, point: "Visited") -> "Visited":
        """With its latency."""
        return dataclasses.replace(point, latency=self.measure(point.model))

    def candidates(self, visited: Sequence["Visited"]) -> Sequence["Visited"]:
        """The largest that is fast enough; then, should its second timing fail, the next smaller one; last the fastest."""
        fast = [point for point in visited if self.holds(point)][: RETRIES - 1]
        fastest = min(visited, key=lambda p: math.inf if p.latency is None else p.latency)
        return fast if any(point is fastest for point in fast) else [*fast, fastest]

    def holds(self, point: "Visited") -> bool:
        """Is it fast enough?"""
        return point.latency is not None and point.latency <= self.ratio

    def near(self, point: "Visited") -> bool:
        """Is it hardly faster than it has to be?"""
        return point.latency is not None and point.latency >= NEAR * self.ratio


@dataclass(frozen=True)
class DropAim:
    """The smallest network that loses at most so much accuracy on validation."""

    floor: float
    """Accuracy on validation that has to be held, in 0 to 1."""
    price: Price = macs
    metric: str = "max-drop"

    def next(self, visited: Sequence["Visited"]) -> float | None:
        """On, as long as what a round's short training reaches is near the floor."""
        if not visited:
            return SHRINK
        last = visited[-1]
        return None if last.accuracy < self.floor - SLACK or last.kept <= SMALLEST else float(last.kept * SHRINK)

    def measured(self, point: "Visited") -> "Visited":
        """Nothing more to know."""
        return point

    def candidates(self, visited: Sequence["Visited"]) -> Sequence["Visited"]:
        """The first that is too far below the floor, as recovery may lift it, else the smallest; then the larger ones."""
        return list(reversed(way(self, visited)))[:RETRIES]

    def holds(self, point: "Visited") -> bool:
        """Does it lose little enough?"""
        return point.accuracy >= self.floor

    def near(self, point: "Visited") -> bool:
        """Yes: nobody knows beforehand what is lost between it and a larger one."""
        return True
