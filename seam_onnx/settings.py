"""What was given for the keys of a dataclass, and the dataclass made of it.

    Settings.of_names(Request, {"epochs": 5}).build(Request)

What can be given, and what each key is: `seam_onnx.keys`.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar, get_type_hints

from seam_onnx.errors import UsageError
from seam_onnx.keys import Key, Place, as_typed, keys_of
from seam_onnx.values import kind, plain, read

__all__ = ["Setting", "Settings", "dump", "nearest", "recipe_hash"]

T = TypeVar("T")


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


def _read(place: Place, given: Setting) -> Any:
    try:
        return read(place.hint, given.value)
    except (ValueError, TypeError) as error:
        shown = given.value if isinstance(given.value, str) else plain(given.value)
        do = "correct it, or leave it out" if place.default is not MISSING else "correct it"
        if place.default not in (MISSING, None) and plain(place.default) not in ({}, []):
            do = f"the default is {as_typed(place.default)}"
        raise UsageError(f"{given.origin} {shown!r:.80}", f"is not {kind(place.hint)}", do) from error


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
