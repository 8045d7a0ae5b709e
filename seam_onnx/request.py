"""What a prune is asked for. Every field is a key of a recipe, an option of the command and a keyword in Python.

A new field is all three at once, in the section of the field before it (see settings.py); the string under it is its
help. Nothing here imports torch or onnxruntime.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seam_onnx.data import PreprocessFlags
from seam_onnx.data.raw import RawSplits
from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.values import Count, Labels, Natural

__all__ = ["STDOUT", "Delivery", "Granularity", "Recover", "Request"]

Granularity = Literal["channel", "weight"]
"""What a mask is about."""
Recover = Literal["none", "bn", "fast", "finetune"]
"""What happens to the weights that stay."""


STDOUT = Path("-")
"""Where JSON may go instead of a file."""


OF_CHANNELS = {"when": ("granularity", "channel")}
"""Metadata of a field that masks on single weights have no use for."""


def starts(section: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Metadata of a field with which a section begins, and its name there where that is another."""
    return {"section": section, **({} if name is None else {"name": name}), **more}


@dataclass(frozen=True)
class Delivery:
    """What a command makes of the report; the search knows nothing of it."""

    require: tuple[str, ...] = field(default=(), metadata=starts("judge"))
    """Exit 1 unless this holds, e.g. 'accuracy>=original-0.5pp'; repeatable (docs/gates.md)."""
    json: Path | None = field(default=None, metadata=starts("output"))
    """Write everything to this JSON file, - for stdout."""
    report: Path | None = None
    """Write the report as one HTML page."""
    card: Path | None = None
    """Write a model card for Hugging Face."""
    overwrite: bool = False
    """Replace existing outputs."""
    quiet: bool = False
    """Print one line."""

    @property
    def piped(self) -> bool:
        """Whether stdout is JSON and nothing else."""
        return self.json == STDOUT


@dataclass(frozen=True)
class Request:
    """Everything that a run depends on."""

    model: Path
    """ONNX classifier, opset 7 or newer."""
    labels: Labels = field(metadata=starts("task"))
    """Wanted labels: names, indices, ranges or @file, e.g. cat,dog or 3-7."""
    data: Path | RawSplits = field(metadata=starts("data", "path"))
    """Labelled data: .npz, a folder of class folders, or a CSV of path,label."""
    output: Path = field(metadata=starts("output", "path"))
    """Where the pruned model goes, and beside it its masks."""
    names: Path | None = field(default=None, metadata=starts("task"))
    """Labels file (.txt or .json) where the model has no names."""
    other: bool = False
    """Add an output for 'none of these' beside several labels."""
    val: Path | None = field(default=None, metadata=starts("data"))
    """Fresh labelled data to select on, in any of the same forms."""
    preprocess: Path | None = None
    """preprocess.json or preprocessor_config.json [the one beside the data]."""
    flags: PreprocessFlags = field(default_factory=PreprocessFlags)
    """Preprocessing given directly."""
    sizes: Mapping[str, Natural] = field(default_factory=dict)
    """Size of a symbolic input dimension, name=size."""
    granularity: Granularity = field(default="channel", metadata=starts("search"))
    """channel: removable; weight: single weights, after SeaM."""
    target: str = field(default="macs=0.3", metadata=OF_CHANNELS)
    """What to reach: macs=, params= or latency=RATIO of the original, or max-drop=POINTS of accuracy on validation."""
    resume_from: Path | None = field(default=None, metadata=OF_CHANNELS)
    """Masks file of an earlier prune: choose among the networks that it visited, or go on from one of them."""
    recover: Recover = field(default="finetune", metadata=OF_CHANNELS)
    """What to change of what stays: none, bn (normalisation), fast (least squares), finetune (both, then training)."""
    width_step: Natural | Literal["auto"] = 8
    """Widths stay multiples of this; auto: of what --provider computes at a time on this machine."""
    seeds: Natural = 1
    """Searches, each with the next seed: the best on validation is delivered, mean and spread are reported."""
    device: str = "auto"
    """Where torch searches: auto, cpu, cuda."""
    engine: str = "auto"
    """How torch computes: auto (timed), fp32 or bf16, and threads if they matter, as in bf16/2."""
    recipe: Recipe = field(default_factory=Recipe, metadata=OF_CHANNELS)
    """Of the channel search."""
    seam: SeamRecipe = field(default_factory=SeamRecipe, metadata={"when": ("granularity", "weight")})
    """Of the weight search."""
    provider: str = field(default="cpu", metadata=starts("judge"))
    """onnxruntime provider: cpu, cuda, tensorrt, auto (CUDA where it loads)."""
    threads: Count = 1
    """onnxruntime threads while timing, 0 for all."""
    batches: tuple[Natural, ...] = (1,)
    """Batch sizes to time, comma-separated."""
    snippet: Path | None = field(default=None, metadata=starts("output"))
    """Write a script that serves the model, image file to label, to this place beside it."""
    overwrite: bool = False
    """Replace existing outputs."""
    delivery: Delivery = field(default_factory=Delivery)
    """What the command makes of the report."""
    command: str = field(default="", metadata={"key": False})
    """As it was typed, for the report."""
