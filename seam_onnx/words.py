"""How figures are written, wherever a person reads them: terminal, page, card."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help stays fast
    from seam_onnx.surgery import SparseLayer
    from seam_onnx.validate import Accuracy, Interval, McNemar

__all__ = [
    "accuracy",
    "between",
    "chance",
    "counted",
    "mcnemar",
    "milliseconds",
    "points",
    "quantity",
    "ratio",
    "share",
    "size",
    "sparsity",
    "threads",
]


def share(value: float | None, digits: int = 1) -> str:
    """A share in per cent; `undefined` where it is 0 / 0."""
    return "undefined" if value is None else f"{value:.{digits}%}"


def between(interval: "Interval") -> str:
    """A 95 % interval of shares."""
    return f"{share(interval.low)} to {share(interval.high)}"


def counted(found: "Accuracy") -> str:
    """An accuracy with its count."""
    return f"{share(found.value, 2)} ({found.correct}/{found.total})"


def accuracy(found: "Accuracy") -> str:
    """An accuracy with its count and interval."""
    return f"{share(found.value, 2)} ({found.correct} of {found.total}; {between(found.interval)})"


def points(new: "Accuracy", old: "Accuracy") -> str:
    """Accuracy gained, in percentage points."""
    return f"{(new.value - old.value) * 100:+.2f} points"


def chance(p: float) -> str:
    """A probability of a test; none is 0."""
    return f"p = {p:.3f}" if p >= 0.0005 else "p < 0.001"


def mcnemar(found: "McNemar") -> str:
    """The test of pruned against original."""
    kind = "exact" if found.exact else "chi-square"
    return f"McNemar {chance(found.p)} ({kind}; {found.b} only pruned right, {found.c} only the original)"


def quantity(number: float) -> str:
    """A count with a unit prefix."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.2f}{unit}"
    return f"{number:.0f}"


def size(count: float) -> str:
    """Bytes on disk or in memory."""
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


def milliseconds(value: float) -> str:
    """A latency to three figures or so."""
    return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"


def ratio(new: float, old: float) -> str:
    """What stays of a cost; empty where there was none."""
    return share(new / old) if old else ""


def threads(count: int) -> str:
    """Threads within one operator."""
    return {0: "all threads", 1: "1 thread"}.get(count, f"{count} threads")


def sparsity(layers: Sequence["SparseLayer"]) -> str:
    """Which weights hold the pattern, and why the others do not."""
    dense = [f"{layer.weight} ({layer.reason})" for layer in layers if layer.reason]
    held = f"the pattern holds in {len(layers) - len(dense)} of {len(layers)} weights"
    return f"{held}; not in {', '.join(dense)}" if dense else held
