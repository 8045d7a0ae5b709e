"""Training data on the device: decoded once, augmented in batches, each view with the teacher's answers cached.

A *view* is one pass over the data: its own draw of other classes, its own crops and flips. A few views are made and
used in turn, so that the teacher runs once a view and not once an epoch.

The teacher answers as if classes were as frequent as they are here, see `seam_onnx.task.prior_shift`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seam_onnx.data import Preprocess
from seam_onnx.labels import Wanted
from seam_onnx.search.augment import augmented, mixed
from seam_onnx.search.engine import PLAIN, Engine
from seam_onnx.task import Task, draw, prior_shift

__all__ = ["Batch", "Views", "evaluate", "normalised", "restricted"]

MEMORY = 1 << 30
"""Bytes that all views together may take."""


@dataclass(frozen=True)
class Batch:
    """Samples on the device."""

    x: Tensor
    """float32 (B, ...), normalised, in the engine's layout."""
    y: Tensor
    """int64 (B,), labels of the task, -1 of mixtures of two images."""
    teacher: Tensor
    """float32 (B, outputs): logits of the original restricted to the wanted outputs, at the task's frequencies."""
    classes: Tensor
    """float32 (B, classes): logits of the original at the task's frequencies, the wanted classes first, then the others,
    ascending."""


class Views:
    """Views of a task's training data.

    Args:
        task: whose training split is used.
        preprocess: normalisation, layout and augmentation.
        teacher: from normalised x (B, ...) to the original's logits (B, classes), on the device.
        device: where everything is kept.
        seed: of draws and augmentation.
        most: views to make; fewer where memory is short.
        mix: share of images that are mixtures of two, where images are augmented at all.
        engine: how the teacher computes.
    """

    def __init__(
        self,
        task: Task,
        preprocess: Preprocess,
        teacher: Callable[[Tensor], Tensor],
        device: torch.device,
        seed: int,
        most: int,
        mix: float = 0.0,
        engine: Engine = PLAIN,
    ) -> None:
        self.task, self.preprocess, self.teacher, self.device, self.engine = task, preprocess, teacher, device, engine
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.mix = mix if preprocess.augment else 0.0
        self.count = len(draw(task.train.y, task.wanted, np.random.default_rng(0)))
        self.order = torch.tensor((*task.wanted.indices, *task.wanted.unwanted), device=device)
        self.shift = torch.from_numpy(prior_shift(task.wanted)).to(device)
        size = self.count * (task.train.x[0].nbytes + 4 * len(self.order))
        self.most = max(1, min(most, MEMORY // max(1, size))) if preprocess.augment else 1
        self.made: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self.epoch = 0

    def batches(self, size: int) -> Iterator[Batch]:
        """One epoch over the next view, shuffled; the last incomplete batch is left out if there is a complete one."""
        x, y, teacher, classes = self.view(self.epoch % self.most)
        self.epoch += 1
        order = torch.randperm(len(y), generator=self.generator).to(self.device)
        size = min(size, len(y))
        for start in range(0, len(y) - size + 1, size):
            chosen = order[start : start + size]
            arranged = self.engine.arranged(normalised(x[chosen], self.preprocess))
            yield Batch(arranged, y[chosen], teacher[chosen], classes[chosen])

    def endless(self, size: int) -> Iterator[Batch]:
        """Epoch after epoch."""
        while True:
            yield from self.batches(size)

    def steps(self, size: int) -> int:
        """Batches an epoch."""
        return max(1, self.count // min(size, self.count))

    def view(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """View number `index`, made when first asked for."""
        while len(self.made) <= index:
            chosen = draw(self.task.train.y, self.task.wanted, self.rng)
            x = augmented(torch.from_numpy(self.task.train.x[chosen]), self.preprocess, self.generator)
            x, y = mixed(x, torch.from_numpy(self.task.train.y[chosen]), self.mix, self.generator)
            x, y = x.to(self.device), y.to(self.device)
            answers = [self.taught(normalised(part, self.preprocess)) for part in torch.split(x, 256)]
            classes = torch.cat(answers)[:, self.order] + self.shift
            self.made.append((x, y, restricted(classes, self.task.wanted), classes))
        return self.made[index]

    @torch.no_grad()
    def taught(self, x: Tensor) -> Tensor:
        """The teacher's logits (B, classes) of normalised images."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.engine.low):
            return self.teacher(self.engine.arranged(x)).float()


def restricted(classes: Tensor, wanted: Wanted) -> Tensor:
    """Logits (B, outputs) from those of all classes (B, classes), the wanted ones first: `Wanted.restrict` in torch."""
    count = len(wanted.indices)
    if not wanted.rest:
        return classes[:, :count]
    return torch.cat([classes[:, :count], classes[:, count:].logsumexp(1, keepdim=True)], 1)


@torch.no_grad()
def evaluate(module: torch.nn.Module, views: Views) -> float:
    """Share of the task's validation samples that a module (in evaluation mode) gets right."""
    data, right = views.task.val, 0
    for start in range(0, len(data), 256):
        x = normalised(torch.from_numpy(data.x[start : start + 256]).to(views.device), views.preprocess)
        scores = views.engine.run(module, x)[0]
        right += int((scores.flatten(1).argmax(1).cpu().numpy() == data.y[start : start + 256]).sum())
    return right / len(data)


def normalised(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Arranged samples (B, ...) as the model's float32 input."""
    mul, add = preprocess.affine(np.uint8 if x.dtype == torch.uint8 else np.float32)
    view = (-1, 1, 1) if preprocess.layout == "nchw" else (-1,)
    scale, shift = (torch.from_numpy(a).to(x.device).reshape(view) for a in (mul, add))
    return x.float() * scale + shift
