"""What the search is held against that is made of its own parts: the network that it found, trained from random weights.

If that is as good, nothing was gained by cutting a trained network down. The found row's masks say what the network is; its
values are thrown away, and what is left is recovered as a point of an earlier search is: same data, same teacher, same
loss, same schedule, same choice on validation, and as many training steps as the search had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seam_onnx.hyperparameters import Recipe
from seam_onnx.request import Request
from seam_onnx.settings import Settings
from seam_onnx.solution import encoded, read_solutions

__all__ = ["budget", "from_scratch", "share_of", "trained"]


def budget(recipe: Recipe, share: float) -> float:
    """Epochs that a search down to a share of the MACs trains for, the networks that it tries and drops counted too."""
    return trained(recipe, [share ** ((k + 1) / recipe.rounds) for k in range(recipe.rounds)])


def trained(recipe: Recipe, left: Sequence[float]) -> float:
    """Epochs that a search trains for whose rounds leave these shares of the MACs."""
    one = recipe.epochs * recipe.cut / recipe.rounds
    tried = recipe.finalists if recipe.finalists > 1 else 0
    return recipe.epochs + tried * one * sum((1 - min(0.9, part)) ** 2 for part in left)


def share_of(target: str) -> float:
    """The share of the MACs that a target asks for. Raises ValueError for one that asks for something else."""
    metric, _, number = target.partition("=")
    if metric != "macs":
        raise ValueError(f"{target}: controls and peers are trained for as long as a search down to macs=RATIO")
    return float(number)


def from_scratch(found: Path, masks: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Write the masks file of a found network with random values.

    Args:
        found: masks file of the search.
        masks: where to write.
        asked: what the search was asked for.

    Returns:
        what has to be asked for beside it, so that the network of the new file is trained.
    """
    recipe = Settings.of_names(Request, asked).build(Request).recipe
    rng = np.random.default_rng(recipe.seed)
    chosen = read_solutions(found)[0]
    values = {name: drawn(array, rng) for name, array in chosen.values.items()}
    masks.write_bytes(encoded([replace(chosen, values=values, facts={}, output="", accuracy=None)]))
    return {"resume_from": masks, "cut": 0.0, "epochs": budget(recipe, share_of(asked["target"]))}


def drawn(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Random contents: He normal by what an output reads for weights (outputs, inputs, ...), zeros for biases.

    He et al., "Delving deep into rectifiers", arXiv 1502.01852. For networks whose normalisation is folded into their
    convolutions, as exporters leave them: training gives it back.
    """
    if array.ndim < 2:
        return np.zeros_like(array)
    scale = (2 / np.prod(array.shape[1:])) ** 0.5
    return rng.normal(0.0, scale, array.shape).astype(array.dtype)
