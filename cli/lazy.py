"""Modules that are loaded when first used, so that a command that never uses them starts without them.

onnx_ir imports sympy, for arithmetic on symbolic dimensions, which takes longer than the whole inspection of a ResNet-50
and which none of the commands does.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

__all__ = ["import_lazily"]


class Lazily(MetaPathFinder):
    """Finds some modules as ever, and puts off their execution until one of their attributes is asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self.names else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def import_lazily(*names: str) -> None:
    """From now on load these modules, if they are not loaded yet, when they are first used."""
    sys.meta_path.insert(0, Lazily(names))
