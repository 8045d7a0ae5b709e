"""The one table of ops: what each does to channels, to constants, and how torch computes it.

Adding an op is one `@op(...)` entry in the file of its family; the law tests, ONNX's own node vectors, the completeness
test and the generated docs/ops.md pick it up from here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir

from seam_onnx.ops.walk import Array, Walk

__all__ = ["Constants", "Family", "Lower", "OpSpec", "every", "find", "op", "tensors"]

Lower = Callable[..., Any]
"""`lower(torch, node, *inputs)`: the module torch, the node, one tensor (or, for integer constants, numpy array) or
None an input; gives a tensor, or a tuple of them."""


class Constants(Protocol):
    """What the constant rule sees: per value, an array that broadcasts to its shape, NaN = depends on data."""

    @property
    def walk(self) -> Walk:
        """The walk that answers for shapes and known contents."""
        ...

    def get(self, value: ir.Value | None) -> Array:
        """What is known of a value already visited."""
        ...

    def set(self, value: ir.Value, array: Array) -> None:
        """Note what is known of an output."""
        ...


@dataclass(frozen=True)
class Family:
    """What a family of ops shares: how channels pass, and how constants do."""

    name: str
    """One word for docs/ops.md."""
    couple: Callable[[Walk, ir.Node], None]
    """Label rule."""
    zero: Callable[[Constants, ir.Node], None]
    """Constant rule: which outputs are constant, given constant inputs."""
    prunable: str
    """One line for docs/ops.md: what may be removed at such a node."""
    instead: str = ""
    """What to give in place of an op that is never run in torch; empty where onnx2torch may know it."""


@dataclass(frozen=True)
class OpSpec:
    """One op over a range of opsets."""

    name: str
    """ONNX op type."""
    since: int
    """First opset that the entry holds for."""
    until: int
    """Last opset that it holds for."""
    domain: str
    """Operator set domain, '' for ONNX's own."""
    family: Family
    """Label and constant rules."""
    lower: Lower | None
    """How torch computes it; None leaves that to onnx2torch's converter."""
    example: str
    """An ONNX-text node that uses it on activations x (and z) of shape (N, 8, 6, 6): the law tests run it."""


TABLE: dict[tuple[str, str], list[OpSpec]] = {}


def op(
    name: str, family: Family, *, since: int = 1, until: int = 10_000, domain: str = "", example: str = ""
) -> Callable[[Lower], Lower]:
    """Enter the decorated lowering, with its family's rules, into the table."""

    def enter(lower: Lower) -> Lower:
        add(OpSpec(name, since, until, domain, family, lower, example))
        return lower

    return enter


def add(spec: OpSpec) -> None:
    """Enter a spec; ranges of one op must not overlap."""
    entries = TABLE.setdefault((spec.domain, spec.name), [])
    if any(spec.since <= e.until and e.since <= spec.until for e in entries):
        raise ValueError(f"{spec.name}: opsets {spec.since} to {spec.until} are entered twice")
    entries.append(spec)


def find(node: ir.Node, opset: int) -> OpSpec | None:
    """The entry for a node in a model of this opset, None where there is none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    for spec in TABLE.get((domain, node.op_type), ()):
        if domain or spec.since <= opset <= spec.until:
            return spec
    return None


def every() -> Iterator[OpSpec]:
    """All entries, by name."""
    for key in sorted(TABLE):
        yield from TABLE[key]


def tensors(torch: Any, inputs: Any) -> list[Any]:
    """The operands as tensors on one device; integer constants arrive as arrays, and shapes are computed on the CPU."""
    devices = [x.device for x in inputs if isinstance(x, torch.Tensor)]
    device = next((d for d in devices if d.type != "cpu"), None)
    return [torch.as_tensor(x, device=device) for x in inputs]
