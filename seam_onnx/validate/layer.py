"""One layer on its own: its sizes as plain data, and how long a call of it takes inside a network.

    ms = layer_ms(Layer("Conv", (1, 16, 32, 32), (16, 16, 3, 3), {"pads": (1, 1, 1, 1)}))

A session around a single layer would mostly measure the session, and the change of memory layout that onnxruntime makes
before and after a convolution. So two models are timed in turns, in which one and `COPIES` layers with different weights
read the same input and are summed: what one more layer adds is its time. onnxruntime makes the sum a part of the
convolution, as in a residual network, and only the last output leaves the layout that convolutions like.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from seam_onnx.errors import DataError, ModelError
from seam_onnx.validate.providers import Provider
from seam_onnx.validate.session import open_session
from seam_onnx.validate.timing import prepare_call, take_turns, warm_up

__all__ = ["Layer", "layer_model", "layer_ms"]

COPIES: Final = 3
"""Layers in the larger model."""
ROUNDS: Final = 11
"""Samples of either model; the median counts."""


@dataclass(frozen=True)
class Layer:
    """A layer with a weight, down to what its speed depends on."""

    op: str
    """`Conv`, `Gemm` or `MatMul`."""
    x: tuple[int, ...]
    """Shape of the input, batch first."""
    weight: tuple[int, ...]
    """Shape of the weight."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the node."""
    dtype: str = "float32"
    """Of input and weight."""

    @property
    def key(self) -> str:
        """The same text for the same layer."""
        said = ",".join(f"{name}={value}" for name, value in sorted(self.attributes.items()))
        x, weight = ("x".join(map(str, shape)) for shape in (self.x, self.weight))
        return f"{self.op} {x} {weight} {self.dtype} {said}".strip()


def layer_ms(layer: Layer, provider: Provider = "cpu", threads: int = 1) -> float | None:
    """Median milliseconds of a layer; None where onnxruntime does not run it. About 20 ms for a small one.

    Args:
        layer: with its batch.
        provider: as for `open_session`.
        threads: as for `open_session`.
    """
    x = np.random.default_rng(0).standard_normal(layer.x).astype(layer.dtype)
    try:
        sessions = {copies: open_session(layer_model(layer, copies), provider, threads) for copies in (1, COPIES)}
        calls = {str(copies): prepare_call(session, x) for copies, session in sessions.items()}
    except (ModelError, DataError):
        return None
    loops = {name: warm_up(call).loops for name, call in calls.items()}
    taken = take_turns(calls, loops, ROUNDS, np.random.default_rng(0), lambda done: None)
    one, more = (float(np.median(taken[str(copies)])) for copies in (1, COPIES))
    return max(0.0, (more - one) / (COPIES - 1))


def layer_model(layer: Layer, copies: int) -> bytes:
    """An ONNX file with this many of a layer side by side on one input, with random weights; their outputs are summed."""
    import onnx  # here, so that peak_memory's process does without it
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(layer.dtype))
    rng, nodes, weights = np.random.default_rng(0), [], []
    scale = math.prod(layer.weight[1:]) ** -0.5
    for copy in range(copies):
        array: Any = scale * rng.standard_normal(layer.weight)
        weights.append(numpy_helper.from_array(array.astype(layer.dtype), f"w{copy}"))
        nodes.append(helper.make_node(layer.op, ["x", f"w{copy}"], [f"y{copy}"], **layer.attributes))
        if copy:
            nodes.append(helper.make_node("Add", [f"s{copy - 1}" if copy > 1 else "y0", f"y{copy}"], [f"s{copy}"]))
    outputs = [helper.make_tensor_value_info(str(nodes[-1].output[0]), kind, None)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, layer.x)], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return content
