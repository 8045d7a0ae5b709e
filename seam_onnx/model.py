"""A model file in memory: loading, checking, saving. The only place that reads or writes ONNX.

The user's file is edited, never re-exported: opset, IR version, names, doc strings, metadata, dynamic batch and the
external-data layout survive. Five traps of onnx_ir 1.1 are handled here: a bare file name skips the checks on
external-data paths (the path is resolved first); hard-linked data files are refused (explained); `Value.shape` goes
stale when `const_value` is set (written together); `enter_graph` callbacks fire twice (not used); failures of shape
inference are swallowed (`shapes` does its own inference and says what stays unknown).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seam_onnx.atomic import check_writable, refuse_source, writing
from seam_onnx.checks import OLDEST_OPSET, check_connected, check_initializers, check_nodes, check_opset, reason
from seam_onnx.errors import BrokenModelError, ModelError, NotOnnxError, PathError
from seam_onnx.fold import fold_constants, unshare_constants
from seam_onnx.ondisk import data_files, is_on_disk, leave_on_disk
from seam_onnx.shapes import Shapes, infer_shapes
from seam_onnx.straighten import straighten

__all__ = ["OLDEST_OPSET", "Model", "check_finite", "load", "save", "serialized"]

logging.getLogger("onnx_ir").addHandler(logging.NullHandler())  # what it warns of is raised as an error here
LARGEST_INLINE = 1_800_000_000
"""Bytes of weights above which a file must use external data (protobuf stops at 2 GiB)."""


@dataclass(frozen=True)
class Model:
    """An ONNX graph with everything about it that can be known without running it."""

    proto: ir.Model
    """The graph. Treat as read-only: `edit()` gives a copy whose tensors are shared."""
    path: Path | None
    """The file that it, or what it was edited from, was read from; None for a model made in memory."""
    sha256: str
    """Of the file as it was read (of its external data only the names count)."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Sizes given for symbolic dimensions, by name."""
    data: frozenset[Path] = frozenset()
    """The files with external data that it, or what it was edited from, was read from."""
    shapes: Shapes = field(init=False, repr=False, compare=False)
    """Concrete shapes (batch 1 where it is dynamic) and the values that do not depend on data."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", infer_shapes(self.proto, self.sizes))

    @property
    def graph(self) -> ir.Graph:
        """The main graph."""
        return self.proto.graph

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.proto.opset_imports[""]

    @property
    def initializers(self) -> Mapping[str, ir.Value]:
        """Initializers by name."""
        return self.graph.initializers

    def edit(self) -> ir.Model:
        """A copy of the graph to change; the tensors are shared, not copied."""
        return self.proto.clone()

    def edited(self, proto: ir.Model) -> "Model":
        """The model that `proto`, an edited copy of this one's graph, makes; shapes are inferred anew."""
        return Model(proto, self.path, self.sha256, self.sizes, self.data)


def load(path: Path | str, sizes: Mapping[str, int] | None = None) -> Model:
    """Read an ONNX file and make it ready for work.

    Model-local functions are inlined, `Constant` nodes and initializers behind Identity become initializers, what
    can be computed from initializers alone is, and nodes get unique names. The file is not changed.

    Args:
        path: a `.onnx` file, opset 7 or newer; external data is read lazily, tensor by tensor.
        sizes: values for symbolic dimensions other than the batch, by name.

    Raises:
        PathError: no such file. NotOnnxError: not ONNX, or cut off. BrokenModelError: inconsistent, or external
        data missing. ModelError: an opset this project does not read. ShapeError: an input of unknown size.
    """
    path = Path(path).absolute()
    try:
        found = path.is_file()
    except (OSError, ValueError) as error:
        raise PathError(path, f"cannot be read ({reason(error)})", "give the path of an ONNX file") from error
    if not found:
        raise PathError(path, "no such file", "give the path of an ONNX file")
    proto = read(path)
    check_opset(proto, path)
    check_initializers(proto, path)
    check_connected(proto, path)
    check_nodes(proto, path)
    data = data_files(proto)
    leave_on_disk(proto)
    normalise(proto, path)
    return Model(proto, path, sha256(path), dict(sizes or {}), data)


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> ir.Model:
    """Parse a file, telling apart what is not ONNX from what contradicts itself."""
    try:
        message = onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise PathError(path, f"cannot be read ({error.strerror or error})", "check the file's permissions") from error
    except Exception as error:
        raise NotOnnxError(path, f"is not an ONNX file, or is cut off ({reason(error)})", "export it again") from error
    if message.graph.sparse_initializer:
        raise ModelError(path, "has sparse initializers, which are not read", "export it with dense ones")
    if message.ir_version == 0 or not message.graph.output or not message.opset_import:
        raise NotOnnxError(path, "holds no ONNX graph", "export it again, or check that the download is complete")
    try:
        proto = ir.from_proto(message)
        ir.external_data.set_base_dir(proto.graph, path.parent)
    except Exception as error:
        raise BrokenModelError(path, f"contradicts itself ({reason(error)})", "check it with onnx.checker") from error
    return proto


