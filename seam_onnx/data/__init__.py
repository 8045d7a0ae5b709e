"""Data sets and preprocessing: from a path on disk to arrays in the model's own layout and classes."""

from seam_onnx.data.dataset import Dataset, Splits
from seam_onnx.data.preprocess import Preprocess
from seam_onnx.data.raw import RawPart, RawSplits
from seam_onnx.data.read import read
from seam_onnx.data.resolve import PreprocessFlags, beside, resolve
from seam_onnx.data.splits import load_splits

__all__ = [
    "Dataset",
    "Preprocess",
    "PreprocessFlags",
    "RawPart",
    "RawSplits",
    "Splits",
    "beside",
    "load_splits",
    "read",
    "resolve",
]
