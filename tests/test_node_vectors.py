"""ONNX's own node vectors: every case of an op of the table, in float32 or integers, passes through `lower`.

Left out are, by rule: element types that a float32 network does not have, training mode, what is computed about data
rather than from it (the indices of MaxPool), and empty tensors. What the lowering refuses by name is not wrong. An
integer operand other than the first becomes an initializer, as it is in files.
"""

import warnings
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from graphs import loaded
from onnx import TensorProto, numpy_helper

from seam_onnx.errors import UnsupportedOpError
from seam_onnx.lowering import lower
from seam_onnx.ops import every, find

PLAIN = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, 0)
NAMES = sorted({spec.name for spec in every() if spec.lower is not None})


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    """Cases of one node by op type."""
    from onnx.backend.test.loader import load_model_tests

    found = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in load_model_tests(kind="node"):
            if case.model is not None and len(case.model.graph.node) == 1:
                found[case.model.graph.node[0].op_type].append(case)
    return found


def unclaimed(case: Any) -> str | None:
    """Why a case is none of ours, None where it is."""
    model, node = case.model, case.model.graph.node[0]
    types = [value.type for value in (*model.graph.input, *model.graph.output)]
    opset = next(o.version for o in model.opset_import if o.domain == node.domain)
    if any(not t.HasField("tensor_type") for t in types):
        return "sequences and optionals"
    if any(t.tensor_type.elem_type not in PLAIN for t in types):
        return "an element type that float32 networks do not have"
    if opset < 7:
        return "an opset before 7"
    if any(array.size == 0 for arrays in case.data_sets[0] for array in map(np.asarray, arrays)):
        return "empty tensors"
    if training(node, case):
        return "training mode"
    if node.op_type == "Resize" and case.name.endswith("scales_linear_align_corners"):
        return "onnxruntime aligns corners of whole elements, the reference of fractions"
    return None


def training(node: onnx.NodeProto, case: Any) -> bool:
    """Does the node behave as in training (an attribute of BatchNormalization, an operand of Dropout)?"""
    mode = any(a.name == "training_mode" and a.i for a in node.attribute)
    return mode or (node.op_type == "Dropout" and len(node.input) > 2 and bool(np.asarray(case.data_sets[0][0][-1])))


def with_constants(case: Any) -> tuple[onnx.ModelProto, list[np.ndarray]]:
    """The case's model with integer operands other than the first as initializers, and the inputs left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    fed = []
    for info, data in zip(case.model.graph.input, case.data_sets[0][0], strict=True):
        array = np.asarray(data)
        if array.dtype.kind == "f" or info.name == model.graph.node[0].input[0]:
            fed.append(array)
        else:
            model.graph.initializer.append(numpy_helper.from_array(array, info.name))
            model.graph.input.remove(next(i for i in model.graph.input if i.name == info.name))
    return model, fed


def check(case: Any) -> None:
    """Every output but a second one of MaxPool, within the case's tolerance."""
    proto, fed = with_constants(case)
    model = loaded(proto)
    outputs = list(zip(case.model.graph.output, case.data_sets[0][1], strict=True))
    for info, expected in outputs[: 1 if proto.graph.node[0].op_type == "MaxPool" else None]:
        with torch.no_grad():
            got = lower(model, info.name)(*[torch.from_numpy(np.array(a)) for a in fed]).numpy()
        np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=max(case.atol, 1e-6))
        assert got.shape == np.shape(expected)


@pytest.mark.parametrize("name", NAMES)
def test_vectors(name, cases):
    left_out: Counter[str | None] = Counter(map(unclaimed, cases[name]))
    ours = [case for case in cases[name] if unclaimed(case) is None and claims(case)]
    failures = {}
    for case in ours:
        try:
            check(case)
        except UnsupportedOpError:  # refused by name
            left_out["refused"] += 1
        except Exception as error:  # all failures of an op are shown at once
            failures[case.name] = f"{type(error).__name__}: {str(error).strip()[:300]}"
    assert not failures, "\n".join(f"{name}: {text}" for name, text in failures.items())
    if left_out["refused"] == len(ours):
        pytest.skip(f"no case is ours: {dict(left_out)}")


def claims(case: Any) -> bool:
    """Does the table have an entry for this node at this opset?"""
    model = loaded(with_constants(case)[0])
    return find(next(iter(model.graph)), model.opset) is not None
