"""Torch-Pruning on a problem: Taylor importance, pruned in steps, trained in between as the search trains.

The start is where the search starts, the original with its head cut, as a torch module
(resnet.py). Views of the data, loss, optimiser, learning rates and engine are the search's own, and so is the number of
training steps (`controls.budget`), shared between rounds and recovery as the search shares them. Torch-Pruning 1.6 decides
what goes: `GroupTaylorImportance` with its defaults, gradients of that loss on `SCORED` training images, one ranking over
all layers, a hundredth of the channels a step as in its own benchmark's progressive pruning, until the round's MACs are
reached. Its groups are taken one by one, so that the last step does not overshoot.

Two things it cannot do here:

- Follow the padding of an option A shortcut. As exported (a slice and `F.pad`), pruning goes wrong after a few steps: "The
  size of tensor a (24) must match the size of tensor b (32) at non-singleton dimension 1". Hence the 1x1 convolutions.
- Remove a residual branch. With every width at 8, ResNet-20 still takes 12 % of its MACs, so `round_to=8` reaches
  macs=0.25 but not macs=0.1; there the widths are multiples of 4.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxscript  # noqa: F401  the exporter's: better missed before the training than after it
import torch
import torch_pruning as tp
from controls import budget, share_of
from resnet import ResNet, calibrated, loaded, multiply_adds
from rivals import Made, macs_of
from torch import nn

from seam_onnx.finding import teacher_logits
from seam_onnx.model import Model
from seam_onnx.outcome import Setup
from seam_onnx.search import ChannelSearch, CostAim, Engine, Recipe, Views, evaluate, fastest_engine
from seam_onnx.search.channel import READINGS
from seam_onnx.search.train import Clock, Trainer, cycle, objective
from seam_onnx.search.training import FIT, PROBE, Training
from seam_onnx.surgery import cut_head
from seam_onnx.surgery.logits import logits_of

__all__ = ["torch_pruning"]

SCORED = FIT
"""Training images whose gradients rank channels, anew after every removal."""
STEPS = 100
"""Of Torch-Pruning, from all channels down to none."""
LIMIT = 1e-4
"""Largest difference of logits between the torch module and onnxruntime, of their range."""


def torch_pruning(setup: Setup, output: Path) -> Made:
    """Peer: see above."""
    share = share_of(setup.request.target)
    recipe = replace(setup.request.recipe, epochs=budget(setup.request.recipe, share))
    probe = torch.from_numpy(setup.preprocess.normalize(setup.task.train.x[: recipe.batch]))
    with fastest_engine(setup.teacher.module, probe, setup.request.engine) as engine:
        start, training = beginning(setup, recipe, engine)
        net = in_torch(setup, start, training)
        engine.placed(net)
        pruning = Pruning(net, training, macs_of(setup.model), share)
        accuracy = pruning.run()
    export(net, setup.task.train.x.shape[1:], output)
    widths = [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]
    return Made(accuracy, f"round_to={pruning.multiple}, widths {widths}", training.total)


def beginning(setup: Setup, recipe: Recipe, engine: Engine) -> tuple[Model, Training]:
    """The network that a search has before its first cut, and what it trains with."""
    task, device = setup.task, setup.teacher.device
    taught = teacher_logits(setup.judge, setup.teacher, engine)
    views = Views(task, setup.preprocess, taught, device, recipe.seed, recipe.views, recipe.mix, engine)
    base = cut_head(setup.model, task.wanted.indices, rest=task.wanted.rest)
    search = ChannelSearch(
        base, logits_of(base), views, CostAim("macs", 1.0, recipe.rounds), recipe, "finetune", setup.step,
        setup.judge.check_surgery,
    )  # fmt: skip
    return search.model, search.training


def in_torch(setup: Setup, start: Model, training: Training) -> ResNet:
    """A network as a plain module, normalised. Raises ValueError where onnxruntime computes something else."""
    values = {name: v.const_value.numpy() for name, v in start.initializers.items() if v.const_value is not None}
    wanted = setup.task.wanted
    count = len(wanted.indices) if wanted.rest and len(wanted.unwanted) > 1 else None
    net = calibrated(loaded(values, count), training.samples(PROBE).x)
    x = setup.preprocess.normalize(setup.task.val.x[:PROBE])
    expected = setup.judge.opened(start).run(x)[0]
    with torch.no_grad():
        found = net(torch.from_numpy(x)).numpy()
    if (off := np.abs(found - expected).max() / np.ptp(expected)) > LIMIT:
        raise ValueError(f"the torch module differs from {setup.request.model} by {off:.1e} of the range of its logits")
    return net


class Pruning:
    """A network on its way down; `run` is the whole story.

    Args:
        net: pruned and trained in place.
        training: data, teacher, recipe.
        whole: multiply-adds of the original.
        share: of them that may stay.
    """

    def __init__(self, net: ResNet, training: Training, whole: float, share: float) -> None:
        self.net, self.training, self.whole, self.share = net, training, whole, share
        self.multiple = next(k for k in (8, 4, 1) if multiply_adds(narrowest(net, k)) <= share * whole)
        self.pruner = tp.pruner.BasePruner(
            net, training.samples(2).x[:2], tp.importance.GroupTaylorImportance(), global_pruning=True,
            pruning_ratio=1.0, iterative_steps=STEPS, ignored_layers=[net.linear], round_to=self.multiple,
        )  # fmt: skip

    def run(self) -> float:
        """Shrink and train in rounds of the same factor, then recover; accuracy on validation."""
        recipe, done = self.training.recipe, 0
        for number in range(recipe.rounds):
            self.shrink(self.whole * self.share ** ((number + 1) / recipe.rounds))
            self.train(self.training.round)
            done += self.training.round
        return self.train(self.training.total - done, choose=True)

    def shrink(self, goal: float) -> None:
        """Remove groups until the multiply-adds are at most `goal`. Raises ValueError where nothing goes any more."""
        while (size := multiply_adds(self.net)) > goal:
            self.score()
            while multiply_adds(self.net) == size:
                if self.pruner.current_step >= STEPS:
                    raise ValueError(f"Torch-Pruning stops at {size / self.whole:.1%} of the MACs")
                self.step(goal)

    def step(self, goal: float) -> None:
        """One step of Torch-Pruning, left where the goal is reached."""
        for group in self.pruner.step(interactive=True):
            group.prune()
            if multiply_adds(self.net) <= goal:
                return

    def score(self) -> None:
        """Leave the loss's gradients on `SCORED` training images in the parameters."""
        recipe, engine = self.training.recipe, self.training.views.engine
        self.net.train().zero_grad()
        for _ in range(SCORED // recipe.batch):
            batch = next(self.training.batches)
            objective(engine.run(self.net, batch.x)[0], batch, recipe).backward()

    def train(self, steps: int, *, choose: bool = False) -> float:
        """One cycle of the learning rate; with `choose` one of the readings on validation stays. Returns what it read."""
        recipe, views = self.training.recipe, self.training.views
        left = min(0.9, multiply_adds(self.net) / self.whole)
        clock = Clock(recipe.rate * (1 - left) ** 2, steps)
        columns = torch.arange(len(views.order))
        trainer = Trainer(self.net.train(), recipe, clock, engine=views.engine, columns=columns)
        period = max(self.training.epoch, steps // READINGS) if choose else steps
        batches, samples = self.training.batches, len(views.task.val)
        return cycle(trainer, batches, period, lambda: None, lambda: evaluate(self.net, views), samples)[1]


def narrowest(net: ResNet, width: int) -> ResNet:
    """The same depth with every width alike."""
    return ResNet(len(net.layer1), net.linear.out_features, (width, width, width), net.wanted)


def export(net: ResNet, shape: tuple[int, ...], output: Path) -> None:
    """Write the network by torch's default exporter, as the original was: normalisation folded, batch dynamic."""
    example = torch.zeros(2, *shape)
    torch.onnx.export(
        net.eval().to(memory_format=torch.contiguous_format), (example,), str(output), dynamo=True, opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
    )  # fmt: skip
