"""`seam-onnx init`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from seam_onnx.atomic import check_writable, write_text

from .console import out
from .options import sizes

__all__ = ["init"]


def init(
    model: Annotated[Path, typer.Argument(help="ONNX classifier, opset 7 or newer.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the recipe goes [stdout].")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing recipe.")] = False,
) -> None:
    """Write a recipe for a model, with a comment on every key, to fill in and give to prune --recipe.

    Example:

      seam-onnx init model.onnx -o prune.yaml
    """
    if output is not None:
        check_writable(output, overwrite=force)
    from seam_onnx.blank import blank_recipe
    from seam_onnx.model import load

    loaded = load(model, sizes(shape or ()))
    folder = Path() if output is None else output.parent
    text = blank_recipe(loaded, os.path.relpath(model, folder), f"{model.stem}-pruned.onnx")
    if output is None:
        print(text, end="")
        return
    write_text(output, text)
    out.print(f"{output}: fill in task.labels and data.path, then seam-onnx prune --recipe {output}")
