"""Everything that can go wrong, and the exit code it means.

    SeamError
    ├── UsageError            exit 2: what the caller asked for
    │   ├── LabelError            a wanted label that the model does not have
    │   ├── DataError             images, arrays, preprocessing
    │   └── PathError             a file or folder that cannot be read or written
    ├── GateError             exit 1: the result is not what was demanded; in Python only
    └── ModelError            exit 3: the ONNX file
        ├── NotOnnxError          not an ONNX file, or a truncated one
        ├── BrokenModelError      ONNX, but inconsistent: cycles, missing inputs, NaN weights
        ├── ShapeError            a shape that cannot be known
        ├── UnsupportedOpError    an op that neither this project nor onnx2torch can run
        └── ParityError           a step that should not have changed the outputs did

An error names the object, says why, and says what to do; `str(error)` is one line.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "BrokenModelError",
    "DataError",
    "GateError",
    "LabelError",
    "ModelError",
    "NotOnnxError",
    "ParityError",
    "PathError",
    "SeamError",
    "ShapeError",
    "UnsupportedOpError",
    "UsageError",
]


class SeamError(Exception):
    """Base of all errors that a caller may want to catch.

    Args:
        what: the object concerned (a path, a node, a label).
        why: what is wrong with it.
        do: what the caller can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: object, why: str, do: str) -> None:
        self.what, self.why, self.do = str(what), why, do
        super().__init__(" ".join(f"{what}: {why}; {do}".split()))


class UsageError(SeamError):
    """The request itself cannot be carried out."""

    exit_code = 2


class LabelError(UsageError):
    """A label is unknown, ambiguous or given twice."""


class DataError(UsageError):
    """The images, arrays or preprocessing do not fit the model."""


class PathError(UsageError):
    """A path cannot be read or written."""


class GateError(SeamError):
    """A gate does not hold. Everything has been written.

    Args:
        report: of the run.
        failed: what became of the gates that do not hold.
    """

    def __init__(self, report: Any, failed: Sequence[object]) -> None:
        self.report, self.failed = report, tuple(failed)
        super().__init__("gates", "; ".join(map(str, failed)), "the report has the figures")


class ModelError(SeamError):
    """The model file cannot be worked on."""

    exit_code = 3


class NotOnnxError(ModelError):
    """The file is not ONNX, or is cut off."""


class BrokenModelError(ModelError):
    """The graph contradicts itself or carries values that are not numbers."""


class ShapeError(ModelError):
    """The shape of a value cannot be determined."""


class UnsupportedOpError(ModelError):
    """An op has no lowering to torch."""


class ParityError(ModelError):
    """Two models that should agree do not."""
