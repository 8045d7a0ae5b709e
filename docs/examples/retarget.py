"""Another target without a new search: choose among the networks that an earlier search visited."""

from pathlib import Path

import seam_onnx

DIGITS = Path(__file__).parents[2] / "models" / "digits"
COMMON = {"labels": [3, 8], "data": DIGITS / "data.npz", "overwrite": True}

first = seam_onnx.reengineer(
    DIGITS / "model.onnx", **COMMON, output="build/examples/small.onnx", target="macs=0.2",
    epochs=2, least=60, views=2, rounds=3, proposals=2,  # a few seconds; leave them out for a real run
)  # fmt: skip
for point in first.pareto:
    print(f"{point.macs:.0%} of the MACs, {point.latency_ms:.3f} ms, {point.val_accuracy:.1%} on validation")

second = seam_onnx.reengineer(
    DIGITS / "model.onnx", **COMMON, output="build/examples/larger.onnx", target="macs=0.5",
    resume_from="build/examples/small.masks.safetensors",
    recover="none",  # as it was visited; finetune trains it on
)  # fmt: skip
print(f"larger.onnx: {second.after.macs / second.before.macs:.0%} of the MACs after {second.search.seconds:.0f} s")

seam_onnx.apply_masks(  # or any of the points as a file of its own: no data, no training, no proof
    DIGITS / "model.onnx", "build/examples/small.masks.safetensors", "build/examples/first-point.onnx",
    point=1, overwrite=True,
)  # fmt: skip
