"""What a pruned model says of itself, in its metadata."""

import json
from importlib.metadata import version

from seam_onnx.labels import Wanted
from seam_onnx.model import Model

__all__ = ["stamped"]

REPLACED = ("names", "labels", "id2label", "classes")
"""Keys under which exporters keep the class names."""


def stamped(pruned: Model, original: Model, wanted: Wanted) -> Model:
    """The model with its labels, the map to the original's classes, and where it came from."""
    proto = pruned.edit()
    props = proto.metadata_props
    for key in REPLACED:
        props.pop(key, None)
    props["names"] = json.dumps(list(wanted.outputs), ensure_ascii=False)
    props["seam.labels"] = json.dumps(list(wanted.outputs), ensure_ascii=False)
    props["seam.index_map"] = json.dumps(wanted.index_map(), ensure_ascii=False)
    props["seam.source.sha256"] = original.sha256
    props["seam.version"] = version("seam-onnx")
    return pruned.edited(proto)
