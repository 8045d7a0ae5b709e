"""Does the sum of a network's layers, measured one by one, tell how long the network takes?

    python benchmarks/latency_table.py models/digits/model.onnx cifar10_resnet20.onnx

Prints a Markdown table: seconds to measure the layers anew, their sum, and the median of the whole network, measured
before and after that and taken to be the mean of both. Then the staircase: what one convolution takes at each width.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from seam_onnx.channels import analyze
from seam_onnx.model import load
from seam_onnx.pricing import latencies
from seam_onnx.validate import LayerTimes, environment, measure, open_session


def whole(path: Path, item: tuple[int, ...], threads: int) -> float:
    """Median milliseconds of a network at batch 1."""
    x = np.random.default_rng(0).standard_normal((1, *item)).astype(np.float32)
    return measure({"model": open_session(path, "cpu", threads)}, x).timing("model").p50


def row(path: Path, step: int, threads: int) -> str:
    """One network."""
    model = load(path)
    item = tuple(model.shapes[model.graph.inputs[0]])[1:]
    before = whole(path, item, threads)
    with tempfile.TemporaryDirectory() as folder:
        times = LayerTimes("cpu", threads, Path(folder))
        started = time.perf_counter()
        price = latencies(model, times.of, step)
        seconds = time.perf_counter() - started
    network = (before + whole(path, item, threads)) / 2
    channels = analyze(model)
    total = price(channels, channels.everything())
    cells = (path.stem, len(price.layers), len(times.known), f"{seconds:.1f}", f"{total:.3f}", f"{network:.3f}")
    return "| " + " | ".join(map(str, (*cells, f"{total / network:.2f}"))) + " |"


def stairs(path: Path, step: int, threads: int) -> str:
    """The widest convolution of a network, in and out alike, at multiples of the step."""
    model = load(path)
    with tempfile.TemporaryDirectory() as folder:
        price = latencies(model, LayerTimes("cpu", threads, Path(folder)).of, step)
    name, layer = max(price.layers.items(), key=lambda one: min(max(w) for w in (*one[1].widths, (0,))[:2]))
    widths = [n for n in layer.widths[0] if len(layer.widths) == 2 and n in layer.widths[1]]
    return f"{name}: " + ", ".join(f"{n} channels {1e3 * layer.at((n, n)):.1f} us" for n in widths)


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--step", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    facts = environment()
    print(f"{facts['cpu']}, {facts['simd']}, onnxruntime {facts['onnxruntime']}, {given.threads} thread(s), batch 1\n")
    print(
        "| network | layers | measured | seconds | sum of layers, ms | network, ms | ratio |\n|---|---|---|---|---|---|---|"
    )
    for path in given.models:
        print(row(path, given.step, given.threads), flush=True)
    print()
    for path in given.models:
        print(f"- {path.stem}, {stairs(path, given.step, given.threads)}", flush=True)


if __name__ == "__main__":
    main()
