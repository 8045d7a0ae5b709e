"""Reports: the data, and the files made from it."""

from seam_onnx.report.schema import SCHEMA_VERSION, Accuracies, Problem, Proof, Report, Search, Size

__all__ = ["SCHEMA_VERSION", "Accuracies", "Problem", "Proof", "Report", "Search", "Size"]
