"""What a run reports: plain frozen data with a version, the same for a table, a JSON file or a page."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seam_onnx.gates import GateResult
from seam_onnx.progress import Point
from seam_onnx.settings import recipe_hash
from seam_onnx.surgery import Inheritance, SparseLayer
from seam_onnx.validate import Accuracy, Latency, McNemar, Paired, Parity, to_json

__all__ = [
    "SCHEMA_VERSION",
    "Accuracies",
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

SCHEMA_VERSION = 1
"""Rises when a field changes its meaning or goes."""


@dataclass(frozen=True)
class Problem:
    """What was asked."""

    model: str
    """Path of the original."""
    sha256: str
    """Of that file."""
    labels: tuple[str, ...]
    """Names of the outputs, in order."""
    indices: tuple[int, ...]
    """Index of each wanted label in the original; a last rest output has none."""
    classes: int
    """Of the original."""
    samples: dict[str, int]
    """Samples in 'train', 'val' and 'test'."""
    preprocess: str
    """As it was resolved, in words."""
    notes: tuple[str, ...]
    """What a reader of the accuracies has to know."""


@dataclass(frozen=True)
class Rounding:
    """Of widths, to what the provider computes at a time."""

    step: int
    """Widths stay multiples of this."""
    why: str
    """Why of this, in words."""
    spare: int
    """Channels, over all layers, that could go without changing any output and stay for that."""


@dataclass(frozen=True)
class SeedRun:
    """One of the searches that were made."""

    seed: int
    """Of everything random in it."""
    accuracy: float
    """On validation, as the search found it."""
    kept: float
    """Share of the target's figure, or of the mask elements, that stays."""
    seconds: float
    """Wall-clock time."""
    met: bool
    """Whether the target was reached."""
    chosen: bool
    """Whether it is the one delivered."""


@dataclass(frozen=True)
class Spread:
    """Some figures, summed up."""

    mean: float
    """Their mean."""
    deviation: float
    """Standard deviation of a sample, n - 1; 0 of one figure."""

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of at least one figure."""
        values = list(values)
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True)
class Search:
    """How the smaller network was found."""

    granularity: str
    """'channel' or 'weight'."""
    target: str
    """As given, empty for the weight granularity."""
    recover: str
    """'finetune', 'bn', 'none', or 'head' (weight granularity: only the new head is trained)."""
    recipe: dict[str, Any]
    """Epochs, rates, seeds."""
    kept: float
    """Share of the target's figure, or of the mask elements, that stays."""
    seconds: float
    """Wall-clock time of search and recovery, of all seeds."""
    device: str
    """Where torch ran."""
    curve: tuple[Point, ...]
    """How it got there."""
    met: bool = True
    """Whether the target was reached."""
    unmet: str = ""
    """If not: what is delivered instead, and why."""
    engine: str = ""
    """How torch computed, as `search.engine` of a recipe pins it: format and threads, `bf16/1`."""
    rounding: Rounding = Rounding(1, "as given", 0)
    """Of widths."""
    convolved: bool = False
    """Whether shortcuts that only move pixels and channels were written as convolutions."""
    runs: tuple[SeedRun, ...] = ()
    """One a seed; the delivered one's kept and curve are those above."""

    @property
    def spread(self) -> dict[str, Spread]:
        """Over the seeds, of 'accuracy' (on validation), 'kept' and 'seconds'; empty where there are none."""
        names = ("accuracy", "kept", "seconds") if self.runs else ()
        return {name: Spread.of(getattr(run, name) for run in self.runs) for name in names}


@dataclass(frozen=True)
class Accuracies:
    """On one split of the task, by onnxruntime."""

    original: Accuracy
    """The original, free to answer any of its classes."""
    restricted: Accuracy
    """The original with its answer restricted to the wanted outputs: free for anybody, so the one to compare with."""
    pruned: Accuracy
    """The new model."""

    @classmethod
    def of(cls, found: Paired) -> "Accuracies":
        """Those of two models judged label by label."""
        return cls(found.free, found.original.accuracy, found.pruned.accuracy)


@dataclass(frozen=True)
class ParetoPoint:
    """A network that the search looked at: what it costs, and how good it was."""

    kept: float
    """The target's figure, of the original's."""
    macs: float
    """Multiply-adds, of the original's."""
    params: float
    """Parameters, of the original's."""
    latency_ms: float | None
    """Of a call at the smallest batch size; None where it was not measured."""
    val_accuracy: float
    """On validation, as the search found it."""
    chosen: bool
    """Whether the pruned model came of it."""


@dataclass(frozen=True)
class Size:
    """What a model costs."""

    macs: float
    """Multiply-adds of contractions at batch 1."""
    params: float
    """Elements of floating-point initializers."""
    file_bytes: int
    """On disk."""
    nodes: int
    """In the graph."""


@dataclass(frozen=True)
class Proof:
    """What was checked."""

    surgery: tuple[Parity, ...]
    """Each removal: pruned against masked model, in onnxruntime."""
    lowering: Parity
    """The torch module against onnxruntime, on the original."""
    val: Accuracies
    """On validation, which chose."""
    paired: Paired
    """Both models on test, read once, label by label."""
    latency: Latency
    """Interleaved runs of 'original' and 'pruned'."""

    @property
    def test(self) -> Accuracies:
        """The accuracies on test."""
        return Accuracies.of(self.paired)

    @property
    def difference(self) -> McNemar:
        """Pruned against restricted original, test."""
        return self.paired.difference


@dataclass(frozen=True)
class Report:
    """One run, whole."""

    schema_version: int
    """Of this structure."""
    version: str
    """Of seam-onnx."""
    command: str
    """That made it."""
    problem: Problem
    """What was asked."""
    search: Search
    """How it was found."""
    before: Size
    """The original."""
    after: Size
    """The pruned model."""
    proof: Proof
    """What was checked."""
    widths: dict[str, tuple[int, int]]
    """Channels made by each layer, before and after (0: the layer is gone)."""
    weights: Inheritance
    """What became of the original's initializers: which were trained or refitted, which held, which are gone."""
    blockers: tuple[str, ...]
    """Channels of the original that could not be touched, and why."""
    environment: dict[str, str]
    """Machine and versions."""
    output: str
    """Path of the pruned model."""
    pareto: tuple[ParetoPoint, ...] = ()
    """What the search looked at, in its order."""
    gates: tuple[GateResult, ...] = ()
    """What became of --require."""
    sparsity: tuple[SparseLayer, ...] = ()
    """Under --nm: each weight of the file as it was written, and why it is dense where it is."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Everything that was asked for, defaults included, by sections: as YAML it makes the same run."""

    @property
    def recipe_hash(self) -> str:
        """sha256 of the recipe without its `output`; equal where the same was asked for."""
        return recipe_hash(self.recipe)

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        plain: dict[str, Any] = to_json(self)
        return plain
