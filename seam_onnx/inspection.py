"""What a model consists of, as far as pruning is concerned. Reads no weights."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from seam_onnx.blockers import Blocker
from seam_onnx.channels import Channels, Cost, analyze
from seam_onnx.labels import names_from_metadata
from seam_onnx.model import Model
from seam_onnx.provenance import provenance

__all__ = ["GroupCost", "Inspection", "LayerCost", "cost_of", "inspect_model"]


@dataclass(frozen=True)
class GroupCost:
    """A group of channels and what it costs."""

    name: str
    """First node that makes them."""
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
    """One contraction."""

    node: str
    """Name."""
    op: str
    """Op type."""
    macs: float
    """At batch 1."""
    params: int
    """Elements of the initializers it reads."""


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
    graph = model.graph
    producer = f"{model.proto.producer_name or ''} {model.proto.producer_version or ''}".strip()
    return Inspection(
        model.opset, model.proto.ir_version, producer,
        {str(v.name): described(v) for v in graph.inputs}, {str(v.name): described(v) for v in graph.outputs},
        names_from_metadata(model.proto.metadata_props) or (), graph.num_nodes(), whole.macs, whole.params,
        layers(model, channels), group_costs(channels, whole), channels.blockers,
        provenance(model),
    )  # fmt: skip


def cost_of(model: Model) -> Cost:
    """MACs and parameters of a model."""
    channels = analyze(model)
    return channels.cost(channels.everything())


def described(value: ir.Value) -> str:
    """Type and shape of a graph input or output."""
    return f"{value.dtype.name.lower() if value.dtype else 'unknown'} {value.shape or ''}".strip()


def layers(model: Model, channels: Channels) -> tuple[LayerCost, ...]:
    """Every node that contracts, in graph order."""
    nodes = {str(node.name): node for node in model.graph}
    return tuple(
        LayerCost(
            w.node,
            nodes[w.node].op_type,
            w.unit * float(np.prod([len(a) for a in w.axes])),
            weights(nodes[w.node]),
        )
        for w in channels.works
    )


def weights(node: ir.Node) -> int:
    """Elements of the initializers that a node reads."""
    return sum(v.const_value.size for v in node.inputs if v is not None and v.const_value is not None)


def group_costs(channels: Channels, whole: Cost) -> tuple[GroupCost, ...]:
    """Every group with what its removal would save."""
    found = []
    for group in channels.groups:
        rest = channels.cost(channels.without(group.channels))
        axes = tuple(f"{axis.initializer}[{axis.dim}]" for axis in group.axes)
        found.append(
            GroupCost(group.name, len(group.channels), axes, whole.macs - rest.macs, whole.params - rest.params)
        )
    return tuple(found)
