"""What the search reaches on label subsets of CIFAR: one row a problem, target and method, written as a table.

    python benchmarks/subsets.py --models FOLDER --images cifar10.npz --work build/subsets --out docs/subsets.md
    python benchmarks/subsets.py ... --problems ship cat,dog --targets macs=0.1 macs=0.252 --resume --methods effect random
    python benchmarks/subsets.py ... --methods effect scratch Torch-Pruning onnxsim --only-table

With --resume the first target is searched for, and the others begin with the networks that this search visited.
`scratch` (controls.py) needs the row of `effect`; `onnxsim` (rivals.py) and `Torch-Pruning` (torch_pruned.py) need
`pip install -e .[benchmark] onnxsim==0.8.1 torch-pruning==1.6.1`. With --only-table nothing is run: the rows
that are there go into the table.

The .npz holds x_train, y_train, x_test, y_test, names (docs/data.md). Protocol: search on the training split; select on the
first half of the test split's images of each class (the originals have seen the training images); report on the second
half, once. A row is the JSON report of one run in the work folder: what is there is not run again. As soon as it is done it
goes into the table, where the page around it stays as it is, and into the .csv beside it, where rows of other runs and
machines stay.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import subset_rows
from page import put

from seam_onnx.hyperparameters import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SUPERCLASSES = (
    "bicycle,bus,motorcycle,pickup_truck,train", "orchid,poppy,rose,sunflower,tulip", "bed,chair,couch,table,wardrobe",
    "bear,leopard,lion,tiger,wolf", "baby,boy,girl,man,woman",
)  # fmt: skip
"""Of CIFAR-100, five of different difficulty."""
SUBSETS = ("cat,dog", "airplane,bird,ship", "automobile,truck,ship,airplane,horse")
CONTROLS = ("scratch", "onnxsim", "Torch-Pruning")
"""Methods that are no searches, see `made`."""
METHODS: dict[str, dict[str, Any]] = {
    "effect": {},
    "taylor": {"criterion": "taylor"},
    "gates": {"criterion": "gates"},
    "magnitude": {"criterion": "magnitude"},
    "random": {"criterion": "random"},
    "regrowth": {"regrow": 0.3},
    "refit only": {"recover": "fast"},
    "head only": {"target": "macs=1", "recover": "none"},
    **{key: {} for key in CONTROLS},
}
"""What each method changes of the defaults."""


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
    settings = {"target": target, **METHODS[method]}
    report = place(model, labels, settings["target"], method, work, more, resumed=earlier is not None)
    if earlier is not None:
        settings["resume_from"] = earlier.with_suffix(".masks.safetensors")
    if not report.exists():
        extra = dict(one.split("=", 1) for one in more)
        started = time.perf_counter()
        asked = dict(
            model=model, labels=labels, data=data, output=report.with_suffix(".onnx"), val=val, mean=MEAN, std=STD,
            batches=(1, 16), overwrite=True, **settings, **{key: number(text) for key, text in extra.items()},
        )  # fmt: skip
        made(method, asked, report, found(model, labels, target, "effect", work, more))
        print(f"{report.stem}: {time.perf_counter() - started:.0f} s", flush=True)
    return report


def place(
    model: Path, labels: str, target: str, method: str, work: Path, more: list[str], *, resumed: bool = False
) -> Path:  # fmt: skip
    """Where a row's report is or goes."""
    parts = [model.stem, labels.replace(",", "+"), target, method.replace(" ", "-"), *more, *["resumed"] * resumed]
    return work / f"{'_'.join(parts).replace('/', '-')}.json"


def found(model: Path, labels: str, target: str, method: str, work: Path, more: list[str]) -> Path | None:
    """The row of a method, with or without a search of its own, if there is one."""
    paths = [place(model, labels, target, method, work, more, resumed=resumed) for resumed in (False, True)]
    return next((path for path in paths if path.exists()), None)


