"""What does a search towards a latency gain by paying with milliseconds of layers, rather than multiply-adds?

    python benchmarks/prices.py models/digits/model.onnx --data models/digits/data.npz --labels 0-4 --target latency=0.5

Prints a row a price, width step and seed: the ratio that the full timing found, accuracy on validation (which chose), MACs.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import seam_onnx


def row(given: argparse.Namespace, price: str, step: str, seed: int, folder: Path) -> str:
    """One prune."""
    more: dict[str, Any] = dict(one.split("=", 1) for one in given.set)
    report = seam_onnx.reengineer(
        given.model, given.labels, given.data, folder / "small.onnx", target=given.target, price=price, width_step=step,
        seed=seed, overwrite=True, **more,
    )  # fmt: skip
    one, val = report.proof.latency.comparisons[0], report.proof.val
    cells = (
        price, step, seed, f"{one.ratio:.1%} ({one.interval.low:.1%} to {one.interval.high:.1%})", report.search.met,
        f"{val.pruned.value:.2%} of {val.pruned.total}", f"{report.after.macs / report.before.macs:.1%}",
        f"{report.search.seconds:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--target", default="latency=0.5")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", nargs="+", default=["8", "16"])
    parser.add_argument("--set", nargs="*", default=[], help="settings of the recipe, key=value")
    given = parser.parse_args()
    print("| price | widths | seed | p50 ratio | target met | accuracy, validation | MACs | search, s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            for step in given.steps:
                for price in ("latency", "macs"):
                    print(row(given, price, step, seed, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
