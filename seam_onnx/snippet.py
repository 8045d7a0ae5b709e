"""Serving: a short script that goes from an image file to a label by onnxruntime and Pillow alone.

    text = snippet(path, preprocess, labels)          # write it beside the model
    run_snippet(script, image)                        # what it prints: the label

It does what `Preprocess` does to one image, with the numbers written out, so that it can be read, copied into a
service and ported; a test holds it against the tool's own answers.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seam_onnx.data import Preprocess
from seam_onnx.errors import DataError, ModelError
from seam_onnx.outputs import Classifier, open_classifier

__all__ = ["run_snippet", "snippet"]

_SCRIPT = '''"""Image file to label: {model} by onnxruntime and Pillow. Written by seam-onnx {version}."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

LABELS = {labels}

image = Image.open(sys.argv[1])
{steps}
session = onnxruntime.InferenceSession(str(Path(__file__).with_name({model!r})), providers=["CPUExecutionProvider"])
(scores,) = session.run([{output!r}], {{{input!r}: {batch}}})
print(LABELS[scores[0].argmax()])
'''
_SIXTEEN_BITS = (
    'if image.mode.startswith("I"):  # 16-bit gray: the upper 8 bits\n'
    "    image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))"
)


def snippet(model: Path, preprocess: Preprocess, labels: Sequence[str]) -> str:
    """The script for a model file; it expects the model in its own folder, under the same name.

    Args:
        model: the classifier that ships.
        preprocess: the preprocessing that it was judged with.
        labels: a name for each of its outputs, in order.

    Raises:
        DataError: a model that does not take images, or names that are not as many as its outputs.
        PathError, ModelError: as for `open_classifier`.
    """
    if preprocess.layout == "none":
        raise DataError("snippet", "the model does not take images", "serve it from your own arrays")
    classifier = open_classifier(model)
    if len(labels) != classifier.classes:
        why = f"{len(labels)} names for {classifier.classes} outputs"
        raise DataError("snippet", why, "give one name an output")
    session = classifier.session
    return _SCRIPT.format(
        model=model.name,
        version=version("seam-onnx"),
        labels=json.dumps(list(labels), ensure_ascii=False),
        steps="\n".join(_steps(preprocess, classifier)),
        output=session.output_names[classifier.output],
        input=session.input_name,
        batch="x[None]" if session.fixed_batch in (None, 1) else f"np.stack([x] * {session.fixed_batch})",
    )


def run_snippet(script: Path, image: Path, timeout: float = 60.0) -> str:
    """The label that the script prints for an image file; starts a Python, about half a second.

    Raises:
        ModelError: the script fails, or takes longer than `timeout` seconds.
    """
    command = [sys.executable, str(script), str(image)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True, encoding="utf-8")
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(script, f"fails on {image}: {last}", "run it by hand") from error
    except subprocess.TimeoutExpired as error:
        raise ModelError(script, f"takes longer than {timeout:g} s", "run it by hand") from error
    return done.stdout.strip()


def _steps(preprocess: Preprocess, classifier: Classifier) -> list[str]:
    """Lines from `image` to `x`, one sample without its batch axis."""
    order = "[..., ::-1]" if preprocess.channels == "bgr" else ""
    shape = "(image.height, image.width, -1)"
    dtype = classifier.session.input_dtype
    lines = [
        _SIXTEEN_BITS,
        f'image = image.convert("{"L" if preprocess.channel_count == 1 else "RGB"}")',
        *_resizing(preprocess),
        f"x = np.asarray(image, np.float32).reshape{shape}{order} * {_numbers(preprocess.affine()[0])}",
        f"x = x + {_numbers(preprocess.affine()[1])}",
    ]
    if preprocess.layout == "nchw":
        lines.append("x = x.transpose(2, 0, 1)")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        lines.append(f"x = np.rint(x).clip({limits.min}, {limits.max}).astype(np.{dtype})")
    elif dtype != np.float32:
        lines.append(f"x = x.astype(np.{dtype})")
    return lines


def _resizing(preprocess: Preprocess) -> list[str]:
    """Lines that bring `image` to the model's size; it stays as it is where it has that already."""
    if preprocess.size is None:
        return []
    (height, width), shorter = preprocess.size, preprocess.shorter
    resample = f"Image.Resampling.{preprocess.resample.upper()}"
    if shorter is None:
        return [f"if image.size != ({width}, {height}):", f"    image = image.resize(({width}, {height}), {resample})"]
    return [
        f"wide, high = ({shorter} * side // min(image.size) for side in image.size)",
        f"image = image.resize((wide, high), {resample})",
        f"left, top = round((image.width - {width}) / 2), round((image.height - {height}) / 2)",
        f"image = image.crop((left, top, left + {width}, top + {height}))",
    ]


def _numbers(values: NDArray[np.float32]) -> str:
    """float32 numbers as a literal that reads back to the same bits."""
    return f"np.array({[float(str(value)) for value in values]}, np.float32)"
