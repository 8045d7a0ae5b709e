"""What the peers remove from the models of `coverage.py`, half of every width asked for: docs/peers.md.

    pip install -e .[benchmark] onnxsim==0.8.1 torch-pruning==1.6.1
    python benchmarks/coverage.py --work build/coverage                    # the exports, and this tool's rows
    python benchmarks/peers.py --work build/coverage --out docs/peers.md   # resumes where it stopped

**onnxsim** gets each exported file: `apply_structured_pruning` and `apply_attention_head_pruning` at sparsity 0.5, on the
file as exported and on what `simplify` makes of it; of the two results that still run the smaller one counts. It says
nothing about which channels went, so there is no masked model to compare outputs with: *runs* means that onnxruntime gives
finite outputs of the same shape. **Torch-Pruning** gets the torch module that was exported: `MagnitudePruner` at ratio
0.5, the last layer ignored, no hints about heads or unwrapped parameters; *runs* means that the module does, at batch 1.

*Gone* is counted as `coverage.weights` does: float parameters and stored statistics, embedding tables apart, of what the
peer was given (of the simplified file, where that was it). Every row is made in a process of its own with a time limit.
"""

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from catalogue import EXPORTERS, MODELS, original
from coverage import inputs, run, step, weights
from torch import nn

from seam_onnx.model import load

LIMIT = 900
"""Seconds for one row."""
RATIO = 0.5
TORCH = "torch"
"""Stands for the exporter where there is none."""
LAWS = ("L1", "L2", "L3")
PEERS = ("seam-onnx", "onnxsim", "Torch-Pruning")


def simplified(path: Path) -> dict[str, Any]:
    """Row of onnxsim on one file."""
    from onnxsim import apply_attention_head_pruning, apply_structured_pruning, simplify

    rows = []
    for first in ("simplify", "as exported"):
        row: dict[str, Any] = {"input": first}
        try:
            given = simplify(onnx.load(path))[0] if first == "simplify" else onnx.load(path)
            before = onnx.ModelProto.FromString(given.SerializeToString())  # the peer may edit in place
            pruned = apply_attention_head_pruning(apply_structured_pruning(given, RATIO), RATIO)
            rows.append(row | compared(before, pruned, path.parent))
        except Exception as error:
            rows.append(row | {"error": headline(error)})
    return min(rows, key=lambda row: ("error" in row, -row.get("gone", 0.0)))


def compared(before: Any, after: Any, folder: Path) -> dict[str, Any]:
    """Share of the parameters gone between two ONNX messages; raises where the second does not run as the first does."""
    old, new = (reloaded(message, folder) for message in (before, after))
    for x in inputs(old):
        (expected,), (found,) = run(old, x), run(new, x)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise ValueError(f"output {found.shape} instead of {expected.shape}, or not finite")
    return {"gone": round(1 - weights(new) / weights(old), 4)}


def reloaded(message: Any, folder: Path) -> Any:
    """A message as this project's `load` gives it for a file with this content."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "model.onnx"
        path.write_bytes(message.SerializeToString())
        return load(path)


def torch_pruned(name: str) -> dict[str, Any]:
    """Row of Torch-Pruning on one torch module."""
    import torch_pruning as tp

    torch.set_num_threads(1)
    model, x = original(name).eval(), MODELS[name].example(1)
    before, expected = numbers(model), model(x).shape
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    pruner = tp.pruner.MagnitudePruner(
        model, x, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=RATIO, ignored_layers=[last]
    )
    pruner.step()
    gone = round(1 - numbers(model) / before, 4)
    try:
        with torch.no_grad():
            found = model(x).shape
    except Exception as error:
        return {"gone": gone, "error": f"afterwards: {headline(error)}"}
    return {"gone": gone} if found == expected else {"error": f"output {tuple(found)} instead of {tuple(expected)}"}


def numbers(model: Any) -> int:
    """Float parameters and stored statistics of a torch module, embedding tables apart."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()}
    return sum(t.numel() for key, t in tensors.items() if key not in tables)


def headline(error: BaseException) -> str:
    """Type and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:120]}" if text else type(error).__name__


def make_row(work: Path, name: str, exporter: str) -> dict[str, Any]:
    """The peer's row on one file, or on the module; made in a process of its own unless there is one."""
    path = work / "peers" / f"{name}.{exporter}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    row: dict[str, Any] = {"model": name, "exporter": exporter}
    if failure := step(LIMIT, keep_row, work, name, exporter, path):
        row["error"] = failure
    else:
        row |= json.loads(path.read_text())
    path.write_text(json.dumps(row, indent=1))
    return row


def keep_row(work: Path, name: str, exporter: str, path: Path) -> None:
    """Ask the peer and write down what came out."""
    row = torch_pruned(name) if exporter == TORCH else simplified(work / "models" / f"{name}.{exporter}.onnx")
    path.write_text(json.dumps(row))