def normalise(proto: ir.Model, path: Path) -> None:
    """Bring the graph, in place, into the form that everything above relies on."""
    try:
        if proto.functions:
            passes.InlinePass()(proto)
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(proto)
        passes.RemoveInitializersFromInputsPass()(proto)
        passes.IdentityEliminationPass()(proto)
    except Exception as error:
        raise BrokenModelError(path, f"cannot be normalised ({reason(error)})", "check it with onnx.checker") from error
    fold_constants(proto)
    unshare_constants(proto)
    straighten(proto)
    name_nodes(proto.graph)


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: its old one where it had one and nobody else has it."""
    seen: set[str] = set()
    for node in graph:
        name = node.name or f"{node.op_type}_{node.outputs[0].name}"
        while name in seen:
            name += "_"
        seen.add(name)
        node.name = name


def check_finite(model: Model) -> None:
    """Raise BrokenModelError where a weight is NaN or infinite. Reads every tensor once."""
    for name, array in float_initializers(model):
        if not np.isfinite(array).all():
            raise BrokenModelError(
                f"{model.path}, initializer {name!r}", "holds NaN or infinite values", "retrain or export again"
            )


def float_initializers(model: Model) -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of each initializer of a floating-point type."""
    for name, value in model.initializers.items():
        if value.const_value is not None and value.const_value.dtype.is_floating_point():
            yield name, value.const_value.numpy()


def serialized(model: Model) -> bytes:
    """The model as the bytes of an ONNX file, for models below 2 GiB."""
    content: bytes = ir.to_proto(ir.external_data.load_to_model(saveable(model))).SerializeToString()
    return content


def saveable(model: Model) -> ir.Model:
    """A copy of the graph as its IR version wants it in a file."""
    proto = model.edit()
    if proto.ir_version < 4:  # before IR 4 every initializer had to be an input as well
        passes.AddInitializersToInputsPass()(proto)
    return proto


def save(model: Model, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write a model so that a reader sees either the old file or the whole new one.

    Weights go to `<name>.data` beside the file when they exceed what protobuf holds, or were too many to be held in memory:
    tensor by tensor then, so that the peak is the largest one.

    Raises:
        PathError: the place cannot be written, is an input file, or exists and `overwrite` is False.
    """
    path = Path(path)
    proto = saveable(model)
    tensors = [v.const_value for v in proto.graph.initializers.values() if v.const_value is not None]
    large = sum(tensor.nbytes for tensor in tensors) > LARGEST_INLINE or any(map(is_on_disk, tensors))
    data = path.with_name(f"{path.name}.data")
    for target in (path, data) if large else (path,):
        check_writable(target, overwrite=overwrite)
        refuse_source(target, {*model.data, model.path})
    with writing(path, overwrite=overwrite) as temporary:
        if not large:
            ir.external_data.load_to_model(proto)
        ir.save(proto, temporary, format="protobuf", external_data=data.name if large else None)
    return path
