"""Use your own preprocessing: arrays that are ready for the model, from wherever they come."""

from pathlib import Path

import numpy as np

import seam_onnx

DIGITS = Path(__file__).parents[2] / "models" / "digits"


def prepared(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 8, 8, 1) as the model was trained on it: float32 (N, 1, 8, 8)."""
    return ((images / 255 - 0.3044) / 0.3759).astype(np.float32).transpose(0, 3, 1, 2)


with np.load(DIGITS / "data.npz") as arrays:
    data = {name: prepared(array) if name.startswith("x_") else array for name, array in arrays.items()}

report = seam_onnx.reengineer(
    DIGITS / "model.onnx",
    labels="7",  # this against the rest
    data=data,  # x_train, y_train, x_test, y_test, as an .npz would have; a pair (x, y) will do
    layout="none",  # arrays go as they are: nothing is scaled, resized or augmented
    output="build/examples/seven.onnx",
    epochs=2, least=60, views=2, rounds=2, proposals=2,  # a few seconds; leave them out for a real run
    overwrite=True,
)  # fmt: skip

print(report.problem.preprocess)
print(f"{' / '.join(report.problem.labels)}: {report.proof.test.pruned.value:.1%} of {report.proof.test.pruned.total}")