def collected(work: Path, exporters: list[str]) -> list[dict[str, Any]]:
    """What exists, one record a model and exporter with the row of each of `PEERS`."""
    found = []
    for name in MODELS:
        for exporter in exporters:
            paths = {
                "seam-onnx": work / "rows" / f"{name}.{exporter}.json",
                "onnxsim": work / "peers" / f"{name}.{exporter}.json",
                "Torch-Pruning": work / "peers" / f"{name}.{TORCH}.json",
            }
            rows = {peer: json.loads(path.read_text()) for peer, path in paths.items() if path.exists()}
            if "onnxsim" in rows:
                found.append({"model": name, "exporter": exporter} | rows)
    return found


def share(row: dict[str, Any] | None) -> float | None:
    """What went, if the model still runs (and, in our rows, all laws hold); None where it does not."""
    if row is None or "error" in row or "refused" in row or any(not row.get(k, 0.0) <= 1e-4 for k in LAWS):
        return None
    return float(row["gone"])


def table(records: list[dict[str, Any]]) -> str:
    """The records as markdown, the means, and what stopped a peer."""
    lines = ["| model | exporter | seam-onnx | onnxsim | Torch-Pruning |", "|---|---|---|---|---|"]
    for r in records:
        lines.append(f"| {r['model']} | {r['exporter']} | {' | '.join(cell(r.get(peer)) for peer in PEERS)} |")
    lines += ["", "| on average | models | run | gone where it runs | gone, 0 where it does not | at least 20 % |"]
    lines += ["|---|---|---|---|---|---|"]
    for peer in PEERS:
        for exporter in dict.fromkeys(r["exporter"] for r in records) if peer != "Torch-Pruning" else [TORCH]:
            rows = {r["model"]: r[peer] for r in records if peer in r and exporter in (r["exporter"], TORCH)}
            lines += [average(f"{peer}, {exporter}", [share(row) for row in rows.values()])]
    return "\n".join([*lines, "", *reasons(records)]) + "\n"


def reasons(records: list[dict[str, Any]]) -> list[str]:
    """What stopped a peer, by peer and model."""
    stopped = [(peer, r) for peer in PEERS for r in records if "error" in r.get(peer, {})]
    return list(dict.fromkeys(f"- {peer}, {r['model']}{where(r, peer)}: {r[peer]['error']}" for peer, r in stopped))


def where(record: dict[str, Any], peer: str) -> str:
    """The exporter, for a peer that read its file."""
    return "" if peer == "Torch-Pruning" else f", {record['exporter']}"


def cell(row: dict[str, Any] | None) -> str:
    """One entry of the table."""
    gone = share(row)
    return "" if row is None else "fails" if gone is None else f"{gone:.0%}"


def average(what: str, shares: list[float | None]) -> str:
    """One line of the second table."""
    good = [s for s in shares if s is not None]
    mean, whole = (sum(good) / max(1, n) for n in (len(good), len(shares)))
    far = sum(s >= 0.2 for s in good)
    return f"| {what} | {len(shares)} | {len(good)} | {mean:.1%} | {whole:.1%} | {far} |"


HEAD = """# Beside its peers

    pip install -e .[benchmark] onnxsim=={onnxsim} torch-pruning=={torch}
    python benchmarks/coverage.py --work build/coverage
    python benchmarks/peers.py --work build/coverage --out docs/peers.md

Share of the parameters that goes when half of every width is asked for; `fails`: the model does not run afterwards (or,
for seam-onnx, a law of [coverage.md](coverage.md) does not hold). How each peer is called, and what is counted, is said at
the top of `benchmarks/peers.py`. onnxsim {onnxsim} reads the same files, Torch-Pruning {torch} the torch modules that were
exported. Only seam-onnx's result is compared with a masked model; no accuracy is compared here, the weights are random.
Of Torch-Pruning's failures, swin_t was ended by the kernel when it held 24.3 GB, all that the machine has; maxvit_t and
coatnet were stopped after 900 s, in which memory was short as well. With more of both they may run.

"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/coverage"), help="the work folder of coverage.py")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--exporters", nargs="*", default=list(EXPORTERS), choices=EXPORTERS)
    parser.add_argument("--out", type=Path, help="markdown file to write")
    options = parser.parse_args()
    (options.work / "peers").mkdir(parents=True, exist_ok=True)
    for name in options.models:
        for exporter in (TORCH, *options.exporters):
            if exporter == TORCH or (options.work / "models" / f"{name}.{exporter}.onnx").exists():
                print(name, exporter, make_row(options.work, name, exporter), flush=True)
    if options.out:
        write(options.out, collected(options.work, options.exporters))


def write(out: Path, records: list[dict[str, Any]]) -> None:
    """The document, with the versions that are installed."""
    head = HEAD.format(onnxsim=version("onnxsim"), torch=version("torch-pruning"))
    out.write_text(head + table(records))


if __name__ == "__main__":
    main()
