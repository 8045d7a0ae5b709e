"""Augmentation of whole batches at once, on raw samples, before anything is normalised.

Distillation asks for more than labels do: the small network has to agree with the original wherever inputs may fall, so
images are also turned, zoomed and mixed, and the teacher is asked again (Beyer et al., "Knowledge distillation: a good
teacher is patient and consistent", CVPR 2022, arXiv 2106.05237).
"""

import torch
from torch import Tensor, nn

from seam_onnx.data import Preprocess

__all__ = ["augmented", "mixed"]

TURN = 0.3
"""Radians that an image is turned by, at most."""
ZOOM = (0.7, 1.15)
"""Share of an image that is seen, along each side."""
PAN = 0.15
"""Of half an image that its centre moves, at most."""


def augmented(x: Tensor, preprocess: Preprocess, generator: torch.Generator) -> Tensor:
    """A copy of images x (N, ...), each augmented at random as `preprocess.augment` says.

    `crop` shifts by up to an eighth of the size (zeros come in), `flip` mirrors left and right, `zoom` turns and zooms half
    of the images (the border is reflected).
    """
    if preprocess.layout == "none" or not preprocess.augment:
        return x
    rows, columns = (2, 3) if preprocess.layout == "nchw" else (1, 2)
    if "crop" in preprocess.augment:
        x = shifted(shifted(x, rows, generator), columns, generator)
    if "flip" in preprocess.augment:
        flip = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(flip.reshape(-1, 1, 1, 1), x.flip(columns), x)
    if "zoom" in preprocess.augment:
        x = zoomed(x, generator) if rows == 2 else zoomed(x.movedim(3, 1), generator).movedim(1, 3)
    return x


def mixed(x: Tensor, y: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A copy in which a share of samples x (N, ...) has up to a half of another mixed in, and no label (-1) any more.

    Zhang et al., "mixup", arXiv 1710.09412, with the teacher's answer to the mixture in place of mixed labels.
    """
    if not share:
        return x, y
    one = (len(x), *[1] * (x.ndim - 1))
    chosen = torch.rand(len(x), generator=generator) < share
    part = torch.rand(one, generator=generator) * 0.5
    blend = x.float() * (1 - part) + x[torch.randperm(len(x), generator=generator)].float() * part
    blend = blend if x.is_floating_point() else blend.round()
    return torch.where(chosen.reshape(one), blend.to(x.dtype), x), torch.where(chosen, -1, y)


def shifted(x: Tensor, axis: int, generator: torch.Generator) -> Tensor:
    """Every sample moved along an axis by its own whole number of pixels."""
    size = x.shape[axis]
    reach = max(1, size // 8)
    offset = torch.randint(-reach, reach + 1, (len(x), 1), generator=generator)
    source = torch.arange(size) + offset  # (B, size)
    inside = (source >= 0) & (source < size)
    view = [len(x)] + [size if k == axis else 1 for k in range(1, x.ndim)]
    index = source.clamp(0, size - 1).reshape(view).expand_as(x)
    return torch.where(inside.reshape(view), x.gather(axis, index), torch.zeros((), dtype=x.dtype))


def zoomed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images x (N, C, H, W) turned by up to `TURN` and zoomed within `ZOOM`, bilinearly."""
    count = len(x)
    turn = (torch.rand(count, generator=generator) * 2 - 1) * TURN
    zoom = torch.rand(count, generator=generator) * (ZOOM[1] - ZOOM[0]) + ZOOM[0]
    pan = (torch.rand(count, 2, generator=generator) * 2 - 1) * PAN
    across, along = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    rows = (torch.stack([across, -along, pan[:, 0]], 1), torch.stack([along, across, pan[:, 1]], 1))
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    seen = nn.functional.grid_sample(x.float(), grid, align_corners=False, padding_mode="reflection")
    chosen = (torch.rand(count, generator=generator) < 0.5).reshape(-1, 1, 1, 1)
    return torch.where(chosen, (seen if x.is_floating_point() else seen.round()).to(x.dtype), x)
