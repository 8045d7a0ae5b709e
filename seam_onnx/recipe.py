"""Recipes: a prune in a YAML file. Its keys are the fields of `Request`, by sections (docs/recipes.md).

    settings = load_recipe(Path("prune.yaml")) | parse_sets(["search.epochs=5"]) | flags      # the later wins
    request  = settings.build(Request)
    recipe   = dump(request)                                                                  # resolved

1. Unknown keys, keys given twice and values of the wrong type are errors that name the file and the key.
2. Relative paths in a file, those behind `@` in labels among them, are relative to its folder; those of `--set` are not.
3. `null` is the default.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from seam_onnx.data.names import read_text
from seam_onnx.errors import UsageError
from seam_onnx.keys import Key, keys_of
from seam_onnx.request import Request
from seam_onnx.settings import Setting, Settings, dump, nearest, recipe_hash
from seam_onnx.values import Labels, core

__all__ = ["dump", "load_recipe", "parse_sets", "recipe_hash", "recipe_settings"]

_FILE = re.compile(r"""("[^"]*"|'[^']*')|(^|,)(\s*@)([^,]+)""")
"""A quoted entry of labels, which stays as it is, or `@` with a path."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML's plain types, each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode) and name.value != "<<"]
        for name in names:
            if names.count(name) > 1:
                raise yaml.MarkedYAMLError(problem=f"{name} is given twice", problem_mark=node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def load_recipe(path: Path) -> Settings:
    """What a file asks for.

    Raises:
        PathError: it cannot be read. UsageError: it is not YAML, not a table, or has a key that is not known.
    """
    found = _parsed(read_text(path), str(path))
    if not isinstance(found, Mapping | None):
        raise UsageError(path, "is no table of sections", "write it with seam-onnx init, or see docs/recipes.md")
    return recipe_settings(found or {}, f"{path}: ", path.parent)


def recipe_settings(recipe: Mapping[str, Any], origin: str = "", folder: Path | None = None) -> Settings:
    """What a table of sections asks for, such as `dump` makes.

    Args:
        recipe: sections with keys; dotted names will do as well.
        origin: what an error puts before a key.
        folder: where relative paths start, by default the working directory.
    """
    settings = Settings()
    for key, value in _flat(recipe, "", origin):
        settings[key.name] = Setting(value if folder is None else _anchored(key, value, folder), f"{origin}{key.key}")
    return settings


def parse_sets(texts: Iterable[str]) -> Settings:
    """What `--set section.key=VALUE` asks for; the value is YAML. Raises UsageError."""
    settings = Settings()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}", "is not KEY=VALUE", "write for example --set search.epochs=5")
        found = _parsed(value, f"--set {name}")
        settings |= recipe_settings({name.strip(): found}, "--set ")
    return settings


def _parsed(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2020-13-40
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        why = f"is not YAML ({where}{getattr(error, 'problem', None) or error})"
        raise UsageError(origin, why, "correct it; quote texts with special signs") from error


def _flat(recipe: Mapping[Any, Any], section: str, origin: str) -> Iterator[tuple[Key, Any]]:
    """(key, value) of everything in a table of sections."""
    keys = {key.key: key for key in keys_of(Request).values()}
    sections = {key.section for key in keys.values()} - {""}
    for name, value in recipe.items():
        path = f"{section}.{name}" if section else str(name)
        if path in keys:
            yield keys[path], value
        elif path not in sections:
            raise UsageError(f"{origin}{path}", "is not known", nearest(path, keys.keys() | sections))
        elif isinstance(value, Mapping):
            yield from _flat(value, path, origin)
        elif value is not None:
            raise UsageError(
                f"{origin}{path}", "is a section", f"write its keys below it, such as {_first(keys, path)}"
            )


def _first(keys: Iterable[str], section: str) -> str:
    return next(key for key in keys if key.startswith(f"{section}."))


def _anchored(key: Key, value: Any, folder: Path) -> Any:
    """A value whose relative paths are made relative to the working directory."""
    hint = key.places[0].hint
    if hint == Labels and isinstance(value, list):
        return [_anchored(key, item, folder) for item in value]
    if hint == Labels and isinstance(value, str):
        return _FILE.sub(lambda found: found[1] or f"{found[2]}{found[3]}{folder / found[4].strip()}", value)
    if core(hint) is Path and isinstance(value, str) and value not in ("", "-"):
        return str(folder / value)
    return value
