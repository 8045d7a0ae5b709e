"""A small network that the loading tests write to files in many forms."""

from pathlib import Path

import onnx
from laws import dropped, pruned

from seam_onnx.channels import analyze
from seam_onnx.model import Model
from seam_onnx.surgery import channel_masks

NET = """(float[N, 3, 8, 8] x) => (float[N, 5] y) <float[8, 3, 3, 3] w, float[8] b, float[8, 5] g, float[5] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu (a)
  p = GlobalAveragePool (r)
  f = Flatten (p)
  y = Gemm (f, g, h) }"""
"""x (N, 3, 8, 8) -> Conv (N, 8, 8, 8) -> Relu -> mean (N, 8, 1, 1) -> (N, 8) -> Gemm (N, 5)"""


def written(proto: onnx.ModelProto, folder: Path, **how: object) -> Path:
    """A file with this content."""
    path = folder / "model.onnx"
    onnx.save(proto, path, **how)
    return path


def halved(model: Model) -> Model:
    """The model after half of its channels are gone."""
    channels = analyze(model)
    return pruned(model, channel_masks(model, channels, channels.without(dropped(channels, "0.5", 0))))[1]
