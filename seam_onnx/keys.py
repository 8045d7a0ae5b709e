"""Fields of frozen dataclasses as keys: each with a name, a type, a default, a sentence and the place of its value.

    keys = keys_of(Request)                              # "epochs" -> Key("search.epochs", ...)

1. A field is a key; the fields of a dataclass in a field are keys beside it. A field whose metadata name a `section`
   begins one, the fields after it stay in it; `name` is another name in a recipe, `key=False` makes it no key at all.
2. A name that several of the dataclasses have is one key. Its value goes to each place; where only one of two places is
   in force (`when=(field, value, ...)`, any of the values), that one decides its type and default; where none is, the key
   may only be left alone.
3. A key's sentence is the string under the field. The command's help, recipes and docs are made of it.
"""

import ast
import dataclasses
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, Final, get_type_hints

from seam_onnx.values import plain

__all__ = ["Key", "Place", "as_typed", "docstrings", "keys_of"]

_NOTHING: Final[tuple[Any, ...]] = (None, False, "", [], {})
"""Defaults that go without saying."""


@dataclass(frozen=True)
class Place:
    """Where a key's value is kept."""

    path: tuple[str, ...]
    """Attributes from the outer dataclass to the value."""
    hint: Any
    """Its type."""
    default: Any
    """MISSING where it has to be given."""
    when: tuple[tuple[str, ...], ...]
    """(name of another key, values of which it has one) for all of which this place is in force."""

    def in_force(self, chosen: Mapping[str, Any]) -> bool:
        """Whether a value here counts, given the values of other keys."""
        return self.near(chosen) == math.inf

    def near(self, chosen: Mapping[str, Any]) -> float:
        """How many of its conditions hold; infinite where all do."""
        held = sum(chosen.get(name) in values for name, *values in self.when)
        return held if held < len(self.when) else math.inf


@dataclass(frozen=True)
class Key:
    """Something that may be set."""

    name: str
    """As a Python keyword: `epochs`."""
    key: str
    """In a recipe: `search.epochs`."""
    text: str
    """What it is, from the string under the field."""
    places: tuple[Place, ...]
    """Where its value goes."""

    @property
    def section(self) -> str:
        """The part of the recipe that it stands in, empty for the top."""
        return self.key.rpartition(".")[0]

    @property
    def defaults(self) -> str:
        """The default in words, that of each place where they differ; empty where there is nothing to say."""
        found: dict[str, str] = {}
        for place in self.places:
            if place.default is not MISSING and plain(place.default) not in _NOTHING:
                case = f"{place.when[-1][1]}: " if place.when and found else ""
                found.setdefault(as_typed(place.default), case)
        return "; ".join(case + text for text, case in found.items())

    def waits(self) -> int:
        """How many values of other keys have to be known first."""
        return max(len(place.when) for place in self.places)

    def place(self, chosen: Mapping[str, Any]) -> Place:
        """The place in force, given the values of other keys; where none is, that which lacks least of it."""
        return max(self.places, key=lambda place: place.near(chosen))


def _keys_of(outer: type) -> Mapping[str, Key]:
    found: dict[str, Key] = {}
    for name, key, text, place in _walk(outer, "", (), ()):
        places = (*found[name].places, place) if name in found else (place,)
        found[name] = dataclasses.replace(found.get(name) or Key(name, key, text, ()), places=places)
    last = {key.section: index for index, key in enumerate(found.values())}
    return dict(sorted(found.items(), key=lambda item: last[item[1].section]))


keys_of: Callable[[type], Mapping[str, Key]] = functools.cache(_keys_of)
"""The keys of a dataclass by name, each section where its last field is. Reads the source once, a few milliseconds."""


def _walk(
    outer: type, section: str, path: tuple[str, ...], when: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[str, str, str, Place]]:
    """(name, key, text, place) of every field, those of dataclasses in fields among them."""
    hints, texts = get_type_hints(outer, include_extras=True), docstrings(outer)
    for field in dataclasses.fields(outer):
        if not field.metadata.get("key", True):
            continue
        section = field.metadata.get("section", section)
        here, hint = (*path, field.name), hints[field.name]
        within = (*when, field.metadata["when"]) if "when" in field.metadata else when
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, section, here, within)
            continue
        key = ".".join(filter(None, (section, field.metadata.get("name", field.name))))
        yield field.name, key, texts.get(field.name, ""), Place(here, hint, _default(field), within)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def as_typed(value: Any) -> str:
    """A value as one would type it for an option."""
    value = plain(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@functools.cache
def docstrings(outer: type) -> Mapping[str, str]:
    """The strings under fields and in properties of a class, on one line each, its bases' among them."""
    found: dict[str, str] = {}
    for base in reversed(outer.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, after in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
            text: Any = None
            if isinstance(statement, ast.FunctionDef):
                text = ast.get_docstring(statement)
            elif isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = after.value.value
            name = getattr(statement, "name", None) or getattr(getattr(statement, "target", None), "id", None)
            if name and isinstance(text, str):
                found[name] = " ".join(text.split())
    return found
