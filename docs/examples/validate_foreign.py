"""Judge a smaller model that another tool made: here onnxruntime's own quantisation, all ten classes still in it."""

from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

import seam_onnx

DIGITS = Path(__file__).parents[2] / "models" / "digits"
FOREIGN = Path("build/examples/quantised.onnx")

FOREIGN.parent.mkdir(parents=True, exist_ok=True)
quantize_dynamic(DIGITS / "model.onnx", FOREIGN, weight_type=QuantType.QUInt8)

found = seam_onnx.compare_models(DIGITS / "model.onnx", FOREIGN, DIGITS / "data.npz", labels="3,8")
timed = seam_onnx.bench_models(DIGITS / "model.onnx", FOREIGN, rounds=20, min_seconds=0.1)

both, (claim,) = found.paired, timed.latency.comparisons
print(f"accuracy {both.pruned.accuracy.value:.1%}, restricted original {both.original.accuracy.value:.1%}")
print(f"both answer alike on {both.agreement.value:.1%} of {found.samples} images; McNemar p = {both.difference.p:.3f}")
print(
    f"file {found.file_bytes['pruned'] / found.file_bytes['original']:.0%}, latency: {claim.verdict} ({claim.ratio:.0%})"
)
