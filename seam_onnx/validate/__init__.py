"""Proof: parity, accuracy and latency of models, by onnxruntime alone.

session.py opens and runs a model, parity.py compares outputs, accuracy.py judges scores by labels, paired.py two
models' scores by the same labels, latency.py
measures models against each other (timing.py is the clock, claim.py says what its samples allow), layer.py one layer,
layer_times.py all layers of a network, cost.py
adds load time, size and memory, stats.py says how sure a figure is, environment.py where it was taken,
plain.py turns any result into JSON.
"""

from seam_onnx.validate.accuracy import (
    Accuracy,
    Classification,
    LabelScore,
    ScoreKind,
    accuracy,
    agreement,
    answers,
    are_probabilities,
    as_logits,
    classification,
)
from seam_onnx.validate.claim import Comparison, Timing, Verdict, medians, verdict
from seam_onnx.validate.cost import ModelCost, file_bytes, model_cost, peak_memory
from seam_onnx.validate.environment import environment, width_step
from seam_onnx.validate.latency import Latency, LatencyProgress, measure
from seam_onnx.validate.layer import Layer
from seam_onnx.validate.layer_times import LayerTimes
from seam_onnx.validate.paired import Paired, paired
from seam_onnx.validate.parity import PARITY_LIMIT, Parity, assert_parity, compare, parity
from seam_onnx.validate.plain import to_json
from seam_onnx.validate.providers import Provider
from seam_onnx.validate.session import Session, open_session, provider_name
from seam_onnx.validate.stats import Interval, McNemar, mcnemar, ratio_interval, wilson

__all__ = [
    "PARITY_LIMIT",
    "Accuracy",
    "Classification",
    "Comparison",
    "Interval",
    "LabelScore",
    "Latency",
    "LatencyProgress",
    "Layer",
    "LayerTimes",
    "McNemar",
    "ModelCost",
    "Paired",
    "Parity",
    "Provider",
    "ScoreKind",
    "Session",
    "Timing",
    "Verdict",
    "accuracy",
    "agreement",
    "answers",
    "are_probabilities",
    "as_logits",
    "assert_parity",
    "classification",
    "compare",
    "environment",
    "file_bytes",
    "mcnemar",
    "measure",
    "medians",
    "model_cost",
    "open_session",
    "paired",
    "parity",
    "peak_memory",
    "provider_name",
    "ratio_interval",
    "to_json",
    "verdict",
    "width_step",
    "wilson",
]
