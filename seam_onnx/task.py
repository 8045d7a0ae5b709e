"""The target problem: the wanted labels, and the data on which they are learnt, chosen and judged.

Where there is a rest output, other classes far outnumber the wanted ones and accuracy would say little: validation and
test are balanced as in SeaM's protocol (as many others as one wanted class has on average, drawn once with the seed),
while training draws its share of others anew for every view of the data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seam_onnx.data import Dataset, Splits
from seam_onnx.errors import DataError
from seam_onnx.labels import Wanted

__all__ = ["Task", "draw", "make_task", "prior_shift"]


@dataclass(frozen=True, eq=False)
class Task:
    """Data of the target problem. Labels are positions among the wanted outputs."""

    wanted: Wanted
    """The outputs."""
    train: Dataset
    """Everything the search may learn from; with a rest output all other classes are in it."""
    val: Dataset
    """Selection happens here."""
    test: Dataset
    """Read once, at the end."""
    original: tuple[NDArray[np.int64], NDArray[np.int64]]
    """The original's labels of val and test, for scoring the original by its own classes."""
    notes: tuple[str, ...] = ()
    """What a reader of the accuracies has to know."""


def make_task(wanted: Wanted, splits: Splits, seed: int = 0) -> Task:
    """Restrict data to the wanted labels. Raises DataError where a wanted label has no sample in a split."""
    parts = {}
    for name, part in (("train", splits.train), ("validation", splits.val), ("test", splits.test)):
        parts[name] = relabelled(part, wanted, name)
    notes = list(splits.notes)
    if wanted.rest:
        notes.append(
            "training, validation and test hold as many other images as one wanted label has on average, "
            "and answers are learnt at these frequencies"
        )
    val, test = (balanced(*parts[name], wanted, seed) for name in ("validation", "test"))
    return Task(wanted, parts["train"][0], val[0], test[0], (val[1], test[1]), tuple(notes))


def relabelled(part: Dataset, wanted: Wanted, name: str) -> tuple[Dataset, NDArray[np.int64]]:
    """The samples of the task with their new labels, and their old ones."""
    labels = wanted.relabel(part.y)
    inside = labels >= 0
    counts = np.bincount(labels[inside], minlength=len(wanted.outputs))
    if len(empty := np.flatnonzero(counts == 0)):
        raise DataError(
            f"label {wanted.outputs[empty[0]]!r}",
            f"has no sample in the {name} split",
            "give data that shows every wanted label",
        )
    if inside.all():
        return Dataset(part.x, labels, part.names), part.y
    return Dataset(part.x[inside], labels[inside], part.names), part.y[inside]


def draw(labels: NDArray[np.int64], wanted: Wanted, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of all wanted samples and of as many others as one wanted label has on average, ascending."""
    if not wanted.rest:
        return np.arange(len(labels))
    rest = len(wanted.outputs) - 1
    mine, others = np.flatnonzero(labels != rest), np.flatnonzero(labels == rest)
    count = min(len(others), max(1, round(len(mine) / rest)))
    return np.sort(np.concatenate([mine, rng.permutation(others)[:count]]))


def prior_shift(wanted: Wanted) -> NDArray[np.float32]:
    """What the frequencies of a task's classes add to the original's logits: (classes,), the wanted ones first.

    A classifier answers by how frequent classes were when it was trained; for other frequencies the log of their quotient is
    added (Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
    Computation 14, 2002, eq. 2.4). All n classes behind a rest together are as frequent here as a single wanted one, see
    `draw`. The original is taken to have seen all equally often, so its wanted ones gain log(n).
    """
    shift = np.zeros(wanted.classes, np.float32)
    if wanted.rest:
        shift[: len(wanted.indices)] = np.log(len(wanted.unwanted))
    return shift


def balanced(part: Dataset, old: NDArray[np.int64], wanted: Wanted, seed: int) -> tuple[Dataset, NDArray[np.int64]]:
    """A split for judging: see the module's docstring."""
    if not wanted.rest:
        return part, old
    chosen = draw(part.y, wanted, np.random.default_rng(seed))
    return part.select(chosen), old[chosen]
