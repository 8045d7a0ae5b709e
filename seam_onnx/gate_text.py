"""Gates as text, such as `accuracy>=original-0.5pp`, `latency.p50@8 <= 60%*original`, `parity`.

    gate   = METRIC                                  a metric that is true or false
           | METRIC (">=" | "<=" | ">" | "<") limit
    limit  = NUMBER [unit]                           97%   0.97   2.5ms   200KiB
           | NUMBER ["%"] "*" "original" [shift]     0.6*original
           | "original" ["*" NUMBER ["%"]] [shift]   original-0.5pp
    shift  = ("+" | "-") NUMBER [unit]
    unit   = "pp" | "%" | "ms" | "s" | "KiB" | "MiB"

1. A METRIC is everything before the operator, as labels (`recall.great white shark`) are part of some names.
2. `%` is hundredths. `original-5%` is refused: five points (`-5pp`) or a twentieth (`0.95*original`)?
3. Whatever can be known to be wrong is refused here, with its column, before anything runs.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn, cast

from seam_onnx.errors import UsageError
from seam_onnx.gates import Gate, Limit, Metric, Operator

__all__ = ["parse_gate", "parse_gates"]

_METRIC: Final = re.compile(r"[^<>=!]+")
_OPERATOR: Final = re.compile(r">=|<=|>|<")
_NUMBER: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ORIGINAL: Final = re.compile(r"original\b")
_UNIT: Final = re.compile(r"pp\b|%|ms\b|s\b|KiB\b|MiB\b")
_TIMES: Final = re.compile(r"\*")
_SIGN: Final = re.compile(r"[+-]")
_BATCH: Final = re.compile(r"(.+)@([1-9][0-9]*)")
_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "share": {"": 1.0, "%": 0.01, "pp": 0.01},
    "ratio": {"": 1.0, "%": 0.01},
    "ms": {"": 1.0, "ms": 1.0, "s": 1e3},
    "rate": {"": 1.0},
    "bytes": {"": 1.0, "KiB": 1024.0, "MiB": 1024.0**2},
    "count": {"": 1.0},
}
"""Per kind the units it takes and what they are worth."""


def parse_gates(texts: Iterable[str], metrics: Mapping[str, Metric]) -> tuple[Gate, ...]:
    """The gates that texts describe; raises as `parse_gate` does."""
    return tuple(parse_gate(text, metrics) for text in texts)


def parse_gate(text: str, metrics: Mapping[str, Metric]) -> Gate:
    """The gate that a text describes.

    Args:
        text: see the module's docstring.
        metrics: what can be asked for; a name that ends in `.*` stands for all with that beginning.

    Raises:
        UsageError: naming the column (from 1), for an unknown metric, a unit that does not fit it, or anything
            else that is not in the grammar.
    """
    reader = _Reader(text)
    name = (reader.take(_METRIC) or reader.fail("a metric is missing", _known(metrics))).strip()
    metric = _metric(name, metrics, reader)
    if metric.kind == "flag":
        reader.end(f"{name} is true or false: write it alone")
        return Gate(text, name, metric.kind, None, None)
    start = reader.here
    operator = reader.take(_OPERATOR) or reader.fail("no comparison", "use >=, <=, > or <", start)
    limit = _limit(reader, metric, name)
    reader.end("end the gate here, or give --require once more")
    return Gate(text, name, metric.kind, cast(Operator, operator), limit)


class _Reader:
    """A text and how far it was read; spaces do not count."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def here(self) -> int:
        """Where the next word starts, from 0."""
        return len(self.text) - len(self.text[self.at :].lstrip())

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """What matches next, or None and nothing is read."""
        found = pattern.match(self.text, self.here)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def end(self, do: str) -> None:
        """Refuse anything that is left."""
        if rest := self.text[self.here :]:
            self.fail(f"{rest!r} is not expected", do)

    def fail(self, why: str, do: str, column: int | None = None) -> NoReturn:
        """Refuse the text at a column (from 0), by default the next word's."""
        where = self.here if column is None else column
        raise UsageError(f"gate {self.text!r}", f"column {where + 1}: {why}", do)


