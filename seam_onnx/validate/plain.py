"""Results as JSON: one function for every dataclass of this package."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["to_json"]


def to_json(value: Any) -> Any:
    """A result as dicts, lists, strings and numbers that `json.dumps(..., allow_nan=False)` takes.

    Dataclasses become dicts of their fields and properties, arrays nested lists. JSON has no infinity:
    numbers that are not finite become the strings `inf`, `-inf`, `nan`, which `float` reads back.

    Raises:
        TypeError: something that is none of these.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, name)) for name in _names(value)}
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _names(value: Any) -> list[str]:
    derived = [name for name, member in vars(type(value)).items() if isinstance(member, property)]
    return [field.name for field in dataclasses.fields(value)] + derived
