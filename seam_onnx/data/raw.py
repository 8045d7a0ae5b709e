"""A data set as it lies on disk: arrays or image files, labels in the data's own numbers."""

from dataclasses import dataclass
from pathlib import Path

from seam_onnx.data.dataset import Array, Labels, stratified
from seam_onnx.errors import DataError

__all__ = ["RawPart", "RawSplits"]


@dataclass(frozen=True, eq=False)
class RawPart:
    """Samples of one split. Raises DataError where it is empty or samples and labels do not pair up."""

    images: Array | tuple[Path, ...]
    """uint8 (N, H, W), (N, H, W, C) or float32 (N, ...), or N image files not read yet."""
    y: Labels
    """int64 (N,): indices into `RawSplits.names`, or the model's classes where there are none."""

    def __post_init__(self) -> None:
        if len(self.images) != len(self.y):
            why = f"there are {len(self.images)} samples and {len(self.y)} labels"
            raise DataError("data", why, "give one label for each sample")
        if not len(self.y):
            raise DataError("data", "a split has no samples", "give at least one for each class")

    def __len__(self) -> int:
        return len(self.y)

    def select(self, indices: Labels) -> "RawPart":
        """The samples at these positions (K,)."""
        if isinstance(self.images, tuple):
            return RawPart(tuple(self.images[i] for i in indices), self.y[indices])
        return RawPart(self.images[indices], self.y[indices])

    def split(self, fraction: float, seed: int) -> tuple["RawPart", "RawPart"]:
        """(about `fraction` of every class, the others); see `stratified`. DataError where too few."""
        first, second = stratified(self.y, fraction, seed)
        if not len(first) or not len(second):
            why = f"{len(self)} samples are too few to split train, validation and test"
            raise DataError("data", why, "give more, or splits of your own")
        return self.select(first), self.select(second)


@dataclass(frozen=True, eq=False)
class RawSplits:
    """What `read` found."""

    source: Path
    """The file or folder."""
    train: RawPart
    """The training split, or all of it where the data is not divided."""
    val: RawPart | None
    """The validation split, where the data has one."""
    test: RawPart | None
    """The test split, where the data has one."""
    names: tuple[str, ...] | None
    """The data's class names by label, or None where labels are the model's class indices."""

    def __str__(self) -> str:
        return str(self.source)

    @property
    def parts(self) -> tuple[RawPart, ...]:
        """The splits there are."""
        return tuple(part for part in (self.train, self.val, self.test) if part is not None)
