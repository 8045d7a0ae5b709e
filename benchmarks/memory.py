"""How much memory `inspect` and `compact` need for a model beyond 2 GB: docs/memory.md.

    python benchmarks/memory.py --gigabytes 2.5 --out docs/memory.md

A model of that size with external data is written to the work folder (and deleted afterwards): two convolutions, Gemm and
MatMul layers of one width, one weight behind a Transpose as exporters leave it; a quarter of each layer's channels is dead.
Both commands then run in processes of their own, whose /proc/PID/status is read every 20 ms: *anonymous* memory is what
the process itself holds, *resident* is that and the pages of mapped files, which the system may take back at any time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

LAYERS = 8
"""Layers of the common width; width squared times as many is the size."""
IMAGE = 4
"""Height and width of the input."""


@dataclass(frozen=True)
class Peak:
    """What one command needed."""

    command: str
    code: int
    """Exit code."""
    seconds: float
    anonymous: int
    """Most anonymous memory, bytes."""
    resident: int
    """Most resident memory, mapped files with it, bytes."""


def limit(largest: int) -> float:
    """What the commands may need at most, in bytes, given the bytes of the largest tensor."""
    return 1.5 * largest + 1e9


def write_model(path: Path, size: float) -> int:
    """A classifier of about `size` bytes of float32 weights with external data; returns the bytes of its largest tensor."""
    width = int((size / 4 / LAYERS) ** 0.5) // 16 * 16
    shapes = {"conv0": (width // 8, 3, 3, 3), "conv1": (width // 8, width // 8, 3, 3), "wide": (width, width // 8)}
    shapes |= {f"w{k}": (width, width) for k in range(LAYERS)} | {"head": (10, width)}
    nodes = [
        helper.make_node("Conv", ["x", "conv0"], ["a0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a0"], ["a1"]),
        helper.make_node("Conv", ["a1", "conv1"], ["a2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a2"], ["a3"]),
        helper.make_node("GlobalAveragePool", ["a3"], ["a4"]),
        helper.make_node("Flatten", ["a4"], ["a5"]),
        helper.make_node("Gemm", ["a5", "wide"], ["h0"], transB=1),
    ]
    for k in range(LAYERS):
        nodes += layer(k)
    nodes += [helper.make_node("Gemm", [f"h{LAYERS}", "head"], ["y"], transB=1)]
    rng = np.random.default_rng(0)
    initializers = []
    with path.with_name(f"{path.name}.data").open("wb") as file:
        for name, shape in shapes.items():
            initializers.append(external(name, shape, file.tell(), f"{path.name}.data"))
            write_rows(file, shape, rng, dead=name != "head", turned=name in turned())
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3, IMAGE, IMAGE]), ("y", ["N", 10]))
    )
    graph = helper.make_graph(nodes, "large", [image], [scores], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return 4 * max(int(np.prod(shape)) for shape in shapes.values())


def turned() -> set[str]:
    """The weights that are stored as (in, out): of MatMul; one more is turned by a Transpose."""
    return {f"w{k}" for k in range(1, LAYERS, 2) if k != 3}


def layer(k: int) -> list[onnx.NodeProto]:
    """Gemm or MatMul, the latter once behind a Transpose, and Relu."""
    weight, nodes = f"w{k}", []
    if k == 3:
        nodes, weight = [helper.make_node("Transpose", [weight], ["t3"], perm=[1, 0])], "t3"
    how = {"transB": 1} if k % 2 == 0 else {}
    nodes += [helper.make_node("MatMul" if k % 2 else "Gemm", [f"h{k}", weight], [f"g{k}"], **how)]
    return [*nodes, helper.make_node("Relu", [f"g{k}"], [f"h{k + 1}"])]


def external(name: str, shape: tuple[int, ...], offset: int, location: str) -> TensorProto:
    """A tensor whose data lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": 4 * int(np.prod(shape))}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def write_rows(file, shape, rng, dead: bool, turned: bool) -> None:
    """Random weights, row by row of the stored tensor, every fourth output zero where some are to be dead."""
    spread = np.float32((2 / np.prod(shape[1:])) ** 0.5)
    lines = max(1, (1 << 24) // int(np.prod(shape[1:])))
    for start in range(0, shape[0], lines):
        block = rng.standard_normal((min(lines, shape[0] - start), *shape[1:]), np.float32) * spread
        if dead and turned:
            block[:, ::4] = 0
        elif dead:
            block[-start % 4 :: 4] = 0
        block.tofile(file)


def measured(arguments: list[str]) -> Peak:
    """Run a command of seam-onnx and watch its memory."""
    start, most = time.perf_counter(), {"RssAnon": 0, "VmHWM": 0}
    with subprocess.Popen([sys.executable, "-m", "seam_onnx_cli", *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for key, kilobytes in status(process.pid).items():
                most[key] = max(most.get(key, 0), kilobytes)
            time.sleep(0.02)
    seconds = round(time.perf_counter() - start, 1)
    return Peak(arguments[0], process.returncode, seconds, most["RssAnon"] * 1024, most["VmHWM"] * 1024)


def status(pid: int) -> dict[str, int]:
    """RssAnon and VmHWM of a process in kB, as far as it still lives."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: int(line.split()[1]) for line in lines for key in [line.split(":")[0]] if key in ("RssAnon", "VmHWM")}


def same(before: Path, after: Path) -> float:
    """Largest difference of the two models' outputs, of their range, by onnxruntime."""
    import onnxruntime as ort

    x = np.random.default_rng(1).standard_normal((2, 3, IMAGE, IMAGE)).astype(np.float32)
    a, b = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for path in (before, after)
    )
    return float(np.abs(a - b).max() / np.ptp(a))


def table(peaks: list[Peak], largest: int) -> str:
    """The measurements as markdown."""
    lines = ["| command | time | anonymous | resident | limit |", "|---|---|---|---|---|"]
    for p in peaks:
        bytes_ = " | ".join(f"{n / 1e9:.2f} GB" for n in (p.anonymous, p.resident, limit(largest)))
        lines.append(f"| {p.command} | {p.seconds} s | {bytes_} |")
    return "\n".join(lines) + "\n"


HEAD = """# Memory

    {command}

`inspect` and `compact` of a model with {size:.2f} GB of external data, whose largest tensor has {largest:.2f} GB and
a quarter of whose channels is dead; {pruned:.2f} GB are left. Outputs before and after differ by {gap:.0e} of their range.
*Anonymous* memory is what the process itself holds, *resident* that and the pages of mapped files, each at its highest.
Limit: 1.5 times the largest tensor plus 1 GB. The time is that of one run, process start included.

"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--work", type=Path, default=Path("build/memory"))
    parser.add_argument("--out", type=Path, help="markdown file to write")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        model, small = Path(folder) / "large.onnx", Path(folder) / "small.onnx"
        largest = write_model(model, options.gigabytes * 1e9)
        peaks = [measured(["inspect", str(model)]), measured(["compact", str(model), "-o", str(small)])]
        sizes = [sum(f.stat().st_size for f in Path(folder).glob(f"{p.name}*")) for p in (model, small)]
        gap = same(model, small)
    print(json.dumps([p.__dict__ for p in peaks], indent=1), sizes, largest, limit(largest), gap)
    if options.out:
        command = f"python benchmarks/memory.py --gigabytes {options.gigabytes} --out docs/memory.md"
        text = {"size": sizes[0] / 1e9, "largest": largest / 1e9, "pruned": sizes[1] / 1e9, "gap": gap}
        options.out.write_text(HEAD.format(command=command, **text) + table(peaks, largest))


if __name__ == "__main__":
    main()
