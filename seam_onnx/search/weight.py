"""SeaM as published: a mask on every single weight (Qi et al., "Reusing Deep Neural Network Models through Model
Re-engineering", ICSE 2023, section 3; details after the published code).

Every Conv and fully connected layer of the original, its classifier included, gets a real mask M of the weight's (and
the bias's) shape, 1 at first, of which B = [M > 0] multiplies the frozen weights; a new head Linear(ReLU(z)) gets none, nor
does normalisation. The gradient of an element is the sum of two clipped ones,

    dL/dM = clip(W * dCE/dWeff, -1, 1) + clip(alpha / N, -1, 1),      L = CE(y, label) + alpha * mean(B),

N the number of elements. Two Adam optimisers take turns: every fifth epoch the head alone, otherwise masks and head.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.func import functional_call

from seam_onnx.hyperparameters import SeamRecipe
from seam_onnx.lowering import Lowered, lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.views import Views, evaluate
from seam_onnx.surgery.logits import SEAM_HEAD

__all__ = ["SeamRecipe", "Selection", "WeightsFound", "mask_elements", "search_weights"]


class Binarise(torch.autograd.Function):
    """B = [M > 0]; backwards the incoming gradient, clipped to [-1, 1], passes unchanged."""

    @staticmethod
    def forward(context: object, mask: Tensor) -> Tensor:
        """1 where positive, else 0."""
        return (mask > 0).to(mask.dtype)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        """Clip the gradient; there is no gate on |M|."""
        return gradient.clamp(-1, 1)


def binarise(mask: Tensor) -> Tensor:
    """The bits of a mask, with the straight-through gradient."""
    bits: Tensor = Binarise.apply(mask)
    return bits


def mask_elements(model: Model) -> dict[str, int]:
    """Initializers that SeaM masks, with their sizes: weights and biases of Conv, Gemm and MatMul, the new head's not.

    The bias of a convolution counts where a BatchNormalization follows; without one it most likely is a folded
    BatchNormalization's shift, which SeaM never masks.
    """
    found: dict[str, int] = {}
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            values = node.inputs[1:] if node.op_type != "Conv" or before_batch_norm(node) else node.inputs[1:2]
            for value in values:
                if value is not None and value.const_value is not None and value.name not in SEAM_HEAD:
                    found[str(value.name)] = value.const_value.size
    return found


def before_batch_norm(node: ir.Node) -> bool:
    """Does a BatchNormalization read what the node makes?"""
    return any(user.op_type == "BatchNormalization" for user, _ in node.outputs[0].uses())


@dataclass(frozen=True)
class WeightsFound:
    """What the search gives."""

    model: Model
    """The model with its trained head; original weights untouched."""
    masks: MaskSet
    """Of the chosen epoch."""
    kept: float
    """Share of mask elements that stay."""
    curve: tuple[Point, ...]
    """Epoch by epoch."""
    epoch: int
    """The chosen one."""


@dataclass
class Selection:
    """SeaM's rule for which epoch to keep: the smallest that is at least as accurate as the original, else the best
    accuracy minus ratio. Judged on validation here (the published code used the test set)."""

    threshold: float
    best_ratio: float = 1.0
    best_accuracy: float = 0.0
    accepted: bool = False
    fallback: float = -math.inf

    def better(self, accuracy: float, ratio: float) -> bool:
        """Should this epoch replace the one kept so far?"""
        if accuracy >= self.threshold and self.accepts(accuracy, ratio):
            self.accepted, self.best_ratio, self.best_accuracy = True, ratio, accuracy
            return True
        if not self.accepted and accuracy - ratio > self.fallback:
            self.fallback = accuracy - ratio
            return True
        return False

    def accepts(self, accuracy: float, ratio: float) -> bool:
        """Smaller by a bucket of 0.1 %, or as small and more accurate."""
        if math.floor(1000 * ratio) < math.floor(1000 * self.best_ratio):
            return True
        return ratio <= self.best_ratio and accuracy > self.best_accuracy


class WeightSearch:
    """State of one search."""

    def __init__(self, model: Model, views: Views, recipe: SeamRecipe, observer: Observer) -> None:
        self.model, self.views, self.recipe, self.observer = model, views, recipe, observer
        self.module = lower(model).to(views.device)
        views.engine.placed(self.module)
        names = list(mask_elements(model))
        self.frozen = {n: p.detach() for n, p in self.module.weights.items() if n not in SEAM_HEAD}
        self.masks = {n: nn.Parameter(torch.ones_like(self.frozen[n])) for n in names}
        self.total = sum(m.numel() for m in self.masks.values())
        head = [self.module.weights[n] for n in SEAM_HEAD]
        self.head_only = torch.optim.Adam(head, lr=recipe.head_rate)
        groups = [
            {"params": list(self.masks.values()), "lr": recipe.mask_rate},
            {"params": head, "lr": recipe.head_rate},
        ]
        self.joint = torch.optim.Adam(groups)
        self.first = 0

    def weights(self, bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every weight that the module is run with, by its attribute in the module."""
        effective = {n: w * bits[n] if n in bits else w for n, w in self.frozen.items()}
        return {f"body.{self.module.names[n]}": w for n, w in effective.items()}

    def step(self, x: Tensor, y: Tensor, joint: bool) -> tuple[float, float]:
        """One update; returns loss and accuracy of the batch."""
        bits = {n: binarise(m) if joint else (m > 0).float() for n, m in self.masks.items()}
        scores = self.views.engine.run(Functional(self.module, self.weights(bits)), x)[0]
        loss = nn.functional.cross_entropy(scores, y)
        if joint:
            ratio = torch.stack([binarise(m).sum() for m in self.masks.values()]).sum() / self.total
            loss = loss + self.recipe.alpha * ratio
        optimizer = self.joint if joint else self.head_only
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach()), float((scores.detach().argmax(1) == y).float().mean())

    def ratio(self) -> float:
        """Share of mask elements that stay."""
        return sum(int((m > 0).sum()) for m in self.masks.values()) / self.total

    def epochs(self) -> Iterator[tuple[int, float, float]]:
        """Train epoch by epoch: (epoch, mean loss, mean accuracy)."""
        steps = self.views.steps(self.recipe.batch)
        for epoch in range(self.first, self.recipe.epochs):
            loss, accuracy = 0.0, 0.0
            for index, batch in enumerate(self.views.batches(self.recipe.batch)):
                one = self.step(batch.x, batch.y, joint=epoch % 5 != 0)
                loss, accuracy = loss + one[0] / steps, accuracy + one[1] / steps
                figures = {"loss": one[0], "accuracy": one[1], "kept": self.ratio()} if index % 10 == 0 else {}
                self.observer(Event("search", epoch * steps + index + 1, self.recipe.epochs * steps, figures))
            yield epoch, loss, accuracy

    def masked(self) -> nn.Module:
        """The module as it stands, for evaluation."""
        bits = {n: (m > 0).float() for n, m in self.masks.items()}
        weights = {n: w.detach() for n, w in self.weights(bits).items()}
        return Functional(self.module, weights)


