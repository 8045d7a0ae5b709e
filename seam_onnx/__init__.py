"""Give it an ONNX classifier and the labels you need; get a smaller, measurably faster ONNX file back, with proof.

    report = seam_onnx.reengineer("model.onnx", labels="cat,dog", data="photos/", output="pets.onnx")

The functions are the commands (docs/recipes.md has the keywords); docs/how-it-works.md says what happens inside. Nothing is
imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seam_onnx.api import apply_masks, bench_models, compact_model, compare_models, inspect_model, reengineer
    from seam_onnx.bench import Bench
    from seam_onnx.errors import GateError, ModelError, SeamError, UsageError
    from seam_onnx.inspection import Inspection
    from seam_onnx.report import ModelComparison, Report
    from seam_onnx.surgery import PrunePlan

__all__ = [
    "Bench",
    "GateError",
    "Inspection",
    "ModelComparison",
    "ModelError",
    "PrunePlan",
    "Report",
    "SeamError",
    "UsageError",
    "apply_masks",
    "bench_models",
    "compact_model",
    "compare_models",
    "inspect_model",
    "reengineer",
]

_HOMES = {
    "Bench": "bench",
    "GateError": "errors",
    "Inspection": "inspection",
    "ModelComparison": "report",
    "ModelError": "errors",
    "PrunePlan": "surgery",
    "Report": "report",
    "SeamError": "errors",
    "UsageError": "errors",
}
"""Modules of the names that are not in `api`."""


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
