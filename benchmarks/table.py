"""Rows of the README's table from the JSON reports of `seam-onnx prune`.

python benchmarks/table.py report.json [report.json ...]
"""

import json
import sys
from pathlib import Path
from typing import Any

HEADER = (
    "| model, labels | search | accuracy: original free / restricted / pruned (test) | parameters | MACs "
    "| p50 ratio: {batches} | search time |\n|---|---|---|---|---|---|---|"
)


def percent(accuracy: dict[str, Any]) -> str:
    """Accuracy with its interval."""
    low, high = accuracy["interval"]["low"], accuracy["interval"]["high"]
    return f"{accuracy['value']:.2%} ({low:.1%} to {high:.1%})"


def row(report: dict[str, Any]) -> str:
    """One run."""
    problem, search, proof = report["problem"], report["search"], report["proof"]
    test, before, after = proof["test"], report["before"], report["after"]
    accuracies = f"{test['original']['value']:.2%} / {percent(test['restricted'])} / {percent(test['pruned'])}"
    ratios = ", ".join(
        f"{c['ratio']:.2f} ({c['interval']['low']:.2f} to {c['interval']['high']:.2f})"
        for c in proof["latency"]["comparisons"]
    )
    how = (
        f"{search['granularity']} {search['target']}".strip()
        + f", {search['recipe']['epochs']:g} epochs, seed {search['recipe']['seed']}"
    )
    kept = f", mask keeps {search['kept']:.1%}" if search["granularity"] == "weight" else ""
    cells = (
        f"{Path(problem['model']).name}, {', '.join(problem['labels'])}",
        how + kept,
        accuracies,
        f"{after['params'] / before['params']:.1%}",
        f"{after['macs'] / before['macs']:.1%}",
        ratios,
        f"{search['seconds']:.0f} s on {search['device']}",
    )
    return "| " + " | ".join(cells) + " |"


def main(paths: list[str]) -> None:
    """Print the table."""
    reports = [json.loads(Path(path).read_text()) for path in paths]
    batches = [c["batch"] for c in reports[0]["proof"]["latency"]["comparisons"]]
    print(HEADER.format(batches=", ".join(f"batch {b}" for b in batches)))
    for report in reports:
        print(row(report))


if __name__ == "__main__":
    main(sys.argv[1:])
