"""SeaM as published, its own 300 epochs, on label subsets of CIFAR, and 30 of the other schedules beside it.

    python benchmarks/seam.py --models FOLDER --images cifar10.npz --work build/seam --out docs/seam-baseline.md
    python benchmarks/seam.py ... --problems ship --ways fast "fast keep=0.1"

The .npz is that of benchmarks/subsets.py, and so is the protocol: search on the training split; select on the first half of
the test split's images of each class; report on the second half, once. What is judged is the masked model, zeros and all, by
onnxruntime: SeaM removes nothing from a file. In the work folder a run has

    NAME.state         all of the search after its last whole epoch: a run that was cut off goes on from there
    NAME.curve.jsonl   a line an epoch: kept ratio, validation accuracy, seconds of wall clock and of this process so far
    NAME.json          the row, once the last epoch is done: what is there is not run again

The tables have a line for every run that has begun; of one that is not done they have the curve. The page around them stays
as it is.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from page import put
from subsets import MEAN, STD, halves

from seam_onnx.finding import teacher_logits, weights_found
from seam_onnx.judge import Judge
from seam_onnx.model import load, save
from seam_onnx.outcome import Setup
from seam_onnx.pipeline import pose
from seam_onnx.progress import Event, silent
from seam_onnx.request import Request
from seam_onnx.search import Views, fastest_engine
from seam_onnx.settings import Settings
from seam_onnx.surgery import apply_masks
from seam_onnx.teacher import Teacher
from seam_onnx.validate import Provider, environment, to_json

PROBLEMS = ("ship", "cat", "cat,dog")
WAYS: dict[str, dict[str, Any]] = {
    "published": {"schedule": "published", "epochs": 300},
    "fast": {"schedule": "fast", "epochs": 30},
    "fast keep=0.1": {"schedule": "fast", "epochs": 30, "keep": 0.1},
    "fast keep=0.06": {"schedule": "fast", "epochs": 30, "keep": 0.06},
    "gradual keep=0.1": {"schedule": "gradual", "epochs": 30, "keep": 0.1},
    "gradual keep=0.06": {"schedule": "gradual", "epochs": 30, "keep": 0.06},
    "gradual keep=0.16 epochs=6": {"schedule": "gradual", "epochs": 6, "least": 1, "keep": 0.16},
    "gradual keep=0.1 epochs=5": {"schedule": "gradual", "epochs": 5, "least": 1, "keep": 0.1},
}
"""What each way asks for. Without `keep` the epoch must lose nothing; with it, it keeps no more than that. `gradual` trains
the weights as well, which SeaM does not do; the last two are meant to come as far as SeaM in a twentieth of its time."""
VIEWS = {"published": 80, "fast": 12, "gradual": 40}
"""Augmented copies of the training data: SeaM augments anew every epoch, memory allows about so many."""
NEAR = 5
"""Readings of accuracy that are averaged: so many at the end, or before and after an epoch."""
RATIOS = (0.5, 0.35, 0.25, 0.2, 0.15, 0.1, 0.06)
DONE = (
    "| labels | way | epochs | kept | original: free / restricted | masked (95 % interval) | p50 batch 1 "
    "| p50 batch 16 | CPU seconds |\n|---|---|---|---|---|---|---|---|---|"
)
REACHED = (
    "| labels | kept | published: epoch | CPU seconds | validation | fast: epoch | CPU seconds | validation "
    "| times less |\n|---|---|---|---|---|---|---|---|---|"
)

SETTLED_TITLE = f"""Single readings scatter by a point and a half. At equal ratios, accuracy on validation as the mean (and
range) of the {2 * NEAR} readings around the first epoch that keeps so much, or of the last {NEAR} where it was asked for:"""
SETTLED = (
    "| labels | way | kept | published: epoch | CPU seconds | validation | epochs | CPU seconds | validation |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Curve:
    """Writes a line for every epoch; the seconds go on from the line before."""

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self.points = path, points_of(path)[:epochs]
        last = self.points[-1] if self.points else {"seconds": 0.0, "cpu": 0.0}
        self.start = time.perf_counter() - last["seconds"], time.process_time() - last["cpu"]

    def __call__(self, event: Event) -> None:
        """Observe."""
        if "val" in event.figures:
            seconds, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
            figures = {key: round(value, 6) for key, value in event.figures.items()}
            point = {"epoch": len(self.points) + 1, **figures, "seconds": round(seconds, 1), "cpu": round(cpu, 1)}
            self.points.append(point)
            self.path.write_text("".join(json.dumps(one) + "\n" for one in self.points))


def points_of(path: Path) -> list[dict[str, float]]:
    """A curve; empty where there is none."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def name_of(model: Path, labels: str, way: str) -> str:
    """Of a run's files."""
    return f"{model.stem}_{labels.replace(',', '+')}_{way.replace(' ', '-')}"


