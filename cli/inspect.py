"""`seam-onnx inspect`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .console import out, write_json
from .options import report_path, sizes

__all__ = ["inspect"]


def inspect(
    model: Annotated[Path, typer.Argument(help="ONNX file, opset 7 or newer.")],
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    json: Annotated[str | None, typer.Option(help="Write everything to this file, - for stdout.")] = None,
) -> None:
    """Show what could be removed from a model: channel groups with their cost, and what pins the others.

    Example:

      seam-onnx inspect model.onnx
    """
    report_path(json, "--json", overwrite=True, others=(model,))
    from seam_onnx.inspection import inspect_model
    from seam_onnx.model import load

    found = inspect_model(load(model, sizes(shape or ())))
    if json is not None:
        write_json(found.to_json(), json)
        if json == "-":
            return
    out.print(f"{model}: opset {found.opset}, IR {found.ir_version}, made by {found.producer or 'unknown'}")
    for name, text in (*found.inputs.items(), *found.outputs.items()):
        out.print(f"  {name}: {text}")
    shown = [*found.labels[:10], *(["..."] if len(found.labels) > 10 else [])]
    out.print(f"  labels: {', '.join(shown) or 'no names in the metadata'}")
    for key, text in found.provenance.items():
        out.print(f"  {key}: {text}")
    out.print(f"  {found.params:,.0f} parameters, {found.macs:,.0f} MACs at batch 1, {found.nodes} nodes")
    table = Table("group", "channels", "axes", "MACs if gone", "parameters if gone")
    for group in found.groups:
        table.add_row(
            group.name,
            str(group.channels),
            str(len(group.axes)),
            f"{group.macs:,.0f}",
            f"{group.params:,.0f}",
        )
    out.print(table, soft_wrap=False)
    for blocker in found.blockers:
        out.print(f"pinned: {blocker}")
