"""What a file must satisfy before any work starts: its opset, its weights' data, and that every value is made once.

What does not is refused with the object, the reason and a remedy, so that nothing further in has to look again.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from seam_onnx.errors import BrokenModelError, ModelError

__all__ = ["OLDEST_OPSET", "check_connected", "check_initializers", "check_nodes", "check_opset", "reason"]

OLDEST_OPSET = 7
DEFAULT_DOMAINS = ("", "ai.onnx")


def reason(error: BaseException) -> str:
    """The first line of what an error was raised for in the end, or its type where it says nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def check_opset(proto: ir.Model, path: Path) -> None:
    """Refuse opsets older than 7 or newer than the installed onnx; the default domain is written '' afterwards."""
    newest = onnx.defs.onnx_opset_version()
    opset = next((proto.opset_imports[d] for d in DEFAULT_DOMAINS if d in proto.opset_imports), None)
    if opset is None or not OLDEST_OPSET <= opset <= newest:
        shown = "no opset of ONNX's own operators" if opset is None else f"opset {opset}"
        raise ModelError(
            path, f"uses {shown}, this tool reads {OLDEST_OPSET} to {newest}", "convert it with onnx.version_converter"
        )
    proto.opset_imports.pop("ai.onnx", None)
    proto.opset_imports[""] = opset


def check_initializers(proto: ir.Model, path: Path) -> None:
    """Refuse weights without data, or with less than their shape needs, in the file or beside it."""
    for graph in proto.graphs():
        for name, value in graph.initializers.items():
            tensor, what = value.const_value, f"{path}, initializer {name!r}"
            if tensor is None:
                raise BrokenModelError(what, "has no data", "export the model again")
            if isinstance(tensor, ir.ExternalTensor):
                check_external(tensor, name, path)
            elif isinstance(tensor, ir.serde.TensorProtoTensor) and not complete(tensor):
                raise BrokenModelError(
                    what, "holds fewer or more numbers than its shape says", "export the model again"
                )


def complete(tensor: ir.serde.TensorProtoTensor) -> bool:
    """Does a tensor stored as raw bytes have as many as its shape needs?"""
    return not tensor.raw.HasField("raw_data") or len(tensor.raw.raw_data) == tensor.nbytes


def check_external(tensor: ir.ExternalTensor, name: str, path: Path) -> None:
    """Refuse external data that is missing, too short, a hard link, or outside the model's folder."""
    file = Path(tensor.path)
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise BrokenModelError(
            file,
            f"external data of {path.name} lies outside its folder, which onnx refuses to read",
            "copy it beside the model",
        )
    if not file.is_file():
        raise BrokenModelError(file, f"external data of {path.name} is missing", "put it beside the model")
    if file.stat().st_size < (tensor.offset or 0) + tensor.nbytes:
        raise BrokenModelError(file, f"external data is cut off at tensor {name!r}", "copy the file again")
    if file.stat().st_nlink > 1:
        raise BrokenModelError(
            file, "external data is a hard link, which onnx refuses to read", "copy the file instead"
        )


def check_connected(proto: ir.Model, path: Path) -> None:
    """Refuse graphs in which a value is made twice or by nothing, or which have a cycle; then sort the nodes."""
    graph = proto.graph
    inputs = Counter(v.name for v in graph.inputs)
    made = inputs + Counter(o.name for node in graph for o in node.outputs if o.name)
    made += Counter(name for name in graph.initializers if name not in inputs)  # before IR 4 an input too
    if repeated := sorted(str(name) for name, count in made.items() if count > 1):
        raise BrokenModelError(f"{path}, value {repeated[0]!r}", "is made twice", "export the model again")
    for node in graph:
        for value in node.inputs:
            if value is not None and value.name not in made:
                raise BrokenModelError(
                    f"{path}, node {node.name!r} ({node.op_type})",
                    f"reads {value.name!r}, which nothing makes",
                    "export it again",
                )
    for value in graph.outputs:
        if value.name not in made:
            raise BrokenModelError(f"{path}, output {value.name!r}", "is made by no node", "export the model again")
    try:
        graph.sort()
    except ValueError as error:
        raise BrokenModelError(path, f"the graph has a cycle ({reason(error)})", "export the model again") from error


def check_nodes(proto: ir.Model, path: Path) -> None:
    """Refuse nodes of ONNX's own ops without an operand or attribute that they need, or with one of another type."""
    opset, newest = proto.opset_imports[""], onnx.defs.onnx_opset_version()
    for node in proto.graph:
        known = next((k for k in (opset, newest) if onnx.defs.has(node.op_type, k)), None)
        if node.domain in DEFAULT_DOMAINS and known is not None:
            fault = fault_of(node, onnx.defs.get_schema(node.op_type, known, ""))
            if fault is not None:
                what = f"{path}, node {node.name!r} ({node.op_type})"
                raise BrokenModelError(what, fault, "check it with onnx.checker")


def fault_of(node: ir.Node, schema: Any) -> str | None:
    """What a node lacks by its op's schema, None where it lacks nothing."""
    needed = [p for p in schema.inputs if p.option == onnx.defs.OpSchema.FormalParameterOption.Single]
    given = [*node.inputs, *[None] * len(needed)]
    if absent := [p.name for p, value in zip(needed, given, strict=False) if value is None]:
        return f"has no operand {absent[0]!r}"
    if not len(node.inputs) <= schema.max_input or not len(node.outputs) <= schema.max_output:
        return "has more operands or outputs than the op"
    if not any(value.name for value in node.outputs):
        return "has no output"
    for name, parameter in schema.attributes.items():
        attribute = node.attributes.get(name)
        if attribute is None and parameter.required:
            return f"has no attribute {name!r}"
        if attribute is not None and not attribute.is_ref() and attribute.type.value != parameter.type.value:
            return f"attribute {name!r} is of type {attribute.type.name.lower()}"
    return None