def searched(setup: Setup, views: Views, base: str) -> dict[str, Any]:
    """Search, or go on; write the masked model; what there is to say of it."""
    request, state, path = setup.request, Path(f"{base}.state"), Path(f"{base}.onnx")
    done = len(torch.load(state, weights_only=False)["course"].curve) if state.exists() else 0
    curve = Curve(Path(f"{base}.curve.jsonl"), done)
    found = weights_found(replace(setup, observer=curve), views, state)
    save(apply_masks(found.model, found.masks), path, overwrite=True)
    judge = setup.judge
    return {
        "labels": request.labels, "model": request.model.stem, "recipe": asdict(request.seam),
        "engine": asdict(views.engine), "train": views.count, "epoch": found.epoch, "kept": found.kept,
        "proof": to_json(judge.prove(path, judge.race(path, (1, 16)))), "curve": curve.points, "environment": environment(),
    }  # fmt: skip


def run(model: Path, labels: str, way: str, data: Path, val: Path, work: Path) -> None:
    """One problem one way, unless its row is there."""
    base, schedule = str(work / name_of(model, labels, way)), WAYS[way]["schedule"]
    if Path(f"{base}.json").exists():
        return
    given = {"model": model, "labels": labels, "data": data, "val": val, "output": base, "mean": MEAN, "std": STD}
    request = Settings.of_names(Request, {**given, "granularity": "weight", **WAYS[way]}).build(Request)
    whole = load(request.model, request.sizes)
    _, preprocess, task = pose(request, whole, silent)
    judge = Judge(whole, task, preprocess, cast(Provider, request.provider), request.threads, silent)
    device = torch.device("cpu")
    teacher = Teacher(whole, device)
    judge.check_lowering(teacher)
    probe = torch.from_numpy(preprocess.normalize(task.train.x[: request.seam.batch])).to(device)

    def nobody(x: torch.Tensor) -> torch.Tensor:
        """SeaM has no teacher, and shall not wait for one."""
        return torch.zeros(len(x), task.wanted.classes)

    with fastest_engine(teacher.module, probe) as engine:
        taught = nobody if schedule == "published" else teacher_logits(judge, teacher, engine)
        mix = request.recipe.mix if schedule == "gradual" else 0.0
        views = Views(task, preprocess, taught, device, request.seam.seed, VIEWS[schedule], mix, engine)
        row = searched(Setup(request, whole, task, preprocess, teacher, judge, 1, silent), views, base)
        Path(f"{base}.json").write_text(json.dumps({"way": way, **row}))


