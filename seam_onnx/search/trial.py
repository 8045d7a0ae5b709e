"""How good a network is by the teacher, and a cut that has not been trained yet, after the closed-form refit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seam_onnx.lowering import Lowered, lower
from seam_onnx.model import Model
from seam_onnx.search.refit import Kept, observe, refit
from seam_onnx.search.views import Batch

__all__ = ["Trial", "distance"]


class Trial:
    """Refits small networks to one batch and says how far they are from the teacher.

    Args:
        original: the network that they were cut from.
        logits: name of its value with the scores.
        seen: samples, with what is wanted for them.
        lessons: what the teacher gives for some of the values (N, ...), by name: it stands for what the original has there.
        fits: whether weights may change at all.
    """

    def __init__(
        self, original: Lowered, logits: str, seen: Batch, lessons: Mapping[str, Tensor], *, fits: bool = True
    ) -> None:
        self.logits, self.x, self.teacher, self.fits = logits, seen.x, seen.teacher, fits
        half = len(seen.x) // 2
        self.seen, self.fresh = seen.x[:half], seen.x[half:]
        self.observed = {**observe(original, seen.x), **lessons} if fits else {}
        self.half = {name: value[: len(value) // 2] for name, value in self.observed.items()}

    def fitted(self, model: Model, kept: Kept) -> Lowered:
        """The network, refitted to all samples."""
        module = lower(model, self.logits).to(self.x.device)
        refit(module, self.observed, self.x, kept)
        return module

    def loss(self, model: Model, kept: Kept) -> float:
        """Refitted to one half of the samples: `distance` from the teacher on the other."""
        module = lower(model, self.logits).to(self.x.device)
        if self.fits:
            refit(module, self.half, self.seen, kept)
        return distance(module, self.fresh, self.teacher[len(self.seen) :])


@torch.no_grad()
def distance(module: nn.Module, x: Tensor, teacher: Tensor) -> float:
    """KL(teacher || module), the mean over samples x (N, ...), of which teacher (N, outputs) are the wanted logits."""
    scores = nn.functional.log_softmax(module(x).flatten(1), 1)
    wanted = nn.functional.log_softmax(teacher, 1)
    return float(nn.functional.kl_div(scores, wanted, log_target=True, reduction="batchmean"))