def made(method: str, asked: dict[str, Any], report: Path, searched: Path | None) -> None:
    """Make a row: what is asked for, by a method, to a report; `searched` is the row of the default search."""
    import seam_onnx

    if method in ("onnxsim", "Torch-Pruning"):
        report.write_text(json.dumps(foreign(method, asked), indent=1))
        return
    if method == "scratch":
        from controls import from_scratch

        if searched is None:
            raise SystemExit(f"{report.stem}: make the row of method effect first")
        asked |= from_scratch(searched.with_suffix(".masks.safetensors"), report.with_suffix(".random"), asked)
    seam_onnx.reengineer(**asked, json=report)


def foreign(method: str, asked: dict[str, Any]) -> dict[str, Any]:
    """A peer's row."""
    from rivals import foreign_row, onnxsim

    if method == "onnxsim":
        return foreign_row(onnxsim, asked)
    from torch_pruned import torch_pruning

    return foreign_row(torch_pruning, asked)


def number(text: str) -> float | int | str:
    """A setting's value."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


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
    parser.add_argument("--resume", action="store_true", help="targets after the first begin with what it visited")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the recipe, key=value")
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    write(given.out, None)
    for path, method in present(given) if given.only_table else runs(given):
        training = training_of(method.removesuffix(", resumed"), given.set)
        write(given.out, subset_rows.row_of(json.loads(path.read_text()), method, training))


def training_of(method: str, more: list[str]) -> str:
    """How a method trains, with what `more` says (key=value): `muon, 80 epochs`."""
    asked = METHODS[method] | {key: number(text) for key, _, text in (one.partition("=") for one in more)}
    known = {field.name for field in fields(Recipe)}
    recipe = Recipe(**{key: value for key, value in asked.items() if key in known})
    return f"{recipe.optimizer}, {recipe.epochs:g} epochs"


def rows(given: argparse.Namespace) -> Iterator[tuple[Path, str, str, str]]:
    """What is asked for: model, labels, method, target."""
    for network in given.networks:
        problems = given.problems or (SUPERCLASSES if network.startswith("cifar100") else (*TEN, *SUBSETS))
        for labels, method in product(problems, given.methods):
            for target in given.targets if "target" not in METHODS[method] else given.targets[:1]:
                yield given.models / f"{network}.onnx", labels, method, METHODS[method].get("target", target)


def present(given: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """The rows that are there, with their methods."""
    for model, labels, method, target in rows(given):
        if (path := found(model, labels, target, method, given.work, given.set)) is not None:
            yield path, f"{method}, resumed" if path.stem.endswith("_resumed") else method


def runs(given: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """The rows, made where they are missing; with --resume one search serves all targets of a problem and method."""
    data, val = halves(given.images, given.work)
    first: dict[tuple[Path, str, str], Path] = {}
    for model, labels, method, target in rows(given):
        earlier = first.get((model, labels, method))
        path = run(model, labels, target, method, data, val, given.work, given.set, earlier)
        if given.resume and method not in CONTROLS:
            first.setdefault((model, labels, method), path)
        yield path, f"{method}, resumed" if earlier else method


def order(row: subset_rows.Row) -> tuple[Any, ...]:
    """Where a row stands: by network, problem, method, target, training and machine; what is not in the lists comes last."""
    labels = row.labels.removesuffix(", other").replace(", ", ",")
    method = row.method.removesuffix(", resumed")
    lists = ((*TEN, *SUBSETS, *SUPERCLASSES), labels), (METHODS, method)
    places = [[*listed, one].index(one) for listed, one in lists]
    target = row.target.startswith("latency"), row.target
    return "cifar100" in row.model, row.model, *places, target, row.method, row.training, row.machine


def write(out: Path, row: subset_rows.Row | None) -> None:
    """Add a row to those kept beside the table, and write the table as it stands."""
    kept = out.with_suffix(".csv")
    rows = subset_rows.merged(subset_rows.read(kept), [row] if row else [], order)
    subset_rows.write(kept, rows)
    put(out, subset_rows.tables(rows))


if __name__ == "__main__":
    main()
