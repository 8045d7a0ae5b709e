"""Gates: what a pipeline demands of a run, checked against the figures that the run found.

    gates   = parse_gates(["accuracy>=original-0.5pp"], VALIDATE)      # before anything runs (gate_text.py)
    results = check(gates, comparison_figures(found))                  # after it (figures.py)

1. A limit is `factor * original + offset`; a factor of 0 is a limit of its own.
2. A figure that was not measured holds no gate: a gate never passes in silence.
3. Figures are compared with a slack of 1e-9, so that `original-0.5pp` does not fail on a rounding.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Figure", "Gate", "GateResult", "Kind", "Limit", "Metric", "check", "failed", "shown"]

Kind = Literal["share", "ratio", "ms", "rate", "bytes", "count", "flag"]
Operator = Literal[">=", "<=", ">", "<"]

_SLACK: Final = 1e-9


@dataclass(frozen=True)
class Metric:
    """Something that can be asked for."""

    kind: Kind
    """What its numbers are: shares lie in 0..1, flags are true (1) or false (0)."""
    paired: bool = True
    """Whether the original has a figure of its own."""
    batched: bool = False
    """Whether `@8` behind the name asks for a batch size."""


@dataclass(frozen=True)
class Figure:
    """What a run found."""

    value: float
    """Of the pruned model, or of the candidate."""
    original: float | None = None
    """Of the model that it is compared with; None where there is none."""


@dataclass(frozen=True)
class Limit:
    """factor * original + offset."""

    factor: float
    """0 where the original is not mentioned."""
    offset: float
    """In the metric's own unit: shares in 0..1, milliseconds, bytes."""


@dataclass(frozen=True)
class Gate:
    """One demand."""

    text: str
    """As it was given."""
    metric: str
    """Name of the figure, with `@batch` where a batch size is asked for."""
    kind: Kind
    """Of the metric."""
    operator: Operator | None
    """None for a flag, which has to be true."""
    limit: Limit | None
    """None for a flag."""


@dataclass(frozen=True)
class GateResult:
    """What became of one gate."""

    gate: Gate
    """What was demanded."""
    holds: bool
    """Whether it is met."""
    value: float | None
    """The figure found, None where it was not measured."""
    limit: float | None
    """What it was compared with, None for a flag or where the original has no figure."""
    model: str
    """Which model it is about, empty where there is only one."""
    reason: str
    """The figure and the limit in words."""

    def __str__(self) -> str:
        model = f"{self.model}: " if self.model else ""
        return f"{model}{self.gate.text}: {'holds' if self.holds else 'FAILED'}, {self.reason}"


def check(gates: Iterable[Gate], figures: Mapping[str, Figure], model: str = "") -> tuple[GateResult, ...]:
    """Every gate against the figures of one model, in the order given."""
    return tuple(_check(gate, figures, model) for gate in gates)


def failed(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """Those that do not hold."""
    return tuple(result for result in results if not result.holds)


def shown(value: float, kind: Kind) -> str:
    """A figure for a person, with its unit."""
    if kind == "flag":
        return "true" if value else "false"
    if kind == "bytes":
        return f"{value / 1024:,.1f} KiB"
    forms = {"share": "{:.2%}", "ms": "{:.4g} ms", "rate": "{:,.1f}/s", "count": "{:,.0f}", "ratio": "{:.4g}"}
    return forms[kind].format(value)


def _check(gate: Gate, figures: Mapping[str, Figure], model: str) -> GateResult:
    figure = figures.get(gate.metric)
    if figure is None or figure.value != figure.value:
        return GateResult(gate, False, None, None, model, _missing(gate.metric, figures))
    if gate.limit is None or gate.operator is None:
        return GateResult(gate, bool(figure.value), figure.value, None, model, shown(figure.value, gate.kind))
    if gate.limit.factor and figure.original is None:
        return GateResult(gate, False, figure.value, None, model, "the original has no such figure")
    limit = gate.limit.factor * (figure.original or 0.0) + gate.limit.offset
    holds = _compare(figure.value, gate.operator, limit)
    return GateResult(gate, holds, figure.value, limit, model, _reason(gate, figure, limit))


def _compare(value: float, operator: Operator, limit: float) -> bool:
    slack = _SLACK * max(1.0, abs(limit))
    above = value - limit
    return {">=": above >= -slack, "<=": above <= slack, ">": above > slack, "<": above < -slack}[operator]


def _reason(gate: Gate, figure: Figure, limit: float) -> str:
    text = f"{shown(figure.value, gate.kind)} against a limit of {shown(limit, gate.kind)}"
    if gate.limit is None or not gate.limit.factor or figure.original is None:
        return text
    return f"{text} (original {shown(figure.original, gate.kind)})"


def _missing(metric: str, figures: Mapping[str, Figure]) -> str:
    close = difflib.get_close_matches(metric, figures, n=3, cutoff=0.5)
    return "was not measured" + (f" (measured: {', '.join(close)})" if close else "")
