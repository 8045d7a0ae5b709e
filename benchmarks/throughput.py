"""Images a second of the search's training loop, against a plain training step of the same network in eager fp32 torch.

    python benchmarks/throughput.py cifar10_resnet20.onnx
    python benchmarks/throughput.py models/digits/model.onnx --size 8 --channels 1

The *loop* is what a search does: a batch from the views (chosen, normalised, teacher's answers beside it), forwards and
backwards in the engine that is fastest here, loss against labels and teacher, clipped AdamW. *Plain* is the lowered network,
cross-entropy, backward and SGD on a batch that is ready. Both take turns; each round's ratio is one sample, medians are
printed. *As used* adds to the loop what making its views costs (augmentation, the teacher's answers), spread over the epochs
that use them. Images are random: what they show does not matter here.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seam_onnx.data import Dataset, Splits, resolve
from seam_onnx.finding import teacher_logits
from seam_onnx.judge import Judge
from seam_onnx.labels import Wanted
from seam_onnx.lowering import lower
from seam_onnx.masks import MaskSet
from seam_onnx.model import Model, load
from seam_onnx.progress import silent
from seam_onnx.request import Recipe
from seam_onnx.search import Engine, Views, fastest_engine
from seam_onnx.search.training import Training
from seam_onnx.search.views import Batch
from seam_onnx.surgery import classes, cut_head
from seam_onnx.surgery.logits import logits_of
from seam_onnx.task import make_task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import environment


def images(count: int, channels: int, size: int, labels: int) -> Dataset:
    """Random ones."""
    rng = np.random.default_rng(count)
    x = rng.integers(0, 256, (count, channels, size, size), np.uint8)
    return Dataset(x, np.arange(count) % labels, None)


def views_of(model: Model, given: argparse.Namespace, device: torch.device, engine: Engine) -> tuple[Views, Wanted]:
    """Views of a task of two labels."""
    wanted, parts = Wanted((3, 5), ("a", "b"), False, classes(model)), (5 * given.images, 500, 500)
    splits = Splits(*(images(count, given.channels, given.size, classes(model)) for count in parts), ())
    task = make_task(wanted, splits)
    preprocess = replace(resolve((None, given.channels, given.size, given.size)), augment=("crop", "flip"))
    recipe = Recipe()
    judge = Judge(model, task, preprocess, "cpu", 1, silent)
    taught = teacher_logits(judge, Teacher(model, device), engine)
    return Views(task, preprocess, taught, device, 0, recipe.views, recipe.mix, engine), wanted


def plain_step(module: nn.Module, batch: Batch) -> Callable[[], None]:
    """A training step as anybody writes it."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    y = batch.y.clamp(min=0)

    def step() -> None:
        loss = nn.functional.cross_entropy(module(batch.x).flatten(1), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def rate(step: Callable[[], None], images: int, steps: int, device: torch.device) -> float:
    """Images a second."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps * images / (time.perf_counter() - started)


def row(model: Model, given: argparse.Namespace, threads: int, device: torch.device) -> str:
    """All of it with so many threads."""
    torch.set_num_threads(threads)
    recipe = Recipe()
    batch = recipe.batch
    probe = torch.zeros((batch, given.channels, given.size, given.size), device=device)
    pinned = f"{given.engine}/{threads}"
    with fastest_engine(Teacher(model, device).module, probe, pinned) as engine:
        views, wanted = views_of(model, given, device, engine)
        base = cut_head(model, wanted.indices, rest=False)
        started = time.perf_counter()
        views.view(0)
        making = views.count / (time.perf_counter() - started)
        views.most = 1  # only the one that is there
        training = Training(base, logits_of(base), views, recipe)
        batches = training.batches
        trainer = training.trainer(base, MaskSet({}, ""), training.trainable(base), 10_000)
        eager = lower(base, logits_of(base)).to(device).train()
        plain = plain_step(eager, next(batches))
        loops = {"loop": lambda: trainer.step(next(batches)), "plain": plain}
        samples: dict[str, list[float]] = {name: [] for name in loops}
        for step in loops.values():
            rate(step, batch, 3, device)
        for _ in range(given.rounds):
            for name, step in loops.items():
                samples[name].append(rate(step, batch, given.steps, device))
    loop, eager_rate = (float(np.median(samples[name])) for name in ("loop", "plain"))
    used = [1 / (1 / one + recipe.views / recipe.epochs / making) for one in samples["loop"]]
    ratio, whole = (float(np.median(np.divide(found, samples["plain"]))) for found in (samples["loop"], used))
    cells = (threads, engine.name, f"{eager_rate:.0f}", f"{loop:.0f}", f"{ratio:.2f}", f"{making:.0f}", f"{whole:.2f}")
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--images", type=int, default=640, help="of the two labels")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of a round")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    model, facts, device = load(given.model), environment(), torch.device(given.device)
    print(f"{given.model.stem}, batch {Recipe().batch}, {facts['cpu']}, {facts['simd']}, torch {torch.__version__}\n")
    print("| threads | engine | plain, images/s | loop, images/s | ratio | making views, images/s | ratio as used |")
    print("|---|---|---|---|---|---|---|")
    for threads in given.threads:
        print(row(model, given, threads, device), flush=True)


if __name__ == "__main__":
    main()
