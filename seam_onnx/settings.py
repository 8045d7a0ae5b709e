"""Frozen dataclasses as settings: every field is a key with a type, a default and a sentence, and nothing else is.

    keys = keys_of(Request)                              # "epochs" -> Key("search.epochs", ...)
    Settings.of_names(Request, {"epochs": 5}).build(Request)

1. A field is a key; the fields of a dataclass in a field are keys beside it. A field whose metadata name a `section`
   begins one, the fields after it stay in it; `name` is another name in a recipe, `key=False` makes it no key at all.
2. A name that several of the dataclasses have is one key. Its value goes to each place; where only one of two places is
   in force (`when=(field, value, ...)`, any of the values), that one decides its type and default; where none is, the key
   may only be left alone.
3. A key's sentence is the string under the field. The command's help, recipes and docs are made of it.
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
import inspect
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, Final, TypeVar, get_type_hints

from seam_onnx.errors import UsageError
from seam_onnx.values import kind, plain, read

__all__ = ["Key", "Place", "Setting", "Settings", "docstrings", "dump", "keys_of", "nearest", "recipe_hash"]

T = TypeVar("T")
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
                found.setdefault(_shown(place.default), case)
        return "; ".join(case + text for text, case in found.items())

    def waits(self) -> int:
        """How many values of other keys have to be known first."""
        return max(len(place.when) for place in self.places)

    def place(self, chosen: Mapping[str, Any]) -> Place:
        """The place in force, given the values of other keys; where none is, that which lacks least of it."""
        return max(self.places, key=lambda place: place.near(chosen))


@dataclass(frozen=True)
class Setting:
    """A value that somebody gave."""

    value: Any
    """As it was given; None means the default."""
    origin: str
    """What to call it in an error: `--epochs`, `prune.yaml: search.epochs`."""


class Settings(dict[str, Setting]):
    """What was given, by the names of keys; a later layer goes over it with `|=`."""

    @classmethod
    def of_names(cls, outer: type, values: Mapping[str, Any]) -> "Settings":
        """From Python keywords. Raises UsageError for one that is no key of the dataclass."""
        for name in values:
            if name not in keys_of(outer):
                raise UsageError(f"keyword {name}", "is unknown", nearest(name, keys_of(outer)))
        return cls({name: Setting(value, name) for name, value in values.items()})

    def build(self, outer: type[T], **fixed: Any) -> T:
        """The dataclass with what was given, defaults elsewhere; names that it does not have are left alone.

        Args:
            outer: the dataclass.
            fixed: values of fields that are no keys.

        Raises:
            UsageError: a value of the wrong type, named by its origin; a required one that is missing; one that counts
                for nothing as another key stands, unless it is the default (a dumped recipe holds all keys).
        """
        keys = keys_of(outer)
        given = {name: s for name, s in self.items() if name in keys and s.value is not None}
        chosen: dict[str, Any] = {}
        values: dict[tuple[str, ...], Any] = {(name,): value for name, value in fixed.items()}
        for key in sorted((k for k in keys.values() if k.name not in fixed), key=Key.waits):
            force = key.place(chosen)
            if key.name in given:
                value = _read(force, given[key.name])
                if not force.in_force(chosen) and value != force.default:
                    raise _idle(force, given[key.name].origin, chosen)
                values |= {place.path: value for place in key.places if _fits(place.hint, value)}
            elif (value := force.default) is MISSING:
                raise _missing(key)
            chosen[key.name] = value
        return _made(outer, values)


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


def _read(place: Place, given: Setting) -> Any:
    try:
        return read(place.hint, given.value)
    except (ValueError, TypeError) as error:
        shown = given.value if isinstance(given.value, str) else plain(given.value)
        do = "correct it, or leave it out" if place.default is not MISSING else "correct it"
        if place.default not in (MISSING, None) and plain(place.default) not in ({}, []):
            do = f"the default is {_shown(place.default)}"
        raise UsageError(f"{given.origin} {shown!r:.80}", f"is not {kind(place.hint)}", do) from error


def _shown(value: Any) -> str:
    value = plain(value)
    return (
        ",".join(map(str, value))
        if isinstance(value, list)
        else str(value).lower()
        if value in (True, False)
        else str(value)
    )


def _fits(hint: Any, value: Any) -> bool:
    try:
        read(hint, value)
    except ValueError:
        return False
    return True


def _idle(place: Place, origin: str, chosen: Mapping[str, Any]) -> UsageError:
    name, *values = next(one for one in place.when if chosen.get(one[0]) not in one[1:])
    return UsageError(
        origin, f"does nothing with {name} {plain(chosen[name])}", f"leave it out, or choose {name} {values[0]}"
    )


def _missing(key: Key) -> UsageError:
    recipe = f", or {key.key} in a recipe" if key.section else ""
    return UsageError(key.name, "is missing", f"give --{key.name.replace('_', '-')}{recipe}; --help says more")


def _made(outer: type[T], values: Mapping[tuple[str, ...], Any], path: tuple[str, ...] = ()) -> T:
    """The dataclass from values by path."""
    hints, arguments = get_type_hints(outer), {}
    for field in dataclasses.fields(outer):  # type: ignore[arg-type]
        here, hint = (*path, field.name), hints[field.name]
        if here in values:
            arguments[field.name] = values[here]
        elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[field.name] = _made(hint, values, here)
    return outer(**arguments)


def dump(made: Any) -> dict[str, Any]:
    """Every key with its value in force, by sections, in JSON's types; a recipe with it makes the same run."""
    keys = keys_of(type(made))
    chosen: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for key in sorted(keys.values(), key=Key.waits):
        place = key.place(chosen)
        chosen[key.name] = functools.reduce(getattr, place.path, made)
    for name, key in keys.items():
        section = found.setdefault(key.section, {}) if key.section else found
        section[key.key.rpartition(".")[2]] = plain(chosen[name])
    return found


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """sha256 of a resolved recipe as JSON with sorted keys, without `output`: where results go changes none of them."""
    asked = {name: part for name, part in recipe.items() if name != "output"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the known one that is most like it, by its last part if by nothing else."""
    last = name.rpartition(".")[2]
    whole = {one: one for one in known} | {one.rpartition(".")[2]: one for one in known}
    close = difflib.get_close_matches(name, whole, 1, 0.6) or difflib.get_close_matches(last, whole, 1, 0.6)
    return f"did you mean {whole[close[0]]}?" if close else f"known are {', '.join(sorted(known))}"


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
