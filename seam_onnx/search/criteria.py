"""By what channels can be ranked without trying them: scores to compare the measured effect with.

A criterion is a function from a `Subject` to scores (labels,) in any unit; a step costs the sum of the scores of the
channels that go, as if these did not interact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seam_onnx.channels import Channels
from seam_onnx.hyperparameters import Criterion
from seam_onnx.lowering import Lowered
from seam_onnx.model import Model
from seam_onnx.search.gates import gate_values
from seam_onnx.search.scores import sensitivities
from seam_onnx.search.train import distillation

__all__ = ["CRITERIA", "Subject"]

DRAWS = 8
"""Random combinations of the logits that are propagated back."""
GATED = 512
"""Samples on which gates are trained."""
TEMPERATURE = 3.0
"""At which gated answers are compared."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """The network whose channels are ranked."""

    model: Model
    channels: Channels
    """Of the model."""
    module: Lowered
    """The model in torch, in evaluation mode."""
    x: Tensor
    """Samples (B, ...)."""
    more: Callable[[int], Tensor]
    """At least so many further samples (N, ...)."""
    goal: float
    """Share of its cost that it is to come to, whatever the target counts; `gates` count it in multiply-adds."""
    seed: int
    """Of everything random."""


def taylor(subject: Subject) -> Scores:
    """First order, by gates at the readers."""
    derivatives = sensitivities(subject.module, subject.channels, subject.x, DRAWS, subject.seed)
    scores: Scores = (derivatives**2).mean(0)
    return scores


def magnitude(subject: Subject) -> Scores:
    """Sum of squares of all weights that read a channel."""
    sums = np.zeros(len(subject.channels.roots))
    for binding in subject.channels.bindings:
        tensor = subject.model.initializers[binding.initializer].const_value
        if binding.role == "read" and tensor is not None:
            array = np.moveaxis(np.asarray(tensor.numpy(), np.float64), binding.axis, 0)
            np.add.at(sums, subject.channels.roots[binding.labels], (array.reshape(len(array), -1) ** 2).sum(1))
    return sums


def gates(subject: Subject) -> Scores:
    """Hard-concrete gates, trained down to the goal."""
    batches = torch.split(subject.more(GATED), len(subject.x))
    return gate_values(
        subject.module, subject.channels, batches, subject.goal, subject.seed,
        lambda scores, answers: distillation(scores, answers, TEMPERATURE),
    )  # fmt: skip


def random(subject: Subject) -> Scores:
    """Chance."""
    return np.random.default_rng(subject.seed).random(len(subject.channels.roots))


CRITERIA: Mapping[Criterion, Callable[[Subject], Scores]] = {
    "taylor": taylor,
    "magnitude": magnitude,
    "gates": gates,
    "random": random,
}
