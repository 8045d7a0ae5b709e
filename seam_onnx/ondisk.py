"""Weights too large to be held: mapped from their file, or computed, anew whenever they are read.

A model with much external data is never in memory as a whole. Each reading maps the file and lets go of it with the last
array; what is derived from such a weight (a slice of it, a transposition) is computed at each reading, so that saving
goes from the old file to the new one tensor by tensor. Smaller models are read as onnx_ir does it.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["Deferred", "Mapped", "data_files", "deferred", "is_on_disk", "leave_on_disk", "waits"]

HELD = 256 << 20
"""Bytes of external data up to which a model is read as onnx_ir does it."""
SMALL = 1 << 16
"""Bytes up to which what is computed from a large model is held."""


class Mapped(ir.ExternalTensor):
    """External data that is let go after each reading; onnx_ir's own keeps every file mapped that was ever read."""

    def numpy(self) -> np.ndarray:
        """The contents, mapped from the file."""
        array: np.ndarray = self.anew().numpy()
        return array

    def __array__(self, dtype: Any = None) -> np.ndarray:
        return self.numpy().__array__(dtype)

    def tobytes(self) -> bytes:
        """The contents as they are in the file."""
        content: bytes = self.anew().tobytes()
        return content

    def anew(self) -> ir.ExternalTensor:
        """The same tensor, not yet read; the array that it gives keeps the file mapped, not the tensor."""
        return ir.ExternalTensor(
            self.location, self.offset, self.length, self.dtype,
            shape=self.shape, name=str(self.name), base_dir=self.base_dir,
        )  # fmt: skip


class Deferred(ir.LazyTensor):
    """A tensor that is computed from others, on disk, at each reading."""


def is_on_disk(tensor: ir.TensorProtocol | None) -> bool:
    """Does a tensor take no memory until it is read?"""
    return isinstance(tensor, Mapped | Deferred)


def leave_on_disk(proto: ir.Model) -> None:
    """Let the external weights of a model that has more than `HELD` bytes of them stay where they are, in place."""
    values = [v for graph in proto.graphs() for v in graph.initializers.values()]
    outside = [(v, v.const_value) for v in values if isinstance(v.const_value, ir.ExternalTensor)]
    if sum(tensor.nbytes for _, tensor in outside) > HELD:
        for value, tensor in outside:
            value.const_value = Mapped(
                tensor.location, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=str(tensor.name),
                doc_string=tensor.doc_string, metadata_props=dict(tensor.metadata_props), base_dir=tensor.base_dir,
            )  # fmt: skip


def data_files(proto: ir.Model) -> frozenset[Path]:
    """The files that hold a model's external data."""
    tensors = [v.const_value for graph in proto.graphs() for v in graph.initializers.values()]
    return frozenset(Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def waits(sources: Iterable[ir.TensorProtocol | None], nbytes: int) -> bool:
    """Should a tensor of so many bytes, computed from these, be computed when it is read? Small ones are held."""
    return nbytes > SMALL and any(map(is_on_disk, sources))


def deferred(
    name: str, shape: Sequence[int], dtype: ir.DataType, compute: Callable[[], np.ndarray]
) -> ir.TensorProtocol:
    """A tensor that is computed at each reading.

    Args:
        name: of the tensor.
        shape: of the array that `compute` returns.
        dtype: the stored type.
        compute: depends on the contents of other tensors alone.
    """

    def made() -> ir.TensorProtocol:
        return ir.tensor(np.asarray(compute(), order="C"), dtype=dtype, name=name)

    return Deferred(made, dtype, ir.Shape(shape), name=name)
