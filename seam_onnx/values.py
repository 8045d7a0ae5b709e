"""One value of a recipe, an option or a keyword, read as the type that a dataclass gives its field.

    read(tuple[float, ...], "0.485,0.456")      (0.485, 0.456)
    read(Literal["channel", "weight"], "row")   ValueError; kind(...) says what it should have been

Text stands for numbers and for lists of them, since options are text (and YAML reads `1e-3` as one); nothing else is
converted in silence: no 2.5 to a whole number, no `true` to 1.
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

__all__ = [
    "Above",
    "Count",
    "Entries",
    "Labels",
    "Least",
    "Natural",
    "NotNegative",
    "Positive",
    "Share",
    "core",
    "kind",
    "plain",
    "read",
]


@dataclass(frozen=True)
class Above:
    """A bound that is not reached."""

    bound: float
    """Values are greater."""

    def holds(self, value: float) -> bool:
        return value > self.bound

    def __str__(self) -> str:
        return f" above {self.bound:g}"


@dataclass(frozen=True)
class Least:
    """A bound that may be reached."""

    bound: float
    """Values are no less."""
    most: float = math.inf
    """And no greater than this."""

    def holds(self, value: float) -> bool:
        return self.bound <= value <= self.most

    def __str__(self) -> str:
        return f" of at least {self.bound:g}" if self.most == math.inf else f" from {self.bound:g} to {self.most:g}"


class Entries:
    """Marks a text of comma-separated entries, for which a list may stand."""


Positive = Annotated[float, Above(0)]
"""A number above 0."""
NotNegative = Annotated[float, Least(0)]
"""A number from 0 on."""
Share = Annotated[float, Least(0, 1)]
"""From 0 to 1."""
Natural = Annotated[int, Above(0)]
"""From 1 on."""
Count = Annotated[int, Least(0)]
"""From 0 on."""
Labels = Annotated[str, Entries()]
"""Names, indices, ranges and `@file`s; see `seam_onnx.labels.parse`."""

_SIZE: Final = re.compile(r"([0-9]{1,6})(?:x([0-9]{1,6}))?")


def read(hint: Any, value: Any) -> Any:
    """The value as this type. Raises ValueError where it is no such thing; `kind` says what is."""
    hint, marks = _unwrapped(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _first(arguments, value)
    if any(isinstance(mark, Entries) for mark in marks):
        return _entries(value)
    if origin is Literal:
        return _checked(value, isinstance(value, str) and value in arguments)
    if origin is tuple:
        return _size(value) if arguments[-1] is not ... else _many(arguments[0], value)
    if origin is not None and issubclass(origin, Mapping):
        return _table(arguments[1], value)
    found = _READERS.get(hint, lambda v: _checked(v, isinstance(v, hint)))(value)
    return _checked(found, all(mark.holds(found) for mark in marks))


def kind(hint: Any) -> str:
    """What values of this type are, in words: `a number above 0`."""
    others = [one for one in _alternatives(hint)[1:] if get_origin(one) is Literal]
    if others:
        return ", or ".join(kind(one) for one in (_stated(hint), *others))
    hint, marks = _unwrapped(_stated(hint))
    origin, arguments = get_origin(hint), get_args(hint)
    if any(isinstance(mark, Entries) for mark in marks):
        return "a text, or a list of texts and whole numbers (yes, no, on and off need quotes)"
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is tuple:
        return "a size: 224, or 240x320 (height x width)" if arguments[-1] is not ... else f"a list{_of(arguments[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return "a table of name=size with whole numbers above 0"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return str(words.get(hint, hint.__name__)) + "".join(map(str, marks))


def core(hint: Any) -> Any:
    """A type without None, bounds and alternatives."""
    return _unwrapped(_stated(hint))[0]


def plain(value: Any) -> Any:
    """In YAML's and JSON's types, so that `read` gives it back."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 3 and 3.0 are the same recipe
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and what `Annotated` says of it."""
    return (get_args(hint)[0], hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _alternatives(hint: Any) -> list[Any]:
    """Several types, None aside."""
    several = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [one for one in several if one is not NoneType]


def _stated(hint: Any) -> Any:
    """The first of several types, None aside."""
    return _alternatives(hint)[0]


def _of(hint: Any) -> str:
    """What a list holds: ` of whole numbers of at least 1`."""
    return " of " + kind(hint).removeprefix("a ").replace("number", "numbers").replace("text", "texts")


def _checked(value: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError(value)
    return value


def _first(arguments: Sequence[Any], value: Any) -> Any:
    """As the first of several types that it fits."""
    for one in arguments:
        try:
            return read(one, value)
        except ValueError:
            continue
    raise ValueError(value)


def _whole(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
        return int(value)
    return int(_checked(value, isinstance(value, Integral) and not isinstance(value, bool)))


def _number(value: Any) -> float:
    """A whole number stays one, so that 30 epochs are not told as 30.0."""
    number = float(_checked(value, isinstance(value, Real | str) and not isinstance(value, bool)))
    _checked(number, math.isfinite(number))
    return int(number) if number.is_integer() and not isinstance(value, float) else number


def _path(value: Any) -> Path:
    return Path(_checked(value, isinstance(value, str | os.PathLike) and os.fspath(value) != ""))


def _entries(value: Any) -> str:
    """Labels as one text; those of a list are quoted where a comma or a quote needs it."""
    if isinstance(value, str):
        return value
    items: list[Any] = list(value) if isinstance(value, Sequence) else [value]
    return ",".join(
        _quoted(str(_checked(item, type(item) is not bool and isinstance(item, str | int)))) for item in items
    )


def _quoted(entry: str) -> str:
    if "," not in entry or entry[:1] in "\"'@":
        return entry
    return f'"{entry}"' if '"' not in entry else f"'{entry}'"


def _many(hint: Any, value: Any) -> tuple[Any, ...]:
    """Several; of texts without commas of their own one text will do, `none` for none."""
    if isinstance(value, str) and hint is not str:
        value = [] if value == "none" and get_origin(hint) is Literal else [part.strip() for part in value.split(",")]
    items = value if isinstance(value, list | tuple) else [value]
    empty = not items and get_origin(hint) is not Literal and hint is not str
    return tuple(read(hint, item) for item in _checked(items, not empty))


def _size(value: Any) -> tuple[int, int]:
    """(height, width) of `224`, `240x320` or `[240, 320]`."""
    if isinstance(value, list | tuple):
        height, width = _checked(value, len(value) == 2)
    else:
        found = _SIZE.fullmatch(str(value).lower())
        if found is None:
            raise ValueError(value)
        height, width = found[1], found[2] or found[1]
    return read(Natural, height), read(Natural, width)


def _table(hint: Any, value: Any) -> dict[str, Any]:
    """A mapping, or texts `name=size`."""
    if not isinstance(value, Mapping):
        items = [str(entry).rpartition("=") for entry in (value if isinstance(value, list | tuple) else [value])]
        value = {name: _checked(size, bool(name)) for name, _, size in items}
    return {str(name): read(hint, size) for name, size in value.items()}


_READERS: Final[dict[Any, Callable[[Any], Any]]] = {
    bool: lambda value: _checked(value, isinstance(value, bool)),
    int: _whole,
    float: _number,
    str: lambda value: _checked(value, isinstance(value, str)),
    Path: _path,
    NoneType: lambda value: _checked(value, value is None),
}
