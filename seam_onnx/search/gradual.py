"""Masks on single weights that go while the weights are trained, down to a share of them.

SeaM leaves every weight as it is. Where few stay, these have to make up for the others, and which ones can is seen
best while they do. As in SeaM gradients pass straight through the masks, here to the weights themselves, masked or not, so
that what went may come back (Wortsman, Farhadi, Rastegari, "Discovering neural wirings", NeurIPS 2019, arXiv 1906.00586).
The share falls by a constant factor a step, then stays (compare Zhu and Gupta, "To prune, or not to prune", arXiv
1710.01878).

A weight counts by its square over the squares of those in its layer that are no smaller (Lee et al., "Layer-adaptive
sparsity for the magnitude-based pruning", ICLR 2021, arXiv 2010.07611): one measure for all layers, and none
is emptied by it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seam_onnx.hyperparameters import Recipe, SeamRecipe
from seam_onnx.lowering import Lowered, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.progress import Event, Observer, Point, silent
from seam_onnx.search.normalise import fold
from seam_onnx.search.schedules import DESCENT, final_share
from seam_onnx.search.straight_through import largest, straight_through
from seam_onnx.search.train import Clock, Trainer, cycle
from seam_onnx.search.training import Training
from seam_onnx.search.views import Views, evaluate
from seam_onnx.search.weight import WeightsFound
from seam_onnx.surgery import apply_masks, closed
from seam_onnx.surgery.sparsity import NM, fits, parse_nm, reduction_axes

__all__ = ["Sparse", "lamp", "search_gradually"]

EVERY = 10
"""Steps between choices of the weights that stay."""


class Sparse(nn.Module):
    """A network of which some weights are masked; their gradients are those of the weights without masks.

    Args:
        module: the network, whose own parameters stay dense.
        axes: the weights to mask by initializer name, each with the axis that is summed over, None where there is none.
        pattern: N:M that has to hold along these axes, where they can hold it.
    """

    def __init__(self, module: Lowered, axes: Mapping[str, int | None], pattern: NM | None) -> None:
        super().__init__()
        self.module, self.axes, self.pattern = module, axes, pattern
        self.final: MaskSet | None = None
        self.size = sum(module.weights[name].numel() for name in axes)
        for name in axes:
            self.register_buffer(self.place(name), torch.ones_like(module.weights[name], dtype=torch.bool))

    def place(self, name: str) -> str:
        """The buffer with a weight's mask."""
        return f"mask_{self.module.names[name]}"

    def mask(self, name: str) -> Tensor:
        """True where a weight stays."""
        return self.get_buffer(self.place(name))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the masked network gives."""
        masked = {f"body.{self.module.names[name]}": self.masked(name) for name in self.axes}
        made: Tensor | tuple[Tensor, ...] = functional_call(self.module, masked, (x,))
        return made

    def masked(self, name: str) -> Tensor:
        """A weight under its mask."""
        weight = self.module.weights[name]
        under = weight * self.mask(name)
        return under if self.final is not None else straight_through(weight, under.detach())

    @torch.no_grad()
    def choose(self, share: float) -> None:
        """Keep this share of the weights, those that count most; fewer where the pattern leaves fewer."""
        scores = {name: self.scores(name) for name in self.axes}
        gone = self.size - max(1, round(share * self.size))
        values = torch.cat([score.flatten() for score in scores.values()])
        limit = float(values.kthvalue(gone).values) if gone else -1.0
        for name, score in scores.items():
            self.mask(name).copy_((score > limit) & (score >= 0))

    def scores(self, name: str) -> Tensor:
        """What the weights count, -1 where the pattern takes them."""
        weight, axis = self.module.weights[name], self.axes[name]
        if self.pattern is None or axis is None or not fits(tuple(weight.shape), axis, self.pattern):
            return lamp(weight)
        return lamp(weight).masked_fill(~largest(weight.abs(), axis, self.pattern), -1.0)

    def kept(self) -> float:
        """Share of the weights that stay."""
        return sum(int(self.mask(name).sum()) for name in self.axes) / self.size

    def close(self, base: Model) -> None:
        """No mask changes from now on, and what they leave without data is silent; see `seam_onnx.surgery.closed`."""
        masks = {name: self.mask(name).cpu().numpy() for name in self.axes}
        self.final = closed(base, MaskSet(masks, base.sha256))
        for name in self.axes:
            self.mask(name).copy_(torch.from_numpy(self.final.masks[name]))
        self.silence()

    @torch.no_grad()
    def silence(self) -> None:
        """Put zeros where the final masks have them, also in what shifts and scales channels."""
        assert self.final is not None
        for name, mask in self.final.masks.items():
            weight = self.module.weights[name]
            weight.mul_(torch.from_numpy(mask).to(weight))


def lamp(weight: Tensor) -> Tensor:
    """Each square over the sum of those that are no smaller, in the weight's shape: of (0, 1], equal for equal layers."""
    squares, order = weight.detach().square().flatten().sort(stable=True)
    rest = squares.flip(0).cumsum(0).flip(0)
    return torch.empty_like(squares).scatter_(0, order, squares / rest.clamp_min(1e-30)).reshape(weight.shape)