def done_row(row: dict[str, Any]) -> str:
    """A run that is done."""
    test = row["proof"]["test"]
    masked, interval = test["pruned"], test["pruned"]["interval"]
    ratios = [f"{one['ratio']:.0%}" for one in row["proof"]["latency"]["comparisons"]]
    cells = (
        row["labels"], row["way"], f"{row['epoch']} of {len(row['curve'])}", f"{row['kept']:.1%}",
        f"{test['original']['value']:.2%} / {test['restricted']['value']:.2%}",
        f"{masked['value']:.2%} ({interval['low']:.1%} to {interval['high']:.1%})", *ratios,
        f"{row['curve'][-1]['cpu']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def reached(labels: str, published: list[dict[str, float]], fast: list[dict[str, float]]) -> Iterator[str]:
    """When each schedule first kept no more than each ratio, and how good it was there."""
    for ratio in RATIOS:
        first = [next((p for p in points if p["kept"] <= ratio), None) for points in (published, fast)]
        if any(first):
            cells = [
                cell
                for p in first
                for cell in (
                    (f"{p['epoch']:.0f}", f"{p['cpu']:.0f}", f"{p['val']:.1%}") if p else ("not reached", "", "")
                )
            ]
            less = f"{first[0]['cpu'] / first[1]['cpu']:.1f}" if first[0] and first[1] else ""
            yield f"| {labels} | {ratio:.0%} | " + " | ".join((*cells, less)) + " |"


def settled(labels: str, published: list[dict[str, float]], curves: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """What each way that keeps a given share comes to at the end, and `published` where it keeps as much."""
    for way, points in curves.items():
        keep = WAYS[way].get("keep")
        if keep is None or len(points) < WAYS[way]["epochs"]:
            continue
        first = next((k for k, p in enumerate(published) if p["kept"] <= keep), None)
        last = [p for p in points[-NEAR:] if p["kept"] <= points[-1]["kept"]]
        ours = f"{points[-1]['cpu']:.0f} | {average(last)}"
        theirs = "not reached | |"
        if first is not None:
            near = published[max(0, first - NEAR) : first + NEAR]
            theirs = f"{first + 1} | {published[first]['cpu']:.0f} | {average(near)}"
        yield f"| {labels} | {way} | {keep:.0%} | {theirs} | {len(points)} | {ours} |"


def average(points: list[dict[str, float]]) -> str:
    """Accuracy on validation."""
    values = [p["val"] for p in points]
    return f"{sum(values) / len(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def write(out: Path, work: Path, models: list[Path], problems: list[str]) -> None:
    """The tables as they stand."""
    runs = [(m, labels, way) for m in models for labels in problems for way in WAYS]
    rows = [json.loads(p.read_text()) for one in runs if (p := work / f"{name_of(*one)}.json").exists()]
    curves = {one: points_of(work / f"{name_of(*one)}.curve.jsonl") for one in runs}
    lines = []
    if rows:
        machine = rows[0]["environment"]
        known = ", ".join(f"{key} {machine[key]}" for key in ("cpu", "cores", "simd", "onnxruntime") if key in machine)
        lines += [f"Machine: {known}.", "", DONE, *map(done_row, rows), ""]
    problem = [(m, labels) for m in models for labels in problems]
    lines += ["When a kept ratio was first reached, and the accuracy on validation there:", "", REACHED]
    for one in problem:
        lines += reached(one[1], curves[*one, "published"], curves[*one, "fast"])
    lines += ["", SETTLED_TITLE, "", SETTLED]
    for one in problem:
        lines += settled(one[1], curves[*one, "published"], {way: curves[*one, way] for way in WAYS})
    cut = [
        f"- {labels}, {way}: cut off after {len(points)} of {WAYS[way]['epochs']} epochs, at "
        f"{points[-1]['kept']:.1%} kept and {points[-1]['val']:.1%} on validation, {points[-1]['cpu']:.0f} CPU seconds."
        for (_, labels, way), points in curves.items()
        if points and len(points) < WAYS[way]["epochs"]
    ]
    put(out, [*lines, *["", *cut] * bool(cut)])


def main() -> None:
    """Run what is missing, and write the table after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with the .onnx files")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/seam"))
    parser.add_argument("--out", type=Path, default=Path("docs/seam-baseline.md"))
    parser.add_argument("--networks", nargs="+", default=["cifar10_resnet20_dynamo"])
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument(
        "--ways", nargs="*", default=list(WAYS), choices=list(WAYS), help="none: write the tables alone"
    )
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data, val = halves(given.images, given.work)
    models = [given.models / f"{network}.onnx" for network in given.networks]
    write(given.out, given.work, models, given.problems)
    for model in models:
        for labels in given.problems:
            for way in given.ways:
                run(model, labels, way, data, val, given.work)
                write(given.out, given.work, models, given.problems)


if __name__ == "__main__":
    main()
