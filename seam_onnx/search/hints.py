"""Which value of the small network corresponds to which value of the original, and on which channels.

A layer that survives reads what it read before, less the channels that have gone; which those are its weight's input axis
tells. So every surviving reader is a place where the small network can be compared with the original.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seam_onnx.channels import Binding, analyze
from seam_onnx.lowering import lower
from seam_onnx.model import Model
from seam_onnx.search.train import Teach
from seam_onnx.surgery import PrunePlan

__all__ = ["Hints"]


class Hints:
    """Follows a model through its removals. Grouped convolutions are not watched: their input axis is per block."""

    def __init__(self, base: Model) -> None:
        self.base = base
        widths = base.shapes.dims
        nodes = {str(n.name): n for n in base.graph}
        self.readers: dict[str, Binding] = {}
        self.before: dict[str, str] = {}
        for binding in analyze(base).bindings:
            x = nodes[binding.node].inputs[0]
            axis = -1 if nodes[binding.node].op_type == "MatMul" else 1
            if binding.role == "read" and x is not None and widths[str(x.name)][axis] == len(binding.labels):
                self.readers[binding.node] = binding
                self.before[binding.node] = str(x.name)
        self.kept: dict[tuple[str, int], NDArray[np.int64]] = {}
        self.now = dict(self.before)

    def follow(self, plan: PrunePlan, pruned: Model) -> None:
        """Take a removal into account."""
        for (name, axis), kept in plan.gathers.items():
            whole = np.arange(self.base.shapes.dims[name][axis]) if name in self.base.shapes.dims else None
            earlier = self.kept.get((name, axis), whole)
            if earlier is not None:
                self.kept[name, axis] = earlier[kept]
        inputs = {str(n.name): n.inputs[0] for n in pruned.graph if n.inputs}
        self.now = {n: str(v.name) for n in self.now if (v := inputs.get(n)) is not None}

    def places(self) -> list[str]:
        """One reader for each value of the small network that is watched."""
        first: dict[str, str] = {}
        for node, value in self.now.items():
            first.setdefault(value, node)
        return list(first.values())

    def watched(self) -> list[str]:
        """Values of the small network."""
        return [self.now[node] for node in self.places()]

    def teacher(self, device: torch.device) -> Teach:
        """What the original has at the watched places, on the channels that are left."""
        places = self.places()
        module = lower(self.base, *[self.before[node] for node in places]).to(device)
        chosen = [self.indices(node, device) for node in places]

        @torch.no_grad()
        def teach(x: Tensor) -> Sequence[Tensor]:
            made = module(x)
            values = made if isinstance(made, tuple) else (made,)
            return [v if c is None else v.index_select(axis, c) for v, (axis, c) in zip(values, chosen, strict=True)]

        return teach

    def indices(self, node: str, device: torch.device) -> tuple[int, Tensor | None]:
        """Channel axis of what a reader reads, and the indices of the original that are left of it."""
        binding = self.readers[node]
        kept = self.kept.get((binding.initializer, binding.axis))
        axis = -1 if self.base_op(node) == "MatMul" else 1
        return axis, None if kept is None else torch.from_numpy(kept).to(device)

    def base_op(self, node: str) -> str:
        """Op type of a node of the original."""
        return next(n.op_type for n in self.base.graph if n.name == node)
