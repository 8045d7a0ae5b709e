"""A recipe to fill in: every key with what it means and its default, and what a model says of itself.

    text = blank_recipe(load(path), "model.onnx", "model-pruned.onnx")

The words are the strings under the fields of `Request`, so a new field is in it by itself.
"""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from itertools import groupby
from typing import Any, Final, Literal, get_origin

import yaml

from seam_onnx.data import resolve
from seam_onnx.keys import Key, keys_of
from seam_onnx.labels import names_from_metadata
from seam_onnx.model import Model
from seam_onnx.request import Request
from seam_onnx.surgery import classes
from seam_onnx.values import core, kind, plain

__all__ = ["blank_recipe"]

_WIDTH: Final = 118
_HEAD: Final = """\
# Recipe of `seam-onnx prune`. Fill in {missing}, then run: seam-onnx prune --recipe THIS_FILE
# null stands for the default, which [brackets] name. Options of the command go before --set, --set before this file.
# Relative paths are relative to the folder of this file.
"""


def blank_recipe(model: Model, source: str, output: str) -> str:
    """The text of a recipe for a model.

    Args:
        model: the classifier.
        source: its path, relative to the recipe's folder.
        output: path of the pruned model, likewise.

    Raises:
        ModelError: a model without one class axis. DataError: one whose input is no image, yet looks like one.
    """
    known, notes = _known(model, source, output), {"labels": _labels(model)}
    keys = list(keys_of(Request).values())
    missing = [key.key for key in keys if key.places[0].default is MISSING and key.name not in known]
    lines = [_HEAD.format(missing=" and ".join(missing))]
    for section, group in groupby(keys, key=lambda key: key.section):
        lines += [f"{section}:"] if section else []
        for key in group:
            lines += _lines(key, known, notes.get(key.name, ""), "  " if section else "")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _known(model: Model, source: str, output: str) -> dict[str, Any]:
    """Values that the model decides. Not the channels' order: a file beside the data may know better."""
    shape = tuple(dim if isinstance(dim, int) else None for dim in model.graph.inputs[0].shape or ())
    preprocess = resolve(shape)
    found = {"model": source, "output": output, "layout": preprocess.layout, "size": preprocess.size}
    return {name: value for name, value in found.items() if value is not None}


def _labels(model: Model) -> str:
    """What can be wanted."""
    count, names = classes(model), names_from_metadata(model.proto.metadata_props)
    if names is None:
        return f"The model has {count} classes without names: 0 to {count - 1}, or give task.names."
    shown = [*names[:20], *(["..."] if len(names) > 20 else [])]
    return f"The model has {count} classes: {', '.join(shown)}"


def _lines(key: Key, known: Mapping[str, Any], note: str, indent: str) -> Iterator[str]:
    """A key with its comment."""
    place, text = key.places[0], key.text
    undecided = place.default is MISSING or len({place.default for place in key.places if key.waits()}) > 1
    value = known.get(key.name, None if undecided else place.default)
    if get_origin(core(place.hint)) is Literal:
        text += f" ({kind(place.hint)})"
    if value is None and key.defaults:
        text += f" [{key.defaults}]"
    for line in (*textwrap.wrap(text, _WIDTH), *textwrap.wrap(note, _WIDTH)):
        yield f"{indent}# {line}"
    yield f"{indent}{key.key.rpartition('.')[2]}: {_written(plain(value))}"


def _written(value: Any) -> str:
    """A value in YAML, on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
