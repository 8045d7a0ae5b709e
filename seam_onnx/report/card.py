"""A report as a model card: the README.md that Hugging Face shows beside a model.

    text = card(report)

The front matter has what the report knows and nothing else: the license of a pruned model is its original's, which
this tool cannot know, so it says `other`.
"""

import json
import re
from collections.abc import Sequence
from pathlib import PurePath

from seam_onnx.report.facts import checks, notes, rows, sentence
from seam_onnx.report.labels import MATRIX_UP_TO, label_rows, mistakes, weakest
from seam_onnx.report.schema import Report
from seam_onnx.validate import Classification
from seam_onnx.words import accuracy, threads

__all__ = ["card"]


def card(report: Report) -> str:
    """The whole card, Markdown with YAML front matter."""
    parts = (
        _front_matter(report), _intro(report), _evaluation(report), _labels(report), _gates(report), _use(report),
        _making(report),
    )  # fmt: skip
    return "\n".join(filter(None, parts))


def _front_matter(report: Report) -> str:
    tags = ["onnx", "onnxruntime", "pruned", "seam-onnx"]
    images = report.problem.preprocess.startswith("images")
    task = "image-classification" if images else "other"
    lines = [
        "license: other",
        "library_name: onnx",
        *([f"pipeline_tag: {task}"] if images else []),
        "tags:",
        *(f"- {tag}" for tag in tags),
        "model-index:",
        f"- name: {_quoted(_name(report))}",
        "  results:",
        "  - task:",
        f"      type: {task}",
        "    dataset:",
        f"      name: {_quoted('test split, labels ' + ', '.join(report.problem.labels))}",
        "      type: custom",
        "      split: test",
        "    metrics:",
        *_metrics(report),
    ]
    return "\n".join(("---", *lines, "---", ""))


def _metrics(report: Report) -> list[str]:
    """Numbers as they stand in the report, not rounded."""
    found: list[tuple[str, str, float]] = [
        ("accuracy", "accuracy", report.proof.test.pruned.value),
        ("accuracy", "accuracy of the original, restricted to the same labels", report.proof.test.restricted.value),
        ("params", "parameters", report.after.params),
        ("macs", "multiply-adds", report.after.macs),
        ("file_bytes", "file size in bytes", report.after.file_bytes),
    ]
    found += [
        ("latency", f"p50 in ms, batch {one.batch}, {one.provider}, {threads(one.threads)}", one.p50)
        for one in report.proof.latency.timings
        if one.model == "pruned"
    ]
    return [
        line
        for kind, name, value in found
        for line in (f"    - type: {kind}", f"      value: {json.dumps(value)}", f"      name: {_quoted(name)}")
    ]


def _intro(report: Report) -> str:
    problem = report.problem
    names = ", ".join(map(_cell, problem.labels))
    original = PurePath(problem.model).name
    return (
        f"# {_cell(_name(report))}\n\n"
        f"An ONNX classifier for {len(problem.labels)} labels ({names}), cut out of {_cell(original)} "
        f"({problem.classes} classes) by seam-onnx {_cell(report.version)}.\n\n{_cell(sentence(report))}\n\n"
        "The license is that of the original model and of the data; replace `other` above.\n"
    )


def _evaluation(report: Report) -> str:
    lines = [
        "## Evaluation\n",
        *_table(
            ("", "original", "pruned", "change (95 % interval)"),
            [(_cell(row.name), _cell(row.original), _cell(row.pruned), _cell(row.change)) for row in rows(report)],
        ),
        "",
        *(f"- {_cell(line)}" for line in (*checks(report), *notes(report))),
        "",
        _machine(report),
    ]
    return "\n".join(lines) + "\n"


def _labels(report: Report) -> str:
    """Every label's figures, of many the weakest; confusion matrices where they are readable, else the mistakes."""
    labels, found = report.problem.labels, report.proof.paired
    every = label_rows(labels, found)
    shown = every if len(every) <= MATRIX_UP_TO else weakest(every, MATRIX_UP_TO)
    cells = [(str(row.number), _cell(row.name), str(row.count), *row.changes) for row in shown]
    lines = [
        "## Label by label\n",
        "Original restricted to the wanted labels → pruned, on test.\n",
        *_table(("#", "label", "samples", "precision", "recall", "F1"), cells),
        "",
    ]
    if len(every) > MATRIX_UP_TO:
        lines.insert(2, f"The {len(shown)} lowest recalls of {len(every)} labels; report.json has them all.\n")
        lines += ["Most frequent mistakes:\n", *(f"- {_cell(line)}" for line in mistakes(labels, found)), ""]
        return "\n".join(lines)
    matrices = (("original, restricted", found.original), ("pruned", found.pruned))
    return "\n".join((*lines, *(line for title, one in matrices for line in _matrix(title, labels, one))))


def _matrix(title: str, labels: tuple[str, ...], found: Classification) -> list[str]:
    names = tuple(map(_cell, labels))
    rows = [(name, *map(str, row)) for name, row in zip(names, found.confusion.tolist(), strict=True)]
    return [*_table((f"{title}: label, answer", *names), rows), ""]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table of cells that are escaped already."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def _gates(report: Report) -> str:
    """What was demanded of the run, and what became of it."""
    lines = [
        f"- {'holds' if one.holds else '**FAILED**'}: {_cell(one.gate.text)}, {_cell(one.reason)}"
        for one in report.gates
    ]
    return "\n".join(("## Gates\n", *lines, "")) if lines else ""


def _machine(report: Report) -> str:
    known = report.environment
    facts = [f"{name} {known[name]}" for name in ("cpu", "cores", "gpu", "onnxruntime", "python") if name in known]
    return f"Measured on: {_cell(', '.join(facts))}."


def _use(report: Report) -> str:
    problem = report.problem
    outputs = [f"{number}. {_cell(label)}" for number, label in enumerate(problem.labels)]
    return "\n".join((
        "## Use\n",
        f"Input: {_cell(problem.preprocess)}. Outputs, in order, counted from 0:\n",
        *(f"- {line.replace('. ', ': ', 1)}" for line in outputs),
        "",
        "```python",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({_quoted(PurePath(report.output).name)})",
        "scores = session.run(None, {session.get_inputs()[0].name: x})[0]  # x as above, batch first, float32",
        "best = scores.argmax(axis=1)",
        "```",
        "",
    ))  # fmt: skip


def _making(report: Report) -> str:
    problem, search, val = report.problem, report.search, report.proof.val
    samples = ", ".join(f"{count} {name}" for name, count in problem.samples.items())
    recipe = ", ".join(f"{name} {json.dumps(value, default=str)}" for name, value in search.recipe.items())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", report.command)), default=0))
    return "\n".join((
        "## How it was made\n",
        f"{fence}sh", report.command, fence, "",
        f"- original: sha256 {problem.sha256}",
        f"- samples: {_cell(samples)}",
        f"- search: {_cell(search.granularity)}, {_cell(search.target or search.recipe.get('schedule', ''))}, "
        f"recover {_cell(search.recover)}, "
        f"{search.seconds:.0f} s on {_cell(search.device)}",
        f"- recipe: {_cell(recipe)}; seed of the latency measurement {report.proof.latency.seed}",
        f"- accuracy on validation, which chose: {accuracy(val.pruned)}",
        "",
    ))  # fmt: skip


def _name(report: Report) -> str:
    return PurePath(report.output).stem


def _quoted(text: str) -> str:
    """A string that YAML and Python both read."""
    return json.dumps(text)


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, in a line or a table cell."""
    return re.sub(r"([\\`*_|<>\[\]#$~&])", r"\\\1", " ".join(text.split()))
