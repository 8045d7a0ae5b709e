"""What a model consists of, as far as pruning is concerned. Reads no weights."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.blockers import Blocker
from seam_onnx.channels import Channels, Cost, analyze
from seam_onnx.labels import names_from_metadata
from seam_onnx.model import Model
from seam_onnx.ops import Labels
from seam_onnx.provenance import provenance
from seam_onnx.quantized import stored

__all__ = ["GroupCost", "Inspection", "LayerCost", "cost_of", "inspect_model"]


@dataclass(frozen=True)
class GroupCost:
    """A group of channels and what it costs."""

    name: str
    """First node that makes them, with a number behind it where it makes several groups."""
    channels: int
    """How many."""
    axes: tuple[str, ...]
    """Initializer axes that carry them, `name[axis]`."""
    macs: float
    """Saved when all of them go."""
    params: float
    """Saved when all of them go."""


@dataclass(frozen=True)
class LayerCost:
    """A node that has weights or multiplies activations."""

    node: str
    """Name."""
    op: str
    """Op type."""
    shape: tuple[int, ...]
    """Of its output at batch 1, empty where it is unknown."""
    macs: float
    """At batch 1."""
    params: int
    """Elements of the weights that it is the first to read."""
    groups: dict[str, int]
    """How many channels of each group its output has."""
    pinned: int
    """How many channels of its output nothing can remove."""


@dataclass(frozen=True)
class Inspection:
    """What `seam-onnx inspect` shows."""

    opset: int
    ir_version: int
    producer: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    labels: tuple[str, ...]
    nodes: int
    macs: float
    params: float
    layers: tuple[LayerCost, ...]
    groups: tuple[GroupCost, ...]
    blockers: tuple[Blocker, ...]
    provenance: dict[str, str]
    """Of a pruned model, what it says of where it came from."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return dataclasses.asdict(self)


def inspect_model(model: Model) -> Inspection:
    """Analyze a model. Cost: about a millisecond a node."""
    channels = analyze(model)
    whole = channels.cost(channels.everything())
    graph, groups = model.graph, group_costs(channels)
    producer = f"{model.proto.producer_name or ''} {model.proto.producer_version or ''}".strip()
    return Inspection(
        model.opset, model.proto.ir_version, producer,
        {str(v.name): described(v) for v in graph.inputs}, {str(v.name): described(v) for v in graph.outputs},
        names_from_metadata(model.proto.metadata_props) or (), graph.num_nodes(), whole.macs, whole.params,
        layers(model, channels, [group.name for group in groups]), groups, channels.blockers,
        provenance(model),
    )  # fmt: skip


def cost_of(model: Model) -> Cost:
    """MACs and parameters of a model."""
    channels = analyze(model)
    return channels.cost(channels.everything())


def described(value: ir.Value) -> str:
    """Type and shape of a graph input or output."""
    return f"{value.dtype.name.lower() if value.dtype else 'unknown'} {value.shape or ''}".strip()


def layers(model: Model, channels: Channels, names: Sequence[str]) -> tuple[LayerCost, ...]:
    """Every node that contracts or reads weights, in graph order; single numbers are not counted."""
    macs: dict[str, float] = defaultdict(float)
    for w in channels.works:
        macs[w.node] += w.unit * float(np.prod([len(a) for a in w.axes]))
    counted: set[str] = set()
    found = []
    for node in model.graph:
        read = [str(form.tensor.name if (form := stored(v)) else v.name) for v in node.inputs if v is not None]
        weights = {name for name in read if np.prod(channels.elements.get(name, ())) > 1} - counted
        counted |= weights
        if weights or macs[str(node.name)]:
            params = sum(int(np.prod(channels.elements[name])) for name in weights)
            shape = model.shapes.dims.get(str(node.outputs[0].name), ())
            made = produced(node, channels)
            parts = {names[k]: int((made == k).sum()) for k in np.unique(made) if k >= 0}
            pinned = int((made < 0).sum())
            cost = macs[str(node.name)]
            found.append(LayerCost(str(node.name), node.op_type, shape, cost, params, parts, pinned))
    return tuple(found)


def produced(node: ir.Node, channels: Channels) -> Labels:
    """For each channel of a node's output the position of its group, -1 where it is pinned."""
    labels = channels.labels.get(str(node.outputs[0].name))
    if labels is None or labels.size < 2:
        labels = channels.made.get((str(node.name), ""), np.zeros(0, np.int64))
    return channels.member[labels.reshape(-1)]


def group_costs(channels: Channels) -> tuple[GroupCost, ...]:
    """Every group with what its removal would save."""
    seen: Counter[str] = Counter()
    found = []
    for group, saved in zip(channels.groups, channels.savings(), strict=True):
        seen[group.name] += 1
        name = group.name if seen[group.name] == 1 else f"{group.name} ({seen[group.name]})"
        axes = tuple(f"{axis.initializer}[{axis.dim}]" for axis in group.axes)
        found.append(GroupCost(name, len(group.channels), axes, saved.macs, saved.params))
    return tuple(found)
