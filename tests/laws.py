"""The three laws as numbers: how far apart two runs are that should agree, relative to the outputs' range.

L1: torch(lower(model)) = onnxruntime(model). L2: torch with masked parameters = onnxruntime(masked model).
L3: onnxruntime(pruned model) = onnxruntime(masked model), for any mask.
"""

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from graphs import feeds, gap, proto_of, run

from seam_onnx.channels import Channels, analyze
from seam_onnx.lowering import Lowered, lower
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model
from seam_onnx.surgery import apply_masks, plan_removal, remove_channels


def torch_run(module: Lowered, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The module's output."""
    (x,) = inputs.values()
    with torch.no_grad():
        return module(torch.from_numpy(x.astype(np.float32) if x.dtype.kind == "f" else x)).numpy()


def lowering_gap(model: Model, batch: int = 3, seed: int = 0) -> float:
    """L1: worst over the graph's outputs."""
    inputs = feeds(model, batch, seed)
    expected = run(model, inputs)
    names = [str(v.name) for v in model.graph.outputs]
    return max(gap(torch_run(lower(model, n), inputs), e) for n, e in zip(names, expected, strict=True))


def lowering_limit(model: Model, batch: int = 3, seed: int = 0) -> float:
    """What L1 may come to: 1e-5, or more where rounding alone moves the network further.

    torch and onnxruntime sum in different orders, so both are as far from the exact outputs as the network amplifies
    rounding, e_torch and e_ort, and L1 <= e_torch + e_ort. The same module in float64 tells e_torch; e_ort is of that
    size, but another draw over a handful of outputs, hence the factor. A wrong lowering is as wrong in float64, so it
    does not raise its own limit.
    """
    (x,) = feeds(model, batch, seed).values()
    if x.dtype != np.float32:
        return 1e-5
    moved = 0.0
    for value in model.graph.outputs:
        module = lower(model, str(value.name))
        with torch.no_grad():
            single, double = module(torch.from_numpy(x)).numpy(), module.double()(torch.from_numpy(x).double()).numpy()
        moved = max(moved, gap(single, double))
    return max(1e-5, 10 * moved)


def masking_gap(model: Model, masks: MaskSet, batch: int = 3, seed: int = 0) -> float:
    """L2: a mask is one multiplication of the parameter of the same name."""
    inputs = feeds(model, batch, seed)
    module = lower(model)
    module.combine(masks)
    with torch.no_grad():
        for name, mask in masks.masks.items():
            if name in module.weights:
                module.weights[name].mul_(torch.from_numpy(np.array(mask)))
    return gap(torch_run(module, inputs), run(apply_masks(model, masks), inputs)[0])


def pruned(model: Model, masks: MaskSet) -> tuple[Model, Model]:
    """The masked model and what is left of it."""
    masked = apply_masks(model, masks)
    return masked, remove_channels(masked, plan_removal(masked, analyze(masked)))


def removal_gap(model: Model, masks: MaskSet, batch: int = 3, seed: int = 0) -> float:
    """L3: worst over the graph's outputs; the pruned file is also valid ONNX."""
    inputs = feeds(model, batch, seed)
    masked, small = pruned(model, masks)
    onnx.checker.check_model(proto_of(small), full_check=True)
    return max(gap(b, a) for a, b in zip(run(masked, inputs), run(small, inputs), strict=True))


def drawn_masks(model: Model, channels: Channels, seed: int) -> MaskSet:
    """Random weight masks: per floating-point initializer nothing, single elements, whole slices, or all dropped.

    Single numbers are no weights.
    """
    rng = np.random.default_rng(seed)
    masks = {}
    for name, shape in channels.elements.items():
        kind, keep = rng.integers(5), rng.choice([0.0, 0.1, 0.5, 0.9])
        if np.prod(shape) == 1:
            continue
        if kind == 0:
            masks[name] = rng.random(shape) < keep
        elif kind in (1, 2):
            axis = int(rng.integers(len(shape)))
            masks[name] = rng.random([n if k == axis else 1 for k, n in enumerate(shape)]) < keep
    return MaskSet(masks, model.sha256)


def dropped(channels: Channels, kind: str, seed: int) -> np.ndarray:
    """Channels to drop: `none`, `all`, all of one `group`, all but `one` a group, or a share such as `0.5`."""
    rng = np.random.default_rng(seed)
    free = channels.free
    if kind in ("none", "all") or not len(free):
        return free if kind == "all" else free[:0]
    if kind == "group":
        return channels.groups[rng.integers(len(channels.groups))].channels
    if kind == "one":
        return np.concatenate([rng.permutation(group.channels)[1:] for group in channels.groups])
    return rng.permutation(free)[: round(len(free) * float(kind))]
