"""Training the weights that masks on single weights leave, with those that went held at zero.

SeaM leaves every weight as it is. Where few stay, these have to make up for the others: half of what 6 % of the weights
lose without it comes back (docs/seam-baseline.md). Pruning and then training what is left is the procedure of Han et al.,
"Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, arXiv 1506.02626.
"""

from functools import partial

import torch

from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.lowering import Lowered, lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point
from seam_onnx.search.normalise import fold, normalise
from seam_onnx.search.train import Clock, Trainer, cycle
from seam_onnx.search.training import PROBE
from seam_onnx.search.views import Views, evaluate
from seam_onnx.surgery import apply_masks

__all__ = ["tuned"]


def tuned(
    model: Model, masks: MaskSet, kept: float, views: Views, recipe: SeamRecipe, observer: Observer
) -> tuple[Model, tuple[Point, ...], int]:
    """The model under its masks, trained for `recipe.tune` epochs.

    Args:
        model: with its trained head.
        masks: on single weights.
        kept: share of the mask elements that stay; the less, the higher the learning rate.
        views: training data; the best reading on validation, one an epoch, stays.
        recipe: epochs, batch and distillation.
        observer: told of every step and reading.

    Returns:
        the model, zeros where the masks have them; the readings; which of them it has, counted from 0.
    """
    module = lower(apply_masks(model, masks)).to(views.device)
    normalise(module, next(views.batches(PROBE)).x)
    views.engine.placed(module)
    hold(module, masks)
    usual = Recipe(
        distill=recipe.distill, temperature=recipe.temperature, optimizer="adamw"
    )  # it keeps zeros, see `hold`
    epoch = views.steps(recipe.batch)
    clock = Clock(usual.rate * (1 - kept) ** 2, max(1, round(recipe.tune * epoch)))
    trainer = Trainer(module.train(), usual, clock, engine=views.engine)
    points: list[Point] = []

    def told() -> None:
        figures = {"loss": trainer.loss, "accuracy": trainer.accuracy, "kept": kept}
        observer(Event("recover", clock.done, clock.total, figures))

    def read() -> float:
        accuracy = evaluate(module, views)
        done = recipe.epochs + clock.done / epoch
        points.append(Point(done, "recover", trainer.loss, trainer.accuracy, accuracy, kept))
        observer(Event("recover", clock.done, clock.total, {"val": accuracy, "kept": kept}))
        return accuracy

    best, _ = cycle(trainer, views.endless(recipe.batch), epoch, told, read)
    fold(module)
    return write_back(model, module), tuple(points), best


def hold(module: Lowered, masks: MaskSet) -> None:
    """Let no gradient reach what the masks removed: AdamW then leaves these zeros as they are, its decay too."""
    for name, mask in masks.masks.items():
        weight = module.weights[name]
        weight.register_hook(partial(torch.mul, torch.from_numpy(mask).to(weight)))  # type: ignore[no-untyped-call]
