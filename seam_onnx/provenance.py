"""What a pruned model says of itself, in its metadata.

`names` and everything under `seam.`: the labels and the map to the original's classes, which follow from the solution, and
*facts*, which only the run knows: its version, its recipe, what it proved. The facts travel in the solution, so that the
same model can be made again without data.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from seam_onnx.labels import Wanted
from seam_onnx.model import Model

if TYPE_CHECKING:  # report stands on onnxruntime, which `apply` does without
    from seam_onnx.report import Proof, Size

__all__ = ["PREFIX", "facts_of", "provenance", "stamped"]

REPLACED = ("names", "labels", "id2label", "classes")
"""Keys under which exporters keep the class names."""
PREFIX = "seam."


def stamped(pruned: Model, original: Model, wanted: Wanted, facts: Mapping[str, str] | None = None) -> Model:
    """The model with its labels, the map to the original's classes, and where it came from. The graph stays as it is.

    Args:
        pruned: the model.
        original: what it was made from.
        wanted: its labels.
        facts: more, by keys without `seam.`; the version of seam-onnx where nothing is given.
    """
    proto = pruned.edit()
    props = proto.metadata_props
    for key in [key for key in props if key in REPLACED or key.startswith(PREFIX)]:
        props.pop(key)
    said = {
        "labels": json.dumps(list(wanted.outputs), ensure_ascii=False),
        "index_map": json.dumps(wanted.index_map(), ensure_ascii=False),
        "source.sha256": original.sha256,
    }
    props["names"] = said["labels"]
    facts = {"version": version("seam-onnx")} if facts is None else facts
    props.update({PREFIX + key: text for key, text in (said | dict(facts)).items()})
    return pruned.edited(proto)


def provenance(model: Model) -> dict[str, str]:
    """What a pruned model says of where it came from, by keys with `seam.`; empty for any other model."""
    return {key: text for key, text in model.proto.metadata_props.items() if key.startswith(PREFIX)}


def facts_of(recipe_hash: str, proof: "Proof", before: "Size", after: "Size") -> dict[str, str]:
    """The facts of a run: its version, the hash of its recipe, and what a reader of the file wants to know first, as JSON.

    Accuracies are those on the test split, the original's restricted to the wanted labels; the latency is the first batch
    size's, of the original's p50, with its 95 % interval.
    """
    first = proof.latency.comparisons[0]
    timing = proof.latency.timings[0]
    test = {
        name: {"correct": one.correct, "total": one.total}
        for name, one in (("original", proof.test.restricted), ("pruned", proof.test.pruned))
    }
    latency = {
        "ratio": round(first.ratio, 4), "low": round(first.interval.low, 4), "high": round(first.interval.high, 4),
        "batch": first.batch, "provider": timing.provider, "threads": timing.threads,
    }  # fmt: skip
    size = {"macs": round(after.macs / before.macs, 4), "params": round(after.params / before.params, 4)}
    plain = {"test": test, "latency": latency, "size": size}
    told = {key: json.dumps(value) for key, value in plain.items()}
    return {"version": version("seam-onnx"), "recipe.sha256": recipe_hash, **told}
