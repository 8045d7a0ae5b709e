"""Tiny models for tests: ONNX text, weights from a seeded generator, and a runner through onnxruntime."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser

from seam_onnx.model import Model, load, serialized

DATA = Path(__file__).parents[1].parent / "shared" / "data"
"""Real models and images, where this machine has them."""
DIGITS = Path(__file__).parents[1] / "models" / "digits" / "model.onnx"


def parse(text: str, opset: int = 17, ir_version: int = 8, seed: int = 0, **given: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX text of a graph, `(float[N, 3, 8, 8] x) => (float[N, 2] y) <float[4, 3, 3, 3] w> { ... }`.

    What stands in the angle brackets and is made by no node becomes an initializer: as in `given`, or else random
    with the spread that its reader wants.
    """
    model = parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> g {text}')
    made = {name for node in model.graph.node for name in node.output}
    rng = np.random.default_rng(seed)
    for info in [i for i in model.graph.value_info if i.name not in made]:
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        array = given[info.name] if info.name in given else filled(model, info.name, shape, rng)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype).reshape(shape), info.name))
        model.graph.value_info.remove(info)
    return model


def filled(model: onnx.ModelProto, name: str, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    """Random contents by what reads them: BatchNorm's variance is positive, weights keep the signal's size."""
    reader, place = next(((n, list(n.input).index(name)) for n in model.graph.node if name in n.input), (None, 0))
    if reader is not None and reader.op_type == "BatchNormalization" and place in (1, 4):
        return rng.uniform(0.5, 1.5, shape)
    fan = np.prod(shape[1:]) if reader is not None and reader.op_type == "Conv" else shape[0] if shape else 1
    return rng.standard_normal(shape) * (1.4 / np.sqrt(max(fan, 1)) if len(shape) > 1 else 0.5)


def loaded(proto: onnx.ModelProto, **sizes: int) -> Model:
    """The model as `load` gives it for a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return load(path, sizes)


def build(text: str, opset: int = 17, seed: int = 0, **given: np.ndarray) -> Model:
    """`parse`, then `load`."""
    return loaded(parse(text, opset, seed=seed, **given))


def proto_of(model: Model) -> onnx.ModelProto:
    """The model as a protobuf message, as a file holds it."""
    return onnx.ModelProto.FromString(serialized(model))


def feeds(model: Model, batch: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; the batch is used where it is dynamic."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for value in model.graph.inputs:
        dims = list(model.shapes[value])
        if dims and not isinstance(value.shape[0], int):
            dims[0] = batch
        chosen[str(value.name)] = rng.standard_normal(dims).astype(model.shapes.types[str(value.name)].numpy())
    return chosen


def run(model: Model | onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs by onnxruntime on the CPU, one thread."""
    content = serialized(model) if isinstance(model, Model) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # exact where x64 has no VNNI
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    return session.run(None, {name: array for name, array in inputs.items() if name in wanted})


def gap(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the expected values' range (or size, where they are all alike)."""
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if not expected.size:
        return 0.0
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    scale = max(np.ptp(expected), 0.1 * np.abs(expected).max(), 1e-6)
    return float(np.abs(got - expected).max() / scale)
