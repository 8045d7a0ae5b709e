"""How far the tool gets on the classifiers people export: one row a model and exporter, written to docs/coverage.md.

    pip install -e .[benchmark]
    python benchmarks/coverage.py --work build/coverage                     # everything; resumes where it stopped
    python benchmarks/coverage.py --work build/coverage --models resnet18 bert --exporters default20 --again
    python benchmarks/coverage.py --work build/coverage --models --out docs/coverage.md   # the page of what there is

Each row is made in processes of its own with a time limit, and kept as JSON in the work folder. Its columns: L1 is
torch(lowered) against onnxruntime(model), L2 the same with masks, L3 onnxruntime(pruned) against onnxruntime(masked),
each the largest difference over the range of the outputs, the worst of batches 1 and 3 where the batch is dynamic; the
masks drop a random half of every group. *Gone* is the share of parameters that goes with them, embedding tables apart;
*at most* is what could go if nothing but inputs and classes were pinned: half of a weight that has the classes along an
axis or whose every channel is its own (depthwise, biases, scales), three quarters of any other, as no weight has more
than two axes of channels. *Attention* says how much of three kinds of channels is free: those that a LayerNorm or
RMSNorm combines (the residual stream), those in which queries and keys meet (in every head), and all others made by
matrix products (values, FFN). *Gradients* counts the float weights that get a finite gradient that is not all zero.
"""

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from catalogue import EXPORTERS, MODELS, export

from seam_onnx.channels import analyze
from seam_onnx.lowering import lower
from seam_onnx.model import load
from seam_onnx.surgery import apply_masks, channel_masks, plan_removal, remove_channels

LIMIT = 600
"""Seconds for one export, and for one check."""
GOOD = 1e-4
"""Largest difference that counts as equal, of the outputs' range."""
LIBRARIES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnx2torch")
"""Those whose version matters, beside onnxruntime, which is installed under several names."""
HEAD = """# Coverage

    pip install -e .[benchmark]
    python benchmarks/coverage.py --work build/coverage --out docs/coverage.md

What the columns mean is said at the top of that file; *attention* lists residual stream, queries and keys, and the rest.

"""

REMARKS = """Below 60 %: lcnet and tinynet, whose classifiers (1,000 classes, pinned) alone are so large that *at
most* is below 60 % too; and tiny_vit, a sixth of which is attention biases (heads x 196 x 196), which go with whole heads,
while these masks take half of every head. hgnet at opset 23 misses L1 and L2 because onnxruntime 1.31.1's Pad_Fusion puts a
padding with zeros into a MaxPool of values that may be negative: with `disabled_optimizers=["Pad_Fusion"]` it agrees with
its own unoptimised result, and so does torch. `prune` refuses such a file."""
"""What was found when the rows that fall short were looked into."""


