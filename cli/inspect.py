"""`seam-onnx inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from .console import out, print_table, write_json
from .options import report_path, sizes

if TYPE_CHECKING:
    from seam_onnx.inspection import Inspection

__all__ = ["inspect"]

AXES = 2
"""Axes of a group that the table names; --json has all."""


def inspect(
    model: Annotated[Path, typer.Argument(help="ONNX file, opset 7 or newer.")],
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    json: Annotated[str | None, typer.Option(help="Write everything to this file, - for stdout.")] = None,
    svg: Annotated[str | None, typer.Option(help="Draw the groups along the network to this file.")] = None,
) -> None:
    """Show what could be removed from a model: layers and channel groups with their cost, and what pins the others.

    Example:

      seam-onnx inspect model.onnx
    """
    report_path(json, "--json", overwrite=True, others=(model,))
    others = (model, None if json in (None, "-") else Path(json))
    report_path(svg, "--svg", overwrite=True, others=others)
    from seam_onnx.inspection import inspect_model
    from seam_onnx.model import load

    found = inspect_model(load(model, sizes(shape or ())))
    if svg is not None:
        draw(found, model.name, svg)
    if json is not None:
        write_json(found.to_json(), json)
    if "-" not in (json, svg):
        show(found, model)


def draw(found: "Inspection", title: str, target: str) -> None:
    """Write the drawing to a file, or to stdout for `-`."""
    from seam_onnx.atomic import write_text
    from seam_onnx.diagram import network_svg

    text = network_svg(found, title)
    if target == "-":
        print(text, end="")
    else:
        write_text(Path(target), text)


def show(found: "Inspection", model: Path) -> None:
    """What stands at the top, the two tables, and the blockers."""
    out.print(f"{model}: opset {found.opset}, IR {found.ir_version}, made by {found.producer or 'unknown'}")
    for name, text in (*found.inputs.items(), *found.outputs.items()):
        out.print(f"  {name}: {text}")
    shown = [*found.labels[:10], *(["..."] if len(found.labels) > 10 else [])]
    out.print(f"  labels: {', '.join(shown) or 'no names in the metadata'}")
    for key, text in found.provenance.items():
        out.print(f"  {key}: {text}")
    out.print(f"  {found.params:,.0f} parameters, {found.macs:,.0f} MACs at batch 1, {found.nodes} nodes")
    for table in (layer_table(found), group_table(found)):
        print_table(table)
    for blocker in found.blockers:
        out.print(f"pinned: {blocker}")


def right(*titles: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(title, justify="right") for title in titles]


def layer_table(found: "Inspection") -> Table:
    """Every layer in graph order, with how many channels of which group (by number) its output has."""
    numbers = {group.name: k for k, group in enumerate(found.groups, 1)}
    names = (Column("layer", no_wrap=True), Column("op", no_wrap=True), "output")
    table = Table(*names, *right("parameters", "MACs"), "channels (group)", box=SIMPLE_HEAD)
    for layer in found.layers:
        made = [f"{count} ({numbers[name]})" for name, count in layer.groups.items()]
        made += [f"{layer.pinned} pinned"] if layer.pinned else []
        size = "x".join(map(str, layer.shape))
        table.add_row(layer.node, layer.op, size, f"{layer.params:,}", f"{layer.macs:,.0f}", " ".join(made))
    return table


def group_table(found: "Inspection") -> Table:
    """Every group with its axes and what would go with it."""
    columns = right("channels", "MACs if gone", "parameters if gone")
    table = Table("", Column("group", no_wrap=True), *columns, "axes", box=SIMPLE_HEAD)
    for number, group in enumerate(found.groups, 1):
        more = len(group.axes) - AXES
        axes = ", ".join(group.axes[:AXES]) + (f" and {more} more" if more > 0 else "")
        costs = (f"{group.macs:,.0f}", f"{group.params:,.0f}")
        table.add_row(str(number), group.name, str(group.channels), *costs, axes)
    return table
