"""What the search is held against that is made by others: peers on the same problem, judged like any foreign model.

A peer is a function that writes an ONNX file for a problem. What comes out is a row with those parts of a report that a
table of `subsets.py` reads. It sees the training split, chooses by validation alone, and its file is judged by
`compare_models` and timed as the search's own is.

**onnxsim** gets the original file, with all its classes, as its pruning knows nothing of labels; its answers are restricted
to the wanted ones afterwards. Structured pruning as `pruning.py` of onnxsim 0.8 has it: by weight norms, or by norms times
activations on `CALIBRATION` training images (Wanda), the same share in every layer or one ranking over all; of these four
the best on validation is taken, each at the least sparsity that reaches the MACs. There is no training; its closed-form
fit is for MatMul and Gemm alone.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from controls import share_of

from seam_onnx import compare_models
from seam_onnx.judge import Judge
from seam_onnx.model import Model, load
from seam_onnx.outcome import Setup
from seam_onnx.outputs import open_classifier, over_wanted
from seam_onnx.pipeline import choose_device, pose, size_of
from seam_onnx.progress import silent
from seam_onnx.report import Accuracies
from seam_onnx.request import Request
from seam_onnx.settings import Settings
from seam_onnx.task import draw
from seam_onnx.teacher import Teacher
from seam_onnx.validate import accuracy, environment, to_json

__all__ = ["Made", "foreign_row", "macs_of", "onnxsim"]

CALIBRATION = 256
"""Training images that onnxsim's Wanda sees."""
HALVINGS = 12
"""Of the interval in which onnxsim's sparsity is looked for."""


@dataclass(frozen=True)
class Made:
    """A peer's network, beside its file."""

    accuracy: float
    """On validation, by which it was chosen."""
    how: str
    """What of the peer's settings was chosen."""
    steps: int = 0
    """Of training."""


Peer = Callable[[Setup, Path], Made]
"""Writes a network for a problem to a path."""


def foreign_row(peer: Peer, asked: dict[str, Any]) -> dict[str, Any]:
    """Let a peer solve what `reengineer(**asked)` would, and judge it: the row."""
    setup = set_up(Settings.of_names(Request, asked).build(Request))
    request = setup.request
    started = time.perf_counter()
    made = peer(setup, request.output)
    seconds = time.perf_counter() - started
    keywords = {name: asked[name] for name in ("labels", "mean", "std", "seed") if name in asked}
    found = compare_models(asked["model"], request.output, asked["data"], **keywords)
    before, after = (size_of(load(path), path) for path in (request.model, request.output))
    row = {
        "problem": {"model": str(request.model), "labels": found.labels},
        "search": {"target": request.target, "seconds": seconds, **asdict(made)},
        "before": before,
        "after": after,
        "proof": {
            "test": Accuracies.of(found.paired),
            "paired": found.paired,
            "latency": setup.judge.race(request.output, request.batches),
        },
        "environment": environment(),
    }
    plain: dict[str, Any] = to_json(row)
    return plain


def set_up(request: Request) -> Setup:
    """A problem as a search would have it."""
    model = load(request.model)
    _, preprocess, task = pose(request, model, silent)
    judge = Judge(model, task, preprocess, "cpu", request.threads, silent)
    teacher = Teacher(model, choose_device(request.device))
    return Setup(request, model, task, preprocess, teacher, judge, int(request.width_step), silent)


def macs_of(model: Model) -> float:
    """Multiply-adds of a sample."""
    from seam_onnx.search.price import macs, price_of

    return price_of(model, macs)


def onnxsim(setup: Setup, output: Path) -> Made:
    """Peer: see above."""
    import onnx
    from onnxsim import apply_structured_pruning, apply_structured_wanda_pruning

    goal = share_of(setup.request.target) * macs_of(setup.model)
    images = calibration(setup)
    ways: dict[str, Callable[..., Any]] = {
        "norms": apply_structured_pruning,
        "Wanda": lambda *given, **more: apply_structured_wanda_pruning(*given, images, **more),
    }
    tried = []
    for way, prune in ways.items():
        for everywhere in (False, True):
            path = output.with_suffix(f".{way}{'.global' if everywhere else ''}.onnx")

            def pruned(sparsity: float, prune: Any = prune, everywhere: bool = everywhere, path: Path = path) -> float:
                original = onnx.load(setup.request.model)
                onnx.save(prune(original, sparsity=sparsity, global_sparsity=everywhere), path)
                return macs_of(load(path))

            sparsity = least(pruned, goal)
            how = f"{way}, {'one ranking' if everywhere else 'each layer'}, sparsity {sparsity:.3f}"
            tried.append((Made(on_validation(setup, path), how), path))
    made, best = max(tried, key=lambda one: one[0].accuracy)
    best.rename(output)
    for _, path in tried:
        path.unlink(missing_ok=True)
    return made


def least(macs: Callable[[float], float], goal: float) -> float:
    """The least sparsity whose network is small enough; that network is the one made last."""
    low, high = 0.0, 0.999
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if macs(middle) <= goal else (middle, high)
    if macs(high) > goal:
        raise ValueError(f"onnxsim does not reach {goal:.3g} multiply-adds")
    return high


def calibration(setup: Setup) -> list[dict[str, Any]]:
    """Training images, balanced as the search's are, one batch."""
    task, rng = setup.task, np.random.default_rng(setup.request.recipe.seed)
    chosen = rng.permutation(draw(task.train.y, task.wanted, rng))[:CALIBRATION]
    name = str(setup.model.graph.inputs[0].name)
    return [{name: setup.preprocess.normalize(task.train.x[chosen])}]


def on_validation(setup: Setup, path: Path) -> float:
    """Accuracy of a file."""
    model = open_classifier(path)
    logits = model.logits(setup.task.val, setup.preprocess, lambda done: None)
    return accuracy(over_wanted(model, logits, setup.task.wanted)[0], setup.task.val.y).value