def check(path: Path) -> dict[str, Any]:
    """Everything about one file."""
    torch.set_num_threads(1)
    row: dict[str, Any] = {}
    start = time.perf_counter()
    model = load(path)
    channels = analyze(model)
    row |= {"analyze_s": round(time.perf_counter() - start, 2), "nodes": model.graph.num_nodes()}
    row["blockers"] = [str(b) for b in channels.blockers if b.op != "output"]
    rng = np.random.default_rng(0)
    dead = [rng.permutation(g.channels)[: len(g.channels) // 2] for g in channels.groups]
    row |= {"groups": len(channels.groups), "free": len(channels.free)}
    row |= {"most": round(most(model), 4), "attention": attention(model, channels)}
    masks = channel_masks(model, channels, channels.without(np.concatenate([*dead, np.zeros(0, np.int64)])))
    masked = apply_masks(model, masks)
    pruned = remove_channels(masked, plan_removal(masked, analyze(masked)))
    row["gone"] = round(1 - weights(pruned) / weights(model), 4)
    row["L3"] = worst(run(masked, x) + run(pruned, x) for x in inputs(model))
    module = lower(model)
    with torch.no_grad():
        row["L1"] = worst((*run(model, x), tensor(module, x)) for x in inputs(model))
        if row["L1"] > GOOD:
            row["plain"] = worst((*run(model, x, plain=True), tensor(module, x)) for x in inputs(model))
            row["itself"] = worst(run(model, x, plain=True) + run(model, x) for x in inputs(model))
        for name, mask in masks.masks.items():
            if name in module.weights:
                module.weights[name].mul_(torch.from_numpy(np.array(mask)))
        module.combine(masks)
        row["L2"] = worst((*run(masked, x), tensor(module, x)) for x in inputs(model))
    row["gradients"] = gradients(model, inputs(model)[0])
    row["seconds"] = round(time.perf_counter() - start, 1)
    return row


def shapes(model: Any) -> list[tuple[int, ...]]:
    """Shapes of the float parameters, without tables that are looked up by data."""
    tables = {n.inputs[0].name for n in model.graph if n.op_type == "Gather" and n.inputs[1].const_value is None}
    tensors = [v.const_value for k, v in model.initializers.items() if k not in tables and v.const_value is not None]
    return [tuple(t.shape.numpy()) for t in tensors if t.dtype.is_floating_point()]


def weights(model: Any) -> int:
    """Number of float parameters."""
    return sum(math.prod(shape) for shape in shapes(model))


def most(model: Any) -> float:
    """The share of parameters that half widths can take at most, see above."""
    classes = model.shapes[model.graph.outputs[0]][-1]
    single = [math.prod(s) for s in shapes(model) if classes in s or len(s) < 2 or 1 in s[:2]]
    return 0.75 - 0.25 * sum(single) / weights(model)


def attention(model: Any, channels: Any) -> list[float]:
    """Free shares of the residual stream, of queries and keys, and of the rest; nothing where no queries meet keys."""
    if not channels.meetings:
        return []
    norms = {n.name for n in model.graph if n.op_type in ("LayerNormalization", "RMSNormalization")}
    products = {n.name for n in model.graph if n.op_type in ("MatMul", "Gemm")}
    outputs = [channels.labels.get(v.name, np.zeros(1, int)) for v in model.graph.outputs]
    stream = joined(mix.labels for mix in channels.mixes if mix.node in norms)
    heads = joined(meeting.labels for meeting in channels.meetings)
    made = joined(labels for (node, _), labels in channels.made.items() if node in products)
    rest = np.setdiff1d(made, np.concatenate([stream, heads, joined(outputs)]))
    return [round(float((channels.roots[kind] > 0).mean()), 4) if len(kind) else 1.0 for kind in (stream, heads, rest)]


def joined(parts: Any) -> Any:
    """Labels, each once."""
    return np.unique(np.concatenate([np.zeros(0, int), *(np.reshape(part, -1) for part in parts)]))


def inputs(model: Any) -> list[Any]:
    """A random input of batch 1, and of batch 3 where the batch is dynamic."""
    (value,) = model.graph.inputs
    dims, rng = model.shapes[value], np.random.default_rng(0)
    batches = [dims[0]] if isinstance(value.shape[0], int) else [1, 3]
    whole = not value.dtype.is_floating_point()
    made = [rng.integers(3, 1000, (b, *dims[1:])) if whole else rng.standard_normal((b, *dims[1:])) for b in batches]
    return [array.astype(value.dtype.numpy()) for array in made]


def run(model: Any, x: Any, *, plain: bool = False) -> tuple[Any]:
    """The first output by onnxruntime, which leaves the graph as it is where `plain`."""
    options = ort.SessionOptions()
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    content = ir.to_proto(model.proto).SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return (session.run(None, {session.get_inputs()[0].name: x})[0],)


def tensor(module: Any, x: Any) -> Any:
    """The module's output as an array."""
    return module(torch.from_numpy(x)).numpy()


def worst(pairs: Any) -> float:
    """Largest difference over the range of the first, over all pairs."""
    gaps = [float(abs(a - b).max() / (a.max() - a.min() + 1e-30)) for a, b in pairs]
    return max(gaps)


def gradients(model: Any, x: Any) -> str:
    """How many float weights (scalars and stored statistics apart) get a finite gradient that is not zero everywhere."""
    module = lower(model)
    y = module(torch.from_numpy(x))
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    stored = {v.name for n in model.graph if n.op_type == "BatchNormalization" for v in n.inputs[3:5]}
    given = {n: p.grad for n, p in module.weights.items() if n not in stored and p.numel() > 1}
    good = [n for n, g in given.items() if g is not None and bool(torch.isfinite(g).all()) and bool(g.any())]
    return f"{len(good)}/{len(given)}"


def step(limit: int, task: Callable[..., None], *arguments: Any) -> str:
    """Run a function in a process of its own, forked from this one; why it failed, or nothing."""
    forks = multiprocessing.get_context("fork")
    receiver, sender = forks.Pipe(duplex=False)
    child = forks.Process(target=attempt, args=(sender, task, arguments))
    child.start()
    sender.close()
    try:
        message = str(receiver.recv()) if receiver.poll(limit) else f"took more than {limit} s"
    except EOFError:
        message = "the process broke off"
    child.kill()
    child.join()
    return message


def attempt(sender: Any, task: Callable[..., None], arguments: Sequence[Any]) -> None:
    """What such a process does; nobody reads what libraries print."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        task(*arguments)
        sender.send("")
    except Exception as error:
        sender.send(f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no message'}")


def make_row(work: Path, name: str, exporter: str, again: bool) -> dict[str, Any]:
    """Export if need be, check, and keep the row."""
    file, path = work / "models" / f"{name}.{exporter}.onnx", work / "rows" / f"{name}.{exporter}.json"
    if path.exists() and not again:
        return dict(json.loads(path.read_text()))
    row: dict[str, Any] = {"model": name, "library": MODELS[name].library, "exporter": exporter}
    failure = "" if file.exists() else step(LIMIT, export, name, exporter, str(file))
    if failure:
        row["refused"] = f"export: {failure}"
    elif failure := step(LIMIT, keep_check, file, path):
        row["refused"] = failure
    else:
        row |= json.loads(path.read_text())
    path.write_text(json.dumps(row, indent=1))
    return row


def keep_check(file: Path, path: Path) -> None:
    """Check a file and write down what came out."""
    path.write_text(json.dumps(check(file)))


def verdict(row: dict[str, Any]) -> str:
    """ok, or what fails."""
    bad = [k for k in ("L1", "L2", "L3") if not row.get(k, 9) <= GOOD]
    return "refused" if "refused" in row else ("ok" if not bad else ", ".join(bad))


def table(rows: list[dict[str, Any]]) -> str:
    """The page: rows, their average, what goes least, and the reasons of what was pinned or refused."""
    done = [r for r in rows if "refused" not in r]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    versions += f", onnxruntime {ort.__version__}"
    titles = ["model", "exporter", "L1", "L2", "L3", "gone", "at most", "attention", "gradients", "result"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for r in rows:
        laws = [f"{r[k]:.0e}" if k in r else "" for k in ("L1", "L2", "L3")]
        shares = [f"{r[k]:.1%}" if k in r else "" for k in ("gone", "most")]
        free = " ".join(f"{share:.0%}" for share in r.get("attention", ()))
        cells = [r["model"], r["exporter"], *laws, *shares, free, r.get("gradients", ""), verdict(r)]
        lines.append(f"| {' | '.join(cells)} |")
    good = sum(verdict(r) == "ok" for r in rows)
    average = sum(r["gone"] for r in done) / max(1, len(done))
    least, above = min((r["gone"] for r in done), default=0), sum(r["gone"] >= 0.6 for r in done)
    lines += [
        "",
        f"Made with {versions}.",
        "",
        f"{len(rows)} of {len(MODELS) * len(EXPORTERS)} rows have been made; {good} hold all laws; "
        f"on average {average:.1%} of the parameters go, "
        f"the least is {least:.1%}, at least 60 % go on {above}.",
        "",
    ]
    lines += [REMARKS, ""]
    for r in rows:
        reasons = [r["refused"]] if "refused" in r else list(r["blockers"])
        if "itself" in r:
            reasons.insert(
                0,
                f"onnxruntime's optimised graph is {r['itself']:.0e} from its own unoptimised one, torch {r['plain']:.0e}",
            )
        lines += [f"- **{r['model']}, {r['exporter']}**: {'; '.join(reasons[:6])}"] if reasons else []
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/coverage"))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--exporters", nargs="*", default=list(EXPORTERS), choices=EXPORTERS)
    parser.add_argument("--again", action="store_true", help="check again what has a row")
    parser.add_argument("--out", type=Path, help="markdown file to write")
    sweep(parser.parse_args())


def sweep(options: argparse.Namespace) -> None:
    """Make the rows asked for, one after the other, and the page of all that there are."""
    for folder in ("models", "rows"):
        (options.work / folder).mkdir(parents=True, exist_ok=True)
    for name in options.models:
        for exporter in options.exporters:
            row = make_row(options.work, name, exporter, options.again)
            shown = {key: row.get(key) for key in ("L1", "L2", "L3", "gone", "refused")}
            print(name, exporter, verdict(row), shown, flush=True)
    if options.out:
        options.out.write_text(table(kept(options.work)))


def kept(work: Path) -> list[dict[str, Any]]:
    """The rows that have been made, in the catalogue's order."""
    paths = [work / "rows" / f"{name}.{exporter}.json" for name in MODELS for exporter in EXPORTERS]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


if __name__ == "__main__":
    main()