def search_gradually(
    base: Model, logits: str, views: Views, recipe: SeamRecipe, observer: Observer = silent
) -> WeightsFound:
    """Train a network while its weights go.

    Args:
        base: with its head cut.
        logits: name of the value with the scores before any softmax.
        views: training data, and validation, read once an epoch; `cycle` chooses among readings with the final masks.
        recipe: epochs, batch, distillation, share to keep, pattern.
        observer: told of every step and reading.

    Returns:
        the network, zeros where the masks have them, with its masks.
    """
    torch.manual_seed(recipe.seed)
    usual = Recipe(
        recipe.epochs, recipe.least, batch=recipe.batch, distill=recipe.distill, temperature=recipe.temperature,
        seed=recipe.seed,
    )  # fmt: skip
    training = Training(base, logits, views, usual)
    module = training.trainable(base)
    pattern = None if recipe.nm is None else parse_nm(recipe.nm)
    sparse = Sparse(module, {n: a for n, a in reduction_axes(base).items() if n in module.names}, pattern)
    descent = Descent(base, sparse, training, final_share(recipe), observer)
    best = descent.run()
    fold(module)
    found = apply_masks(write_back(base, module), descent.masks)  # folding moves the shifts of silent channels
    return WeightsFound(found, descent.masks, sparse.kept(), tuple(descent.points), best + 1)


class Descent:
    """Training while the share falls, and then as the masks stand.

    As in the search for channels, the rate is the higher the more has gone: a whole network would only forget.
    """

    def __init__(self, base: Model, sparse: Sparse, training: Training, keep: float, observer: Observer) -> None:
        self.base, self.sparse, self.training, self.keep, self.observer = base, sparse, training, keep, observer
        self.points: list[Point] = []
        columns = training.columns(MaskSet({}, base.sha256))
        self.clock = Clock(0.0, training.total)
        self.trainer = Trainer(
            sparse.train(), training.recipe, self.clock, engine=training.views.engine, columns=columns
        )

    @property
    def masks(self) -> MaskSet:
        """Those that it ended in."""
        assert self.sparse.final is not None
        return self.sparse.final

    def run(self) -> int:
        """Train; the network then is what it was after one of the readings with the final masks: after which."""
        training = self.training
        samples = len(training.views.task.val)
        return cycle(self.trainer, training.batches, training.epoch, self.told, self.read, samples)[0]

    def share(self) -> float:
        """Of the weights that may stay now."""
        return float(self.keep ** min(1.0, self.clock.done / (DESCENT * self.clock.total)))

    def told(self) -> None:
        """After a step."""
        done, over = self.clock.done, self.clock.done >= DESCENT * self.clock.total
        self.clock.peak = self.training.recipe.rate * (1 - min(0.9, self.share())) ** 2
        if self.sparse.final is not None:
            self.sparse.silence()
        elif over or done % EVERY == 0:
            self.sparse.choose(self.share())
            if over:
                self.sparse.close(self.base)
        figures = {"loss": self.trainer.loss, "accuracy": self.trainer.accuracy, "kept": self.share()}
        self.observer(Event("search", done, self.clock.total, figures))

    def read(self) -> float:
        """Accuracy on validation, -1 as long as masks change."""
        accuracy, kept = evaluate(self.sparse, self.training.views), self.sparse.kept()
        epoch = self.clock.done / self.training.epoch
        self.points.append(Point(epoch, "search", self.trainer.loss, self.trainer.accuracy, accuracy, kept))
        self.observer(Event("search", self.clock.done, self.clock.total, {"val": accuracy, "kept": kept}))
        return accuracy if self.sparse.final is not None else -1.0
