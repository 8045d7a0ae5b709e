"""Prune a classifier to two of its labels, and read the report."""

from pathlib import Path

import seam_onnx

DIGITS = Path(__file__).parents[2] / "models" / "digits"

report = seam_onnx.reengineer(
    DIGITS / "model.onnx",
    labels=[3, 8],
    data=DIGITS / "data.npz",
    output="build/examples/three-or-eight.onnx",
    target="macs=0.3",
    epochs=2, least=60, views=2, rounds=2, proposals=2,  # a few seconds; leave them out for a real run
    overwrite=True,
)  # fmt: skip

test, (latency,) = report.proof.test, report.proof.latency.comparisons
print(f"{report.output}: {report.after.params / report.before.params:.0%} of the parameters")
print(f"accuracy {test.pruned.value:.1%}, restricted original {test.restricted.value:.1%} ({test.pruned.total} images)")
print(f"latency {latency.ratio:.0%} of the original's ({latency.interval.low:.0%} to {latency.interval.high:.0%})")
print(f"recipe {report.recipe_hash[:12]}: {report.recipe['search']['target']}")
