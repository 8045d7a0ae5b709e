"""Writes docs/report.schema.json from the dataclasses of the report: `python docs/make_report_schema.py`."""

import dataclasses
import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from seam_onnx.keys import docstrings
from seam_onnx.report import SCHEMA_VERSION, Report

NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
"""JSON has no infinity: `to_json` writes such numbers as strings."""

PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"$ref": "#/$defs/number"},
    NoneType: {"type": "null"}, Any: {},
}  # fmt: skip


def schema() -> dict[str, Any]:
    """The whole schema."""
    defs: dict[str, Any] = {"number": NUMBER}
    top = define(Report, defs)
    top["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of seam-onnx prune",
        **top,
        "$defs": dict(sorted(defs.items())),
    }


def define(kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    """A dataclass: its fields and properties, all of them there and no others."""
    hints, words = get_type_hints(kind), docstrings(kind)
    derived = {
        name: get_type_hints(member.fget)["return"]
        for name, member in vars(kind).items()
        if isinstance(member, property)
    }
    names = {field.name: hints[field.name] for field in dataclasses.fields(kind)} | derived
    properties = {
        name: {**of(hint, defs), **({"description": words[name]} if name in words else {})}
        for name, hint in names.items()
    }
    return {
        "description": (inspect.getdoc(kind) or "").split("\n\n")[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def of(hint: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """The schema of one type; dataclasses become definitions."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in defs:
            defs[hint.__name__] = {}
            defs[hint.__name__] = define(hint, defs)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [of(one, defs) for one in arguments]}
    if origin is dict:
        return {"type": "object", "additionalProperties": of(arguments[1], defs)}
    if origin is np.ndarray:
        return {"type": "array", "items": {"type": "array", "items": of(int, defs)}}  # a matrix of counts
    if origin is list or (origin is tuple and arguments[-1] is ...):
        return {"type": "array", "items": of(arguments[0], defs)}
    if origin is tuple:
        fixed = len(arguments)
        items = [of(one, defs) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": fixed, "maxItems": fixed}
    return dict(PLAIN[hint])


def text() -> str:
    """As the file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("report.schema.json").write_text(text(), encoding="utf-8")
