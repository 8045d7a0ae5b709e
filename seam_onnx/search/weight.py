"""Masks on single weights, after SeaM (Qi et al., "Reusing Deep Neural Network Models through Model Re-engineering",
ICSE 2023, section 3; details after the published code).

Every Conv and fully connected layer of the original, its classifier included, gets a real mask M of the weight's (and
the bias's) shape, of which B = [M > 0] multiplies the frozen weights; a new head Linear(ReLU(z)) gets none, nor
does normalisation. The gradient of an element is the sum of two clipped ones,

    dL/dM = clip(W * dCE/dWeff, -1, 1) + clip(alpha / N, -1, 1),      L = CE(y, label) + alpha * mean(B),

N the number of elements. How masks and head then move is the schedule's business (schedules.py): SeaM's own, or a fast one.
With an N:M pattern B is 1 for the N largest M of every group of M input weights, if they are above 0; the gradient is
the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.func import functional_call

from seam_onnx.hyperparameters import SeamRecipe
from seam_onnx.lowering import Lowered, lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.schedules import make_schedule
from seam_onnx.search.selection import Course, Selection
from seam_onnx.search.straight_through import largest, straight_through
from seam_onnx.search.train import objective
from seam_onnx.search.views import Batch, Views, evaluate
from seam_onnx.surgery.logits import SEAM_HEAD
from seam_onnx.surgery.sparsity import fits, parse_nm, reduction_axes

__all__ = ["SeamRecipe", "WeightsFound", "mask_elements", "search_weights"]


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
    """The model with its trained head; original weights untouched, unless the schedule trains them."""
    masks: MaskSet
    """Of the chosen epoch of the search."""
    kept: float
    """Share of mask elements that stay."""
    curve: tuple[Point, ...]
    """Epoch by epoch."""
    epoch: int
    """The chosen one, counted from 1."""


class WeightSearch:
    """State of one search."""

    def __init__(self, model: Model, views: Views, recipe: SeamRecipe, observer: Observer) -> None:
        if recipe.schedule == "published":  # SeaM has no teacher
            recipe = replace(recipe, distill=0.0)
        self.views, self.recipe, self.observer = views, recipe, observer
        self.module = lower(model).to(views.device)
        views.engine.placed(self.module)
        self.frozen = {n: p.detach() for n, p in self.module.weights.items() if n not in SEAM_HEAD}
        self.masks = {n: nn.Parameter(torch.ones_like(self.frozen[n])) for n in mask_elements(model)}
        self.head = {n: self.module.weights[n] for n in SEAM_HEAD}
        self.total = sum(m.numel() for m in self.masks.values())
        self.pattern = None if recipe.nm is None else parse_nm(recipe.nm)
        self.axes = reduction_axes(model)
        self.steps = views.steps(recipe.batch)
        self.schedule = make_schedule(self.masks, list(self.head.values()), recipe, self.steps)

    @torch.no_grad()
    def bits(self) -> dict[str, Tensor]:
        """What stays: 1 or 0 for every element."""
        return {n: self.chosen(n).to(m.dtype) for n, m in self.masks.items()}

    def chosen(self, name: str) -> Tensor:
        """True for the elements of a mask that stay."""
        mask = self.masks[name].detach()
        axis, pattern = self.axes.get(name), self.pattern if self.schedule.begun else None
        if pattern is None or axis is None or not fits(tuple(mask.shape), axis, pattern):
            return mask > 0
        return (mask > 0) & largest(mask, axis, pattern)

    def weights(self, bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every weight that the module is run with, by its attribute in the module."""
        effective = {n: w * bits[n] if n in bits else w for n, w in self.frozen.items()}
        return {f"body.{self.module.names[n]}": w for n, w in effective.items()}

    def step(self, batch: Batch, joint: bool) -> tuple[float, float]:
        """One update; returns loss and accuracy of the batch."""
        hard, schedule = self.bits(), self.schedule
        watched = schedule.watches(joint)
        bits = {n: straight_through(m, hard[n]) for n, m in self.masks.items()} if watched else hard
        scores = self.views.engine.run(Functional(self.module, self.weights(bits)), batch.x)[0]
        loss = objective(scores, batch, self.recipe)
        if joint and schedule.alpha:  # bits of their own, so that either gradient is clipped by itself
            ratio = torch.stack([straight_through(m, hard[n]).sum() for n, m in self.masks.items()]).sum() / self.total
            loss = loss + schedule.alpha * ratio
        for parameter in (*self.masks.values(), *self.head.values()):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        schedule.step(joint)
        known = batch.y >= 0
        right = (scores.detach().argmax(1) == batch.y)[known]
        return float(loss.detach()), float(right.float().mean()) if len(right) else 0.0

    def ratio(self) -> float:
        """Share of mask elements that stay."""
        return sum(int(self.chosen(n).sum()) for n in self.masks) / self.total

    def epochs(self, first: int = 0) -> Iterator[tuple[int, float, float]]:
        """Train epoch by epoch: (epoch, mean loss, mean accuracy)."""
        for epoch in range(first, self.recipe.epochs):
            loss, accuracy = 0.0, 0.0
            for index, batch in enumerate(self.views.batches(self.recipe.batch)):
                one = self.step(batch, self.schedule.joint(epoch))
                loss, accuracy = loss + one[0] / self.steps, accuracy + one[1] / self.steps
                figures = {"loss": one[0], "accuracy": one[1], "kept": self.ratio()} if index % 10 == 0 else {}
                done = epoch * self.steps + index + 1
                self.observer(Event("search", done, self.recipe.epochs * self.steps, figures))
            yield epoch, loss, accuracy

    def run(self, course: Course, state: Path | None) -> Course:
        """All epochs that are left; the state is written after each."""
        for epoch, loss, train in self.epochs(len(course.curve)):
            point = Point(epoch + 1, "search", loss, train, evaluate(self.masked(), self.views), self.ratio())
            course.note(point, self.bits(), self.head)
            if state is not None:
                self.save(course, state)
            done, total = (count * self.steps for count in (epoch + 1, self.recipe.epochs))
            self.observer(Event("search", done, total, {"val": point.val, "kept": point.kept}))
        return course

    def masked(self) -> nn.Module:
        """The module as it stands, for evaluation."""
        return Functional(self.module, {n: w.detach() for n, w in self.weights(self.bits()).items()})

    def save(self, course: Course, path: Path) -> None:
        """Everything that `restore` needs, in one rename."""
        tensors = {n: p.detach() for n, p in (self.masks | self.head).items()}
        torch.save(
            {"course": course, "tensors": tensors, "schedule": self.schedule.state()}, part := path.with_suffix(".part")
        )
        part.replace(path)

    def restore(self, path: Path) -> Course:
        """Go on from a file that `save` wrote. Views of the data are made anew."""
        state = torch.load(path, weights_only=False)  # a file of our own
        self.put(state["tensors"])
        self.schedule.restore(state["schedule"])
        course: Course = state["course"]
        return course

    @torch.no_grad()
    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Set masks or head."""
        for name, tensor in tensors.items():
            (self.masks | self.head)[name].copy_(tensor)


class Functional(nn.Module):
    """A module run with given weights."""

    def __init__(self, module: Lowered, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.module, self.given = module, dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a batch."""
        scores: Tensor = functional_call(self.module, self.given, (x,))
        return scores


def search_weights(
    model: Model,
    views: Views,
    recipe: SeamRecipe,
    threshold: float,
    *,
    observer: Observer = silent,
    state: Path | None = None,
) -> WeightsFound:
    """Run the search.

    Args:
        model: with SeaM's head (`add_seam_head`).
        views: training data; validation chooses the epoch.
        recipe: hyper-parameters.
        threshold: accuracy of the original on validation, which the choice has to reach; see `Selection`.
        observer: told of every step, and after every epoch of its accuracy on validation.
        state: a file that is written after every epoch, and from which a search that was cut off goes on.
    """
    torch.manual_seed(recipe.seed)
    search = WeightSearch(model, views, recipe, observer)
    begun = state is not None and state.exists()
    course = search.restore(state) if state is not None and begun else Course(Selection.of(recipe, threshold))
    course = search.run(course, state)
    search.put(course.head)
    trained, masks = write_back(model, search.module), MaskSet(course.masks, model.sha256)
    return WeightsFound(trained, masks, course.curve[course.epoch - 1].kept, tuple(course.curve), course.epoch)
