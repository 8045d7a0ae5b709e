"""What the search reaches on label subsets of CIFAR: one row a problem, target and method, written as a table.

    python benchmarks/subsets.py --models FOLDER --images cifar10.npz --work build/subsets --out docs/subsets.md
    python benchmarks/subsets.py ... --problems ship cat,dog --targets macs=0.1 macs=0.252 --resume --methods effect random

With --resume the first target is searched for, and the others choose among the networks that this search visited.

The .npz holds x_train, y_train, x_test, y_test, names (docs/data.md). Protocol: search on the training split; select on the
first half of the test split's images of each class (the originals have seen the training images); report on the second
half, once. A row is the JSON report of one run in the work folder: what is there is not run again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SUPERCLASSES = (
    "bicycle,bus,motorcycle,pickup_truck,train", "orchid,poppy,rose,sunflower,tulip", "bed,chair,couch,table,wardrobe",
    "bear,leopard,lion,tiger,wolf", "baby,boy,girl,man,woman",
)  # fmt: skip
"""Of CIFAR-100, five of different difficulty."""
SUBSETS = ("cat,dog", "airplane,bird,ship", "automobile,truck,ship,airplane,horse")
METHODS: dict[str, dict[str, Any]] = {
    "effect": {},
    "taylor": {"criterion": "taylor"},
    "magnitude": {"criterion": "magnitude"},
    "random": {"criterion": "random"},
    "refit only": {"recover": "fast"},
    "head only": {"target": "macs=1", "recover": "none"},
}
"""What each method changes of the defaults."""
INTRODUCTION = """Made by `benchmarks/subsets.py`, whose first lines say how: search on the training split, selection on the
first half of the test split's images of each class, accuracy on the second half, once. "Lost" is against the original
restricted to the wanted labels. Rows that are missing have not been run; those here are one seed, from commits a
little before this table. While the search was being built, trial runs on `ship`, `bird` and `cat,dog` printed
accuracies on the second half too, so these three are not untouched."""
HEADER = (
    "| model | labels | method | original: free / restricted | pruned (95 % interval) | lost, points | parameters | MACs "
    "| p50 batch 1 | p50 batch 16 | search, s |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def halves(images: Path, work: Path) -> tuple[Path, Path]:
    """The data with the second half of each class's test images, and the first half as validation."""
    data, val = work / f"{images.stem}.data.npz", work / f"{images.stem}.val.npz"
    if not (data.exists() and val.exists()):
        given = np.load(images, allow_pickle=False)
        labels = given["y_test"]
        first = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            first[places[: len(places) // 2]] = True
        names = {"names": given["names"]} if "names" in given else {}
        np.savez(val, x=given["x_test"][first], y=labels[first], **names)
        test = {"x_test": given["x_test"][~first], "y_test": labels[~first]}
        np.savez(data, x_train=given["x_train"], y_train=given["y_train"], **test, **names)
    return data, val


def run(
    model: Path, labels: str, target: str, method: str, data: Path, val: Path, work: Path, more: list[str],
    earlier: Path | None = None,
) -> Path:  # fmt: skip
    """One row; its report's path. What `more` says (key=value) is part of its name, `earlier` the report of a search."""
    import seam_onnx

    settings = {"target": target, **METHODS[method]}
    name = "_".join([model.stem, labels.replace(",", "+"), settings["target"], method.replace(" ", "-"), *more])
    if earlier is not None:
        name, settings["resume_from"] = f"{name}_resumed", earlier.with_suffix(".masks.safetensors")
    report = work / f"{name}.json"
    if not report.exists():
        extra = dict(one.split("=", 1) for one in more)
        started = time.perf_counter()
        seam_onnx.reengineer(
            model, labels=labels, data=data, output=work / f"{name}.onnx", val=val, mean=MEAN, std=STD, batches=(1, 16),
            overwrite=True, json=report, **settings, **{key: number(text) for key, text in extra.items()},
        )  # fmt: skip
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    return report


def number(text: str) -> float | int | str:
    """A setting's value."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def row(report: dict[str, Any], method: str) -> str:
    """One run as a line of the table."""
    problem, test = report["problem"], report["proof"]["test"]
    pruned, restricted, free = test["pruned"], test["restricted"], test["original"]
    interval = f"{pruned['interval']['low']:.1%} to {pruned['interval']['high']:.1%}"
    ratios = [f"{c['ratio']:.0%}" for c in report["proof"]["latency"]["comparisons"]]
    cells = (
        Path(problem["model"]).stem, ", ".join(problem["labels"]), f"{method} {report['search']['target']}",
        f"{free['value']:.2%} / {restricted['value']:.2%}", f"{pruned['value']:.2%} ({interval})",
        f"{100 * (restricted['value'] - pruned['value']):.2f}",
        f"{report['after']['params'] / report['before']['params']:.1%}",
        f"{report['after']['macs'] / report['before']['macs']:.1%}", *ratios, f"{report['search']['seconds']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def means(reports: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Mean loss and latency by method and target."""
    lines, kinds = [], dict.fromkeys((method, one["search"]["target"]) for method, one in reports)
    for kind in kinds:
        chosen = [one for method, one in reports if (method, one["search"]["target"]) == kind]
        tests = [one["proof"]["test"] for one in chosen]
        lost = np.mean([100 * (t["restricted"]["value"] - t["pruned"]["value"]) for t in tests])
        macs = np.mean([one["after"]["macs"] / one["before"]["macs"] for one in chosen])
        p50 = np.mean([one["proof"]["latency"]["comparisons"][0]["ratio"] for one in chosen])
        cost = f"{macs:.1%} of the MACs, p50 at batch 1 {p50:.0%}"
        lines.append(f"- {' '.join(kind)}, {len(chosen)} problems: {lost:.2f} points lost, {cost}")
    return lines


def main() -> None:
    """Run what is missing, and write the table after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with the .onnx files")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/subsets"))
    parser.add_argument("--out", type=Path, default=Path("docs/subsets.md"))
    parser.add_argument("--networks", nargs="+", default=["cifar10_resnet20_dynamo"])
    parser.add_argument("--problems", nargs="+", help="label lists; by default all for the network")
    parser.add_argument("--targets", nargs="+", default=["macs=0.1"])
    parser.add_argument("--methods", nargs="+", default=["effect"], choices=list(METHODS))
    parser.add_argument("--resume", action="store_true", help="targets after the first need no search of their own")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the recipe, key=value")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data, val = halves(given.images, given.work)
    reports: list[tuple[str, dict[str, Any]]] = []
    for network in given.networks:
        for labels in given.problems or (SUPERCLASSES if network.startswith("cifar100") else (*TEN, *SUBSETS)):
            for method in given.methods:
                earlier = None
                for target in given.targets if "target" not in METHODS[method] else given.targets[:1]:
                    model = given.models / f"{network}.onnx"
                    path = run(model, labels, target, method, data, val, given.work, given.set, earlier)
                    reports.append((f"{method}, resumed" if earlier else method, json.loads(path.read_text())))
                    earlier = path if given.resume and earlier is None else earlier
                    write(given.out, reports)


def write(out: Path, reports: list[tuple[str, dict[str, Any]]]) -> None:
    """The table as it stands."""
    environment = reports[0][1]["environment"]
    machine = ", ".join(
        f"{key} {environment[key]}" for key in ("cpu", "cores", "simd", "onnxruntime") if key in environment
    )
    lines = [
        "# Label subsets", "", INTRODUCTION, "", f"Machine: {machine}.", "", *means(reports), "", HEADER,
        *(row(one, method) for method, one in reports),
    ]  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
