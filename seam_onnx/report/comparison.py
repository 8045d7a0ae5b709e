"""What a comparison reports: two classifiers on the same samples, whoever made them."""

from dataclasses import dataclass
from typing import Any

from seam_onnx.gates import GateResult
from seam_onnx.validate import Paired, Parity, to_json

__all__ = ["COMPARISON_VERSION", "ModelComparison"]

COMPARISON_VERSION = 1
"""Rises when a field changes its meaning or goes."""


@dataclass(frozen=True)
class ModelComparison:
    """What comparing two classifiers found."""

    schema_version: int
    """Of this structure."""
    version: str
    """Of seam-onnx."""
    command: str
    """That made it."""
    models: dict[str, str]
    """Paths of 'original' and 'pruned'."""
    file_bytes: dict[str, int]
    """Their sizes on disk."""
    labels: tuple[str, ...]
    """Names of the wanted outputs, in order."""
    indices: tuple[int, ...]
    """Index of each in the original; a last rest output has none."""
    classes: dict[str, int]
    """Outputs of 'original' and 'pruned'."""
    samples: int
    """Judged."""
    split: str
    """'test' or 'all'."""
    preprocess: str
    """As it was resolved, in words."""
    paired: Paired
    """Both models, label by label."""
    parity: Parity | None
    """Pruned against masked model, where one was given."""
    notes: tuple[str, ...]
    """What a reader of the figures has to know."""
    environment: dict[str, str]
    """Machine and versions."""
    gates: tuple[GateResult, ...] = ()
    """What became of --require."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        plain: dict[str, Any] = to_json(self)
        return plain
