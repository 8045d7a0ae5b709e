"""Reports: the data, and the files made from it."""

from seam_onnx.report.comparison import COMPARISON_VERSION, ModelComparison
from seam_onnx.report.schema import (
    SCHEMA_VERSION,
    Accuracies,
    ParetoPoint,
    Problem,
    Proof,
    Report,
    Rounding,
    Search,
    SeedRun,
    Size,
    Spread,
)

__all__ = [
    "COMPARISON_VERSION",
    "SCHEMA_VERSION",
    "Accuracies",
    "ModelComparison",
    "ParetoPoint",
    "Problem",
    "Proof",
    "Report",
    "Rounding",
    "Search",
    "SeedRun",
    "Size",
    "Spread",
]
