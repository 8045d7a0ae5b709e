"""Which elements of which weights SeaM masks: the totals of the five published networks."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import build
from onnx import TensorProto, helper
from toys import DEEP

from seam_onnx.model import Model, load
from seam_onnx.search import (
    mask_elements,
)
from seam_onnx.surgery.logits import add_seam_head


class Architecture:
    """A network by its shapes alone: its weights lie in a file of zeros that takes no room."""

    def __init__(self, size: int) -> None:
        self.size, self.nodes, self.shapes = size, [], {}

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.shapes)}"
        self.shapes[name] = shape
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(self, x: str, come: int, go: int, kernel: int, stride: int = 1, bias: bool = False) -> str:
        """A convolution with its BatchNormalization."""
        weights = [self.weight(go, come, kernel, kernel), *([self.weight(go)] if bias else [])]
        y = self.add("Conv", x, *weights, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)
        return self.add("BatchNormalization", y, *(self.weight(go) for _ in range(4)))

    def linear(self, x: str, come: int, go: int) -> str:
        return self.add("Gemm", x, self.weight(go, come), self.weight(go), transB=1)

    def model(self, output: str, classes: int, folder: Path) -> Model:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, self.size, self.size])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self.nodes, "g", [x], [y], [self.stored(name) for name in self.shapes])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with (folder / "zeros").open("wb") as file:
            file.truncate(4 * max(int(np.prod(s)) for s in self.shapes.values()))
        (folder / "model.onnx").write_bytes(proto.SerializeToString())
        return load(folder / "model.onnx")

    def stored(self, name: str) -> onnx.TensorProto:
        tensor = TensorProto(name=name, dims=self.shapes[name], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "zeros"), ("offset", 0), ("length", 4 * int(np.prod(tensor.dims)))):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def vgg16(classes: int, folder: Path) -> Model:
    net, x, come = Architecture(32), "x", 3
    for go in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if go:
            x, come = net.add("Relu", net.conv(x, come, go, 3, bias=True)), go
        else:
            x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", x)
    for _ in range(2):
        x = net.add("Relu", net.linear(x, 512, 512))
    return net.model(net.linear(x, 512, classes), classes, folder)


def resnet20(classes: int, folder: Path) -> Model:
    net = Architecture(32)
    x, come = net.add("Relu", net.conv("x", 3, 16, 3)), 16
    for go, stride in ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)):
        y = net.conv(net.add("Relu", net.conv(x, come, go, 3, stride)), go, go, 3)
        shortcut = x if come == go else net.conv(x, come, go, 1, stride)
        x, come = net.add("Relu", net.add("Add", y, shortcut)), go
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.linear(x, 64, classes), classes, folder)


def resnet50(classes: int, folder: Path) -> Model:
    net = Architecture(64)
    x = net.add("Relu", net.conv("x", 3, 64, 7, 2))
    x, come = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(depth):
            stride = 2 if block == 0 and width > 64 else 1
            y = net.add("Relu", net.conv(x, come, width, 1))
            y = net.conv(net.add("Relu", net.conv(y, width, width, 3, stride)), width, 4 * width, 1)
            shortcut = x if block else net.conv(x, come, 4 * width, 1, stride)
            x, come = net.add("Relu", net.add("Add", y, shortcut)), 4 * width
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.linear(x, 2048, classes), classes, folder)


@pytest.mark.parametrize(
    ("make", "classes", "total"),
    [
        (vgg16, 10, 15_245_130),
        (vgg16, 100, 15_291_300),
        (resnet20, 10, 270_906),
        (resnet20, 100, 276_756),
        (resnet50, 1000, 25_503_912),
    ],
)
def test_mask_elements_are_seams(make, classes, total, tmp_path):
    model = make(classes, tmp_path)
    assert sum(mask_elements(model).values()) == total


def test_the_head_and_the_shift_of_a_folded_normalisation_have_no_mask():
    model = build(DEEP)
    assert set(mask_elements(model)) == {"w1", "w2", "w3", "g", "h"}  # b1, b3: a normalisation may be folded there
    assert mask_elements(add_seam_head(model, 2)) == mask_elements(model)
