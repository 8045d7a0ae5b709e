"""One ONNX node as a torch module by onnx2torch, for ops that have no lowering of ours."""

import onnx
import onnx_ir as ir
from onnx2torch.node_converters.registry import get_converter
from onnx2torch.onnx_graph import OnnxGraph
from torch import nn

from seam_onnx.errors import UnsupportedOpError
from seam_onnx.model import Model

__all__ = ["converted"]


def converted(model: Model, node: ir.Node) -> tuple[nn.Module, set[str]]:
    """The node by onnx2torch, with the names of the operands its module takes; tried from the model's opset downwards."""
    constants = [v for v in node.inputs if v is not None and v.const_value is not None]
    graph = OnnxGraph(
        onnx.helper.make_graph(
            [ir.to_proto(node)],
            "node",
            [ir.to_proto(v) for v in node.inputs if v is not None and v.const_value is None and v.type is not None],
            [ir.to_proto(v) for v in node.outputs if v.type is not None],
            [ir.to_proto(v.const_value) for v in constants if v.const_value is not None],
        )
    )
    domain = "" if node.domain == "ai.onnx" else node.domain
    (single,) = graph.nodes.values()
    for version in range(model.proto.opset_imports.get(domain, 1), 0, -1):
        try:
            result = get_converter(node.op_type, version, domain)(single, graph)
        except NotImplementedError:
            continue
        except Exception as error:
            raise UnsupportedOpError(
                f"node {node.name!r}",
                f"onnx2torch cannot convert this {node.op_type} ({error})",
                "add a lowering, see CONTRIBUTING.md",
            ) from error
        return result.torch_module, set(result.onnx_mapping.inputs)
    raise UnsupportedOpError(
        f"node {node.name!r}",
        f"{node.op_type} (opset {model.opset}) cannot be run in torch",
        "add a lowering, see CONTRIBUTING.md",
    )
