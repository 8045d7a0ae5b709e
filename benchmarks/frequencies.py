"""What an original loses in one-against-rest problems by answering at the class frequencies of its own training.

    python benchmarks/frequencies.py MODEL --images cifar10.npz --labels cat ship --work build/subsets

A rest of n classes is drawn as often as the wanted label alone (`seam_onnx.task.draw`), so log(n) belongs to the wanted
logits (`seam_onnx.task.prior_shift`). Searches teach that; here the original itself gets it, and nothing else
changes. Accuracy on the halves of benchmarks/subsets.py, as a table on standard output. No training: a minute.
"""

import argparse
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from subsets import MEAN, STD, TEN, halves

from seam_onnx.judge import Judge
from seam_onnx.model import load
from seam_onnx.pipeline import pose
from seam_onnx.progress import silent
from seam_onnx.request import Request
from seam_onnx.settings import Settings
from seam_onnx.task import Task, prior_shift
from seam_onnx.validate import Provider, accuracy

HEADER = (
    "| labels | validation: restricted | at the task's frequencies | test: restricted | at the task's frequencies "
    "|\n|---|---|---|---|---|"
)


def judged(model: Path, labels: str, data: Path, val: Path) -> tuple[Judge, Task]:
    """The problem, and onnxruntime's view of the original."""
    given = {"model": model, "labels": labels, "data": data, "val": val, "output": "none", "mean": MEAN, "std": STD}
    request = Settings.of_names(Request, given).build(Request)
    whole = load(request.model, request.sizes)
    _, preprocess, task = pose(request, whole, silent)
    return Judge(whole, task, preprocess, cast(Provider, request.provider), request.threads, silent), task


def readings(logits: NDArray[np.float32], labels: NDArray[np.int64], task: Task) -> tuple[float, float]:
    """Accuracy of logits (N, classes), restricted to the task's outputs: as they are, and at the task's frequencies."""
    wanted = task.wanted
    shift = np.zeros(wanted.classes, np.float32)
    shift[[*wanted.indices, *wanted.unwanted]] = prior_shift(wanted)
    first, second = (accuracy(wanted.restrict(logits + more), labels).value for more in (0 * shift, shift))
    return first, second


def main() -> None:
    """One line a label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", nargs="+", default=list(TEN))
    parser.add_argument("--work", type=Path, default=Path("build/subsets"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data, val = halves(given.images, given.work)
    rows = []
    print(HEADER)
    for labels in given.labels:
        judge, task = judged(given.model, labels, data, val)
        test = judge.logits(judge.session, task.test)
        rows.append((*readings(judge.val, task.val.y, task), *readings(test, task.test.y, task)))
        print(f"| {labels} | " + " | ".join(f"{value:.2%}" for value in rows[-1]) + " |", flush=True)
    print("| mean | " + " | ".join(f"{value:.2%}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