def _metric(name: str, metrics: Mapping[str, Metric], reader: _Reader) -> Metric:
    """What a name asks for."""
    batch = _BATCH.fullmatch(name)
    plain = batch[1] if batch else name
    family = f"{plain.partition('.')[0]}.*"
    found = metrics.get(plain) or (metrics.get(family) if not plain.endswith(".") else None)
    start = len(reader.text) - len(reader.text.lstrip())
    if found is None:
        close = difflib.get_close_matches(plain, metrics, n=3)
        reader.fail(f"{plain!r} is not measured here", f"use {', '.join(close)}" if close else _known(metrics), start)
    if batch and not found.batched and plain in metrics:
        reader.fail(f"{plain} has no batch sizes", f"write {plain}", start + len(plain))
    return found


def _limit(reader: _Reader, metric: Metric, name: str) -> Limit:
    start = reader.here
    factor, number, unit = 0.0, reader.take(_NUMBER), ""
    if number is not None:
        unit = reader.take(_UNIT) or ""
        if reader.take(_TIMES) is None:
            return Limit(0.0, _absolute(reader, metric, number, unit, start))
        factor = _factor(reader, number, unit, start)
    start = reader.here
    if reader.take(_ORIGINAL) is None:
        reader.fail("a number or 'original' is missing", "write for example original-0.5pp or 0.6*original")
    if not metric.paired:
        reader.fail(f"the original has no {name} of its own", "compare with a number", start)
    if number is None:
        factor = _times(reader)
    return Limit(factor, _shift(reader, metric))


def _times(reader: _Reader) -> float:
    """`* NUMBER ["%"]` behind `original`; 1 where there is none."""
    if reader.take(_TIMES) is None:
        return 1.0
    start = reader.here
    number = reader.take(_NUMBER) or reader.fail("a number is missing", "write for example original*0.6")
    return _factor(reader, number, reader.take(_UNIT) or "", start)


def _factor(reader: _Reader, number: str, unit: str, start: int) -> float:
    if unit not in ("", "%"):
        reader.fail(f"{unit} cannot multiply", "write for example 0.6*original", start)
    return float(number) * (0.01 if unit else 1.0)


def _shift(reader: _Reader, metric: Metric) -> float:
    """What is added to the original's figure; 0 where nothing is."""
    sign = reader.take(_SIGN)
    if sign is None:
        return 0.0
    start = reader.here
    number = reader.take(_NUMBER) or reader.fail("a number is missing", "write for example original-0.5pp")
    unit = reader.take(_UNIT) or ""
    if unit == "%":
        do = "write pp for percentage points, or a product such as 0.95*original"
        reader.fail("% of what?", do, start)
    return float(f"{sign}1") * _scaled(reader, metric, number, unit, start)


def _absolute(reader: _Reader, metric: Metric, number: str, unit: str, start: int) -> float:
    if unit == "pp":
        reader.fail("pp is a difference", f"write {number}%, or original-{number}pp", start)
    value = _scaled(reader, metric, number, unit, start)
    if metric.kind == "share" and value > 1:
        reader.fail(f"{number}{unit} is more than everything", f"write {number}% or a share of 1", start)
    return value


def _scaled(reader: _Reader, metric: Metric, number: str, unit: str, start: int) -> float:
    units = _UNITS[metric.kind]
    if unit not in units:
        known = ", ".join(name for name in units if name) or "a plain number"
        reader.fail(f"{unit} does not fit this metric", f"use {known}", start)
    return float(number) * units[unit]


def _known(metrics: Iterable[str]) -> str:
    return "use " + ", ".join(name.replace("*", "LABEL") for name in metrics)
