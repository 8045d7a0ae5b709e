"""Class names: reading them, and finding the class that a text means.

They come from a file (`read_names`) or from a model's metadata (`names_from_metadata`). One rule of matching
serves everywhere (`match`): exact first, then regardless of case, then with space, `_`, `-` and `/` alike; at
each step the whole name goes before its first comma-separated synonym ("tench" of "tench, Tinca tinca").
"""

import ast
import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from seam_onnx.errors import LabelError, PathError

__all__ = ["match", "names_from_metadata", "namesakes", "near", "read_names", "read_text"]

_PREFIXED = re.compile(r"([0-9]{1,9})(\s+|,\s*|:\s*)(\S.*)")
_CERTAIN = re.compile(r"\s{2,}|\t|:\s+")
_ASK_FOR_NAMES = "give a text file with one name a line, or a JSON list, {id: name} or {name: id}"
_Table = dict[str, tuple[int, ...]]


def read_names(path: Path) -> tuple[str, ...]:
    """The class names in a file, in the order of the class indices.

    `.json`: a list, `{id: name}`, `{name: id}`, or either under `id2label`, `label2id`, `names` or `labels`.
    Any other suffix: one name a line, or `index  name` lines. Raises PathError where the file cannot be read,
    LabelError where it is empty, no list of names, or has ids other than 0..n-1.
    """
    text = read_text(path)
    try:
        return _names_of(json.loads(text)) if path.suffix.lower() == ".json" else _names_of_lines(text)
    except json.JSONDecodeError as error:
        raise LabelError(path, f"is not JSON ({error})", _ASK_FOR_NAMES) from error
    except (ValueError, RecursionError) as error:
        raise LabelError(path, str(error), _ASK_FOR_NAMES) from error


def names_from_metadata(props: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names in a model's metadata under `names`, `labels`, `id2label` or `classes`, else None.

    A value may be JSON, a Python literal such as `{0: 'person'}`, or text separated by commas; never
    evaluated.
    """
    for key in ("names", "labels", "id2label", "classes"):
        if key in props and (names := _names_of_property(props[key])):
            return names
    return None


def match(entry: str, names: Sequence[str]) -> tuple[int, ...]:
    """The classes that `entry` means: none if unknown, several if ambiguous. O(1) after a table is built."""
    for key, whole, first in _tables(tuple(names)):
        if found := whole.get(key(entry)) or first.get(key(entry)):
            return found
    return ()


def namesakes(entry: str, names: Sequence[str]) -> tuple[int, ...]:
    """Like `match`, with whole names and first synonyms alike: both "maillot" and "maillot, tank suit"."""
    for key, whole, first in _tables(tuple(names)):
        if found := {*whole.get(key(entry), ()), *first.get(key(entry), ())}:
            return tuple(sorted(found))
    return ()


def near(entry: str, names: Sequence[str]) -> str:
    """What to do about an unknown class name: the names that look like it, or the first few there are."""
    spellings = {_loose(part.strip()): name for name in names for part in (*name.split(","), name)}
    close = [spellings[key] for key in difflib.get_close_matches(_loose(entry), spellings, n=4)]
    if close:
        return "did you mean " + " or ".join(map(repr, dict.fromkeys(close))) + "?"
    shown = ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
    return f"use one of its {len(names)} classes: {shown}"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; PathError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PathError(path, f"cannot be read ({why})", "give a readable UTF-8 text file") from error


def _names_of(data: object) -> tuple[str, ...]:
    """Names in a parsed file; ValueError with a reason where there are none."""
    if isinstance(data, dict):
        for key in ("id2label", "label2id", "names", "labels"):
            if isinstance(data.get(key), dict | list):
                return _names_of(data[key])
        return _ordered([_pair(key, value) for key, value in data.items()])
    if not isinstance(data, list | tuple) or not data:
        raise ValueError("holds no list of class names")
    return tuple(_name(item) for item in data)


def _pair(key: object, value: object) -> tuple[int, str]:
    """One entry of {name: id}, {id: name} or Keras' {id: [wnid, name]}."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, _name(key)
    if not re.fullmatch("[0-9]{1,9}", str(key)):
        raise ValueError(f"pairs {key!r} with {value!r}, which is neither id: name nor name: id")
    return int(str(key)), _name(value[-1] if isinstance(value, list) and value else value)


def _name(item: object) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip():
        raise ValueError(f"has {item!r} in the place of a class name")
    return str(item).strip()


def _ordered(pairs: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    if not pairs or sorted(i for i, _ in pairs) != list(range(len(pairs))):
        raise ValueError(f"has {len(pairs)} names whose ids are not 0 to {len(pairs) - 1}, each once")
    return tuple(name for _, name in sorted(pairs))


def _names_of_lines(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} is empty, so the names after it would shift")
    found = [m for line in lines if (m := _PREFIXED.fullmatch(line))]
    if len(found) == len(lines):
        pairs = [(int(m[1]), m[3]) for m in found]
        if sorted(i for i, _ in pairs) == list(range(len(pairs))) or all(_CERTAIN.match(m[2]) for m in found):
            return _ordered(pairs)
    return tuple(lines)


def _names_of_property(text: str) -> tuple[str, ...] | None:
    for read in (json.loads, ast.literal_eval):
        try:
            return _names_of(read(text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    if "," not in text or text.lstrip().startswith(("{", "[", "(")):
        return None
    names = tuple(name.strip() for name in text.split(","))
    return names if all(names) else None


def _loose(name: str) -> str:
    return re.sub(r"[\s_/-]+", " ", name.casefold())


@lru_cache(maxsize=8)
def _tables(names: tuple[str, ...]) -> tuple[tuple[Callable[[str], str], _Table, _Table], ...]:
    """Per step of leniency its key, the classes by whole name and by first synonym."""
    firsts = tuple(name.split(",")[0].strip() for name in names)
    return tuple((key, _table(names, key), _table(firsts, key)) for key in (str, str.casefold, _loose))


def _table(names: tuple[str, ...], key: Callable[[str], str]) -> _Table:
    table: _Table = {}
    for index, name in enumerate(names):
        table[key(name)] = (*table.get(key(name), ()), index)
    return table
