"""Train the shipped digits model and write every file beside this script except the card.

    python models/digits/train.py

It needs scikit-learn (the `digits` extra) and takes less than half a minute on one core. The same versions
on the same kind of machine give the same files; where a run prints another accuracy, the card has to follow.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HERE = Path(__file__).parent
LABELS = [str(digit) for digit in range(10)]
SEED = 0
SCALE = 1 / 255


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without a bias, padded to keep the size at stride 1, then batch normalization."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


class Basic(nn.Module):
    """ResNet's basic block; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the batch; change channels and size as the block was made to."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class Inverted(nn.Module):
    """MobileNetV2's inverted residual: expand, depthwise, project, add."""

    def __init__(self, channels: int, wide: int):
        super().__init__()
        self.expand = conv_bn(channels, wide, 1)
        self.depthwise = conv_bn(wide, wide, 3, groups=wide)
        self.project = conv_bn(wide, channels, 1)
        self.clip = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.project(self.clip(self.depthwise(self.clip(self.expand(x)))))


class DigitsNet(nn.Module):
    """Stem, two basic blocks, one inverted residual, global average pool, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(1, 32, 3)
        self.block1 = Basic(32, 32)
        self.block2 = Basic(32, 48, stride=2)
        self.block3 = Inverted(48, 96)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(48, len(LABELS))

    def forward(self, image: Tensor) -> Tensor:
        """Images (N, 1, 8, 8), already normalized, to logits (N, 10)."""
        x = self.block3(self.block2(self.block1(torch.relu(self.stem(image)))))
        return self.head(torch.flatten(self.pool(x), 1))


def load_images() -> dict[str, np.ndarray]:
    """Digits as uint8 images (N, 8, 8, 1), a quarter of each class set aside for the test."""
    digits = load_digits()
    x = (digits.images.astype(np.int64) * 255 // 16).astype(np.uint8)[..., None]
    y = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=SEED)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {**arrays, "names": np.array(LABELS)}


def measure_preprocessing(images: np.ndarray) -> dict[str, Any]:
    """What turns a stored image into the model's input: `(x * scale - mean) / std`."""
    pixels = images * SCALE
    return {
        "size": list(images.shape[1:3]),
        "scale": SCALE,
        "mean": [round(float(pixels.mean()), 4)],
        "std": [round(float(pixels.std()), 4)],
        "layout": "nchw",
        "channels": "gray",
        "augment": ["crop"],
    }


def normalize(images: np.ndarray, preprocess: dict[str, Any]) -> np.ndarray:
    """Images uint8 (N, H, W, 1) to float32 (N, 1, H, W)."""
    x = (images * preprocess["scale"] - preprocess["mean"]) / preprocess["std"]
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def shift(x: Tensor, background: float) -> Tensor:
    """Move each image by -1, 0 or 1 pixel along both axes."""
    windows = nn.functional.pad(x, (1, 1, 1, 1), value=background).unfold(2, 8, 1).unfold(3, 8, 1)
    dy, dx = torch.randint(3, (2, len(x)))
    return windows[torch.arange(len(x)), :, dy, dx]


def train(x: Tensor, y: Tensor, background: float, epochs: int = 40, batch: int = 64) -> DigitsNet:
    """Train a new model with AdamW, one warm-up and cosine cycle, label smoothing and random shifts."""
    torch.manual_seed(SEED)
    model = DigitsNet().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps, pct_start=0.1)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch)[: len(x) // batch]:
            loss = loss_of(model(shift(x[rows], background)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: DigitsNet, path: Path) -> None:
    """Write ONNX that keeps BatchNormalization nodes, readable weight names and a free batch size."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        str(path),
        dynamo=False,
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {"names": json.dumps(LABELS)})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def main() -> None:
    """Train, write the files, and measure the written model on the written test images."""
    torch.set_num_threads(1)
    data = load_images()
    preprocess = measure_preprocessing(data["x_train"])
    np.savez_compressed(HERE / "data.npz", **data)
    (HERE / "preprocess.json").write_text(json.dumps(preprocess) + "\n")
    (HERE / "labels.json").write_text(json.dumps(LABELS) + "\n")

    blank = normalize(np.zeros((1, 8, 8, 1), np.uint8), preprocess)
    start = time.perf_counter()
    x_train = torch.from_numpy(normalize(data["x_train"], preprocess))
    model = train(x_train, torch.from_numpy(data["y_train"]), float(blank[0, 0, 0, 0]))
    print(f"trained in {time.perf_counter() - start:.0f} s")
    export(model, HERE / "model.onnx")

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    saved = np.load(HERE / "data.npz")
    images = normalize(saved["x_test"], preprocess)
    (logits,) = session.run(None, {"image": images})
    with torch.no_grad():
        difference = float(np.abs(model(torch.from_numpy(images)).numpy() - logits).max())
    if difference >= 1e-4:
        raise SystemExit(f"onnxruntime differs from torch by {difference:.1e}")
    right, total = int((logits.argmax(1) == saved["y_test"]).sum()), len(images)
    print(f"onnxruntime differs from torch by {difference:.1e}")
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")
    print(f"test accuracy: {right}/{total} ({right / total:.2%})")


if __name__ == "__main__":
    main()
