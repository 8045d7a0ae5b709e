"""SeaM as published, its own 300 epochs, on label subsets of CIFAR: the baseline, as JSON rows and a table.

    python benchmarks/seam.py --models FOLDER --images cifar10.npz --work build/seam --out docs/seam-baseline.md
    python benchmarks/seam.py ... --problems ship --epochs 300

The .npz is that of benchmarks/subsets.py, and so is the protocol: search on the training split; select on the first half of
the test split's images of each class; report on the second half, once. What is judged is the masked model, zeros and all, by
onnxruntime: SeaM removes nothing from a file. In the work folder a problem has

    NAME.state         all of the search after its last whole epoch: a run that was cut off goes on from there
    NAME.curve.jsonl   a line an epoch: kept ratio, validation accuracy, seconds of wall clock and of this process so far
    NAME.json          the row, once the last epoch is done: what is there is not run again
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from subsets import MEAN, STD, halves

from seam_onnx.judge import Judge
from seam_onnx.model import Model, load, save
from seam_onnx.pipeline import pose
from seam_onnx.progress import Event, silent
from seam_onnx.request import Request
from seam_onnx.search import Views, fastest_engine, search_weights
from seam_onnx.settings import Settings
from seam_onnx.surgery import apply_masks
from seam_onnx.surgery.logits import add_seam_head
from seam_onnx.task import Task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import Provider, environment, to_json

PROBLEMS = ("ship", "cat", "cat,dog")
VIEWS = 80
"""Augmented copies of the training data: SeaM augments anew every epoch, memory allows about so many."""


class Curve:
    """Writes a line for every epoch; `seconds` go on from what is there."""

    def __init__(self, path: Path, epochs: int) -> None:
        lines = path.read_text().splitlines()[:epochs] if path.exists() else []
        self.path, self.points = path, [json.loads(line) for line in lines]
        last = self.points[-1] if self.points else {"seconds": 0.0, "cpu": 0.0}
        self.start = time.perf_counter() - last["seconds"], time.process_time() - last["cpu"]

    def __call__(self, event: Event) -> None:
        """Observe."""
        if "val" in event.figures:
            seconds, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
            figures = {key: round(value, 6) for key, value in event.figures.items()}
            self.points.append(
                {"epoch": len(self.points) + 1, **figures, "seconds": round(seconds, 1), "cpu": round(cpu, 1)}
            )
            self.path.write_text("".join(json.dumps(point) + "\n" for point in self.points))


def searched(request: Request, model: Model, task: Task, views: Views, judge: Judge, base: Path) -> dict[str, Any]:
    """Search, or go on; the masked model as a file and what there is to say of it."""
    state, recipe = base.with_suffix(".state"), request.seam
    done = len(torch.load(state, weights_only=False)["course"].curve) if state.exists() else 0
    curve = Curve(base.with_suffix(".curve.jsonl"), done)
    headed = add_seam_head(model, len(task.wanted.outputs), recipe.seed)
    found = search_weights(headed, views, recipe, judge.original_on_val(), observer=curve, state=state)
    path = base.with_suffix(".onnx")
    save(apply_masks(found.model, found.masks), path, overwrite=True)
    proof = judge.prove(path, (1, 16))
    return {
        "labels": request.labels, "model": request.model.stem, "recipe": asdict(recipe), "engine": asdict(views.engine),
        "train": views.count, "threshold": judge.original_on_val(), "epoch": found.epoch, "kept": found.kept,
        "elements": sum(mask.size for mask in found.masks.masks.values()),
        "proof": to_json(proof), "curve": curve.points, "environment": environment(),
    }  # fmt: skip


def run(model: Path, labels: str, data: Path, val: Path, work: Path, settings: dict[str, Any]) -> Path:
    """One problem; its row's path."""
    base = work / "_".join([model.stem, labels.replace(",", "+"), *(f"{k}={v}" for k, v in settings.items())])
    row = base.with_suffix(".json")
    if row.exists():
        return row
    given = {"model": model, "labels": labels, "data": data, "val": val, "output": base, "mean": MEAN, "std": STD}
    request = Settings.of_names(Request, {**given, "granularity": "weight", **settings}).build(Request)
    whole = load(request.model, request.sizes)
    _, preprocess, task = pose(request, whole, silent)
    judge = Judge(whole, task, preprocess, cast(Provider, request.provider), request.threads, silent)
    device = torch.device("cpu")
    teacher = Teacher(whole, task.wanted, device)
    judge.check_lowering(teacher)
    probe = torch.from_numpy(preprocess.normalize(task.train.x[: request.seam.batch])).to(device)

    def nobody(x: torch.Tensor) -> torch.Tensor:
        """SeaM has no teacher, and shall not wait for one."""
        return torch.zeros(len(x), len(task.wanted.outputs))

    with fastest_engine(teacher.module, probe) as engine:
        views = Views(task, preprocess, nobody, device, request.seam.seed, VIEWS, 0.0, engine)
        made = searched(request, whole, task, views, judge, base)
    row.write_text(json.dumps(made))
    return row


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with the .onnx files")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/seam"))
    parser.add_argument("--out", type=Path, default=Path("docs/seam-baseline.md"))
    parser.add_argument("--network", default="cifar10_resnet20_dynamo")
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--epochs", type=int, default=300)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data, val = halves(given.images, given.work)
    for labels in given.problems:
        run(given.models / f"{given.network}.onnx", labels, data, val, given.work, {"epochs": given.epochs})


if __name__ == "__main__":
    main()