class Functional(nn.Module):
    """A module run with given weights."""

    def __init__(self, module: Lowered, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.module, self.given = module, dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a batch."""
        scores: Tensor = functional_call(self.module, self.given, (x,))
        return scores


@dataclass
class Course:
    """What a search has come to: enough to go on after a break."""

    selection: Selection
    """Which epoch is to be kept."""
    curve: list[Point] = field(default_factory=list)
    """Epoch by epoch."""
    epoch: int = 0
    """The one that is kept."""
    bits: dict[str, np.ndarray] = field(default_factory=dict)
    """Its masks."""
    head: dict[str, Tensor] = field(default_factory=dict)
    """And its head."""

    def note(self, search: WeightSearch, point: Point) -> None:
        """Another epoch."""
        self.curve.append(point)
        if self.selection.better(point.val, point.kept):
            self.epoch = len(self.curve)
            self.bits = {n: (m.detach() > 0).cpu().numpy() for n, m in search.masks.items()}
            self.head = {n: search.module.weights[n].detach().clone() for n in SEAM_HEAD}

    def save(self, search: WeightSearch, path: Path) -> None:
        """Everything, in one rename."""
        state = {
            "course": self,
            "masks": search.masks,
            "head": {n: search.module.weights[n].detach() for n in SEAM_HEAD},
            "optimizers": [search.head_only.state_dict(), search.joint.state_dict()],
        }
        torch.save(state, part := path.with_suffix(".part"))
        part.replace(path)


def restored(search: WeightSearch, path: Path) -> Course:
    """Bring a search to where `Course.save` left it."""
    state = torch.load(path, weights_only=False)
    with torch.no_grad():
        for n, m in search.masks.items():
            m.copy_(state["masks"][n])
        for n, w in state["head"].items():
            search.module.weights[n].copy_(w)
    for optimizer, one in zip((search.head_only, search.joint), state["optimizers"], strict=True):
        optimizer.load_state_dict(one)
    course: Course = state["course"]
    search.first = len(course.curve)
    return course


def search_weights(
    model: Model,
    views: Views,
    recipe: SeamRecipe,
    threshold: float,
    *,
    observer: Observer = silent,
    state: Path | None = None,
) -> WeightsFound:
    """Run SeaM's search.

    Args:
        model: with SeaM's head (`add_seam_head`).
        views: training data; validation chooses the epoch.
        recipe: hyper-parameters.
        threshold: accuracy of the original on validation, which the choice has to reach.
        observer: told of every step.
        state: a file that is written after every epoch, and from which a search that was cut off goes on.
    """
    torch.manual_seed(recipe.seed)
    search = WeightSearch(model, views, recipe, observer)
    course = restored(search, state) if state is not None and state.exists() else Course(Selection(threshold))
    for epoch, loss, train in search.epochs():
        point = Point(epoch + 1, "search", loss, train, evaluate(search.masked(), views), search.ratio())
        course.note(search, point)
        observer(Event("epoch", epoch + 1, recipe.epochs, {"val": point.val, "kept": point.kept}))
        if state is not None:
            course.save(search, state)
    with torch.no_grad():
        for n, w in course.head.items():
            search.module.weights[n].copy_(w)
    trained = write_back(model, search.module)
    masks = MaskSet(course.bits, model.sha256)
    return WeightsFound(trained, masks, course.curve[course.epoch - 1].kept, tuple(course.curve), course.epoch)
