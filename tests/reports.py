"""A small report with a foreign name in every place that takes one, and a reader of pages."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from seam_onnx.gates import Gate, GateResult, Limit
from seam_onnx.progress import Point
from seam_onnx.report import (
    COMPARISON_VERSION,
    SCHEMA_VERSION,
    Accuracies,
    ModelComparison,
    ParetoPoint,
    Problem,
    Proof,
    Report,
    Search,
    Size,
)
from seam_onnx.surgery import Inheritance
from seam_onnx.validate import (
    Accuracy,
    Comparison,
    Interval,
    Latency,
    Paired,
    Parity,
    Timing,
    paired,
    wilson,
)

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
EVIL = "<script>alert('&')</script>"
NAN = float("nan")


def right(correct: int, total: int = 200) -> Accuracy:
    return Accuracy(correct, total, wilson(correct, total))


def timed(model: str, batch: int, median: float) -> Timing:
    samples = tuple(float(x) for x in median * np.random.default_rng(batch).lognormal(0, 0.1, 60))  # of 10 openings
    p50, p90, p95, p99 = (float(x) for x in np.percentile(samples, (50, 90, 95, 99)))
    return Timing(model, batch, "cpu", 1, 100, True, 10, 3, p50, p90, p95, p99, p50, 1e3 / p50, samples)


def latency(*batches: int) -> Latency:
    timings = [timed(m, b, b * ms) for b in batches for m, ms in (("original", 2.0), ("pruned", 0.9))]
    compared = [Comparison("pruned", "original", b, 0.45, Interval(0.44, 0.47), "faster") for b in batches]
    return Latency(tuple(timings), tuple(compared), ("a latency note",), 7)


def judged(labels: int = 2, samples: int = 200) -> Paired:
    """150 of 200 free, 190 restricted, 188 pruned; 3 that only the pruned model gets right, 5 only the original."""
    rng = np.random.default_rng(labels)
    truth, other = np.arange(samples) % labels, rng.integers(1, labels, samples)

    def scores(wrong: np.ndarray) -> np.ndarray:
        given = np.where(wrong, (truth + other) % labels, truth)
        return 3.0 * (given[:, None] == np.arange(labels))

    step, k = max(1, samples // 200), np.arange(samples)
    turn = k // step
    return paired(turn < 150, scores(turn < 10), scores((turn >= 3) & (turn < 15)), truth)


def gate(text: str, holds: bool, value: float, limit: float) -> GateResult:
    metric = text.partition("<")[0].partition(">")[0]
    reason = f"{value:.2%} against a limit of {limit:.2%}"
    return GateResult(Gate(text, metric, "share", ">=", Limit(0.0, limit)), holds, value, limit, "", reason)


GATES = (gate("accuracy>=90%", True, 0.94, 0.9), gate(f"recall.{EVIL}>=99%", False, 0.935, 0.99))
PARETO = tuple(
    ParetoPoint(kept, kept, kept / 2, 2 * kept, 0.99 - 0.2 * (1 - kept) ** 2, kept == 0.3)
    for kept in (0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2)
)


def named(count: int) -> tuple[str, ...]:
    """Many labels, some with names too long for any column."""
    return tuple(f"{'a rather long name of a label, ' * (k % 7 == 0)}label {k}" for k in range(count))


def wide(count: int, samples: int = 4000) -> Report:
    """A report of many labels."""
    full = report(pareto=PARETO, gates=GATES)
    labels = named(count)
    problem = replace(full.problem, labels=labels, indices=tuple(range(count)), classes=count)
    return replace(full, problem=problem, proof=replace(full.proof, paired=judged(count, samples)))


def comparison(labels: tuple[str, ...] = ("cat", EVIL), **changes: object) -> ModelComparison:
    """What a validation finds, with a foreign name in every place that takes one."""
    made = ModelComparison(
        COMPARISON_VERSION, "0.1.0", f"seam-onnx validate '{EVIL}'",
        {"original": f"dir/{EVIL}.onnx", "pruned": "out/small.onnx"}, {"original": 280_000, "pruned": 80_000}, labels,
        tuple(range(len(labels))), {"original": 10, "pruned": len(labels)}, 200, "test", "images 32x32, RGB NCHW",
        judged(len(labels)), Parity(1e-6, 10.0, 1e-7, 16), (f"a note {EVIL}",), {"cpu": f"CPU {EVIL}"},
    )  # fmt: skip
    return replace(made, **changes)


def report(**changes: object) -> Report:
    """A report with a foreign name in every place that takes one."""
    parity = Parity(1e-6, 10.0, 1e-7, 16)
    curve = (
        Point(1.0, "search", 0.9, 0.5, NAN, 0.8),
        Point(2.0, "search", 0.6, 0.7, 0.72, 0.4),
        Point(3.0, "recover", 0.4, 0.9, 0.91, 0.3),
    )
    accuracies = Accuracies(right(150), right(190), right(188))
    made = Report(
        SCHEMA_VERSION, "0.1.0", f"seam-onnx prune 'a b.onnx' --labels '{EVIL}'",
        Problem(
            f"dir/{EVIL}.onnx", "0" * 64, ("cat", EVIL), (3, 5), 10, {"train": 400, "val": 100, "test": 200},
            "images 32x32, RGB NCHW", (f"a note {EVIL}",),
        ),
        Search(
            "channel", "macs=0.3", "finetune", {"epochs": 3, "seed": 11, "rate": NAN}, 0.2987, 12.5, "cpu", curve
        ),
        Size(2e6, 70_000, 280_000, 31), Size(6e5, 20_000, 80_000, 29),
        Proof(
            (parity,), parity, accuracies, judged(), latency(1, 8)
        ),
        {"/stem/Conv": (32, 16), f"/{EVIL}": (64, 0), "/head/Gemm": (10, 2)},
        Inheritance(("/stem/weight",), (EVIL,), (), ("/gone",)),
        (f"10 channels at output '{EVIL}': is an output of the model",),
        {"cpu": f"CPU {EVIL}", "onnxruntime": "1.99"}, "out/small.onnx",
    )  # fmt: skip
    return replace(made, **changes)


class Elements(HTMLParser):
    """Start tags with their attributes, and whether every tag is closed in order."""

    EMPTY = ("meta", "br", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
