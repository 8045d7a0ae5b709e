"""What a search found, as it is stored: enough to make the pruned model again from the original, without data or torch.

A file is safetensors. Its tensors, for solution number k (0, 1, ...):

    k/mask/p/NAME     bool, True = keep, broadcasts to initializer NAME; the parts p = 0, 1, ... are multiplied
    k/kept/NAME       bool, the channels that node NAME combines
    k/value/NAME      float, what initializer NAME of the pruned model holds after training

Its metadata are one JSON text under the key `seam-onnx`: the format, a digest over all tensors and everything else in the
text, and a list with the rest of each solution. docs/masks.md says the same to people.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from seam_onnx.errors import LabelError, PathError, UsageError
from seam_onnx.labels import Wanted
from seam_onnx.masks import Mask, MaskSet, factors

__all__ = ["FORMAT", "Solution", "Values", "encoded", "masks_beside", "read_solutions"]

FORMAT = "seam-onnx masks 4"
"""What this version writes and reads."""
KEY = "seam-onnx"
"""Of the metadata."""
Values = Mapping[str, NDArray[np.floating[Any]]]
"""Contents by initializer name."""


@dataclass(frozen=True)
class Solution:
    """One pruned form of a model."""

    wanted: Wanted
    """The labels, in the order of the outputs."""
    granularity: str
    """'channel' or 'weight'."""
    masks: MaskSet
    """On the model with its head cut and without what is dead in it; where the values have SeaM's head, on the model with
    that."""
    values: Values = field(default_factory=dict)
    """Contents of those initializers of the pruned model that are not just what is left of the original's."""
    width_step: int = 1
    """Widths are multiples of this where what is dead by itself goes."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Sizes that were given for symbolic dimensions of the input."""
    kept: float = 1.0
    """Share of the target's figure, or of the mask elements, that stays."""
    accuracy: float | None = None
    """On validation."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the pruned model says of itself beside its labels and source, see `seam_onnx.provenance`."""
    output: str = ""
    """sha256 of the pruned model's file as it was proved; empty where none was written."""
    convolved: bool = False
    """Whether shortcuts were written as convolutions before anything was masked, see `seam_onnx.surgery.shortcuts`."""

    def digest(self) -> str:
        """Hex sha256 of what shapes the model: everything but kept, accuracy, facts and output."""
        plain = {k: v for k, v in plain_of(self).items() if k not in ("kept", "accuracy", "facts", "output")}
        return digest_of(plain, tensors_of(0, self))


def masks_beside(output: Path) -> Path:
    """Where the masks of a pruned model go: pets.onnx has pets.masks.safetensors."""
    return output.with_suffix(".masks.safetensors")


def encoded(solutions: Sequence[Solution]) -> bytes:
    """A file's content; the same for the same solutions. All of one model."""
    tensors = {name: array for k, one in enumerate(solutions) for name, array in tensors_of(k, one).items()}
    plain = {"format": FORMAT, "solutions": [plain_of(one) for one in solutions]}
    text = json.dumps(plain | {"digest": digest_of(plain, tensors)}, sort_keys=True, ensure_ascii=False)
    content: bytes = save(tensors, metadata={KEY: text})
    return content


def read_solutions(path: Path) -> tuple[Solution, ...]:
    """Read a file of solutions.

    Raises:
        PathError: no such file. UsageError: no file of solutions, of another format, or damaged.
    """
    if not path.is_file():
        raise PathError(path, "no such file", "give a .masks.safetensors")
    try:
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        why = f"is not a safetensors file, or is cut off ({error})"
        raise UsageError(path, why, "give a .masks.safetensors that seam-onnx wrote") from error
    if text is None:
        raise UsageError(path, "holds no masks of seam-onnx", "give a .masks.safetensors that seam-onnx wrote")
    try:
        plain = json.loads(text)
        check(path, plain, tensors)
        return tuple(decoded(k, one, tensors) for k, one in enumerate(plain["solutions"]))
    except (KeyError, TypeError, ValueError, AttributeError, LabelError) as error:
        raise UsageError(path, f"contradicts itself ({error})", "copy it again, or prune again") from error


def check(path: Path, plain: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Refuse another format, and contents that are not what was written."""
    if plain["format"] != FORMAT:
        why = f"has format {plain['format']!r}, not {FORMAT!r}"
        raise UsageError(path, why, "use the version of seam-onnx that wrote it, or prune again")
    given = plain.pop("digest")
    if digest_of(plain, tensors) != given:
        raise UsageError(path, "is damaged (its digest is another)", "copy it again, or prune again")


def tensors_of(number: int, solution: Solution) -> dict[str, NDArray[Any]]:
    """A solution's tensors under their names in a file."""
    masks = solution.masks
    parts = {
        f"{number}/mask/{part}/{name}": factor
        for name, mask in masks.masks.items()
        for part, factor in enumerate(factors(mask))
    }
    kept = {f"{number}/kept/{name}": mask for name, mask in masks.kept.items()}
    values = {f"{number}/value/{name}": array for name, array in solution.values.items()}
    return {name: np.asarray(array, order="C") for name, array in (parts | kept | values).items()}


def plain_of(solution: Solution) -> dict[str, Any]:
    """Everything but the tensors, in JSON's types."""
    plain = {f.name: getattr(solution, f.name) for f in dataclasses.fields(solution) if f.name != "values"}
    wanted = dataclasses.asdict(solution.wanted)
    plain |= {"wanted": wanted, "masks": solution.masks.sha256}
    return dict(json.loads(json.dumps(plain, default=dict)))


def decoded(number: int, plain: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Solution:
    """Solution `number` of a file."""
    parts: dict[str, list[Mask]] = {}
    for name, array in found(tensors, f"{number}/mask/"):
        parts.setdefault(name.partition("/")[2], []).append(boolean(name, array))
    masks = {name: reduce(np.logical_and, several) for name, several in parts.items()}
    kept = {name: boolean(name, array) for name, array in found(tensors, f"{number}/kept/")}
    wanted = plain["wanted"] | {k: tuple(plain["wanted"][k]) for k in ("indices", "names")}
    rest = plain | {
        "wanted": Wanted(**wanted),
        "masks": MaskSet(masks, plain["masks"], kept),
        "values": dict(found(tensors, f"{number}/value/")),
    }
    return Solution(**rest)


def found(tensors: Mapping[str, NDArray[Any]], prefix: str) -> Iterable[tuple[str, NDArray[Any]]]:
    """The tensors whose names begin so, with the rest of their names, in the order of the names."""
    return ((name.removeprefix(prefix), tensors[name]) for name in sorted(tensors) if name.startswith(prefix))


def boolean(name: str, array: NDArray[Any]) -> Mask:
    """The array, which has to be a mask."""
    if array.dtype != np.bool_:
        raise TypeError(f"mask {name!r} is {array.dtype}, not bool")
    return array


def digest_of(plain: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Hex sha256 over a JSON object and arrays with their names, types and shapes."""
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype.str} {tensors[name].shape}\n".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
