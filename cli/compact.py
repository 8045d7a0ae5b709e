"""`seam-onnx compact`."""

from pathlib import Path
from typing import Annotated

import typer

from seam_onnx_cli.console import out, write_json
from seam_onnx_cli.options import sizes

__all__ = ["compact"]


def compact(
    model: Annotated[Path, typer.Argument(help="ONNX file: masked, sparse, or as it was trained.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the smaller model goes.")],
    shape: Annotated[
        list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="Write what goes and what stays to this JSON file, - for stdout.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only; write no model.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> None:
    """Remove whatever can go without changing any output: no data, no training.

    Example:

      seam-onnx compact masked.onnx -o small.onnx
    """
    from seam_onnx.atomic import check_writable
    from seam_onnx.channels import analyze
    from seam_onnx.inspection import cost_of
    from seam_onnx.model import check_finite, load, save
    from seam_onnx.surgery import plan_removal, remove_channels

    if not dry_run:
        check_writable(output, overwrite=force)
    original = load(model, sizes(shape or ()))
    check_finite(original)
    steps = plan_removal(original, analyze(original))
    small = remove_channels(original, steps)
    if plan is not None:
        write_json(steps.to_json(), plan)
    if not dry_run:
        save(small, output, overwrite=force)
    if plan == "-":
        return
    before, after = cost_of(original), cost_of(small)
    out.print(
        f"{output}: parameters {before.params:,.0f} to {after.params:,.0f}, MACs {before.macs:,.0f} to {after.macs:,.0f}"
    )
    out.print(f"nodes {original.graph.num_nodes()} to {small.graph.num_nodes()}")
    for name, (old, new) in steps.widths.items():
        if old != new:
            out.print(f"  {name}: {old} to {new} channels")
    for blocker in steps.blockers:
        out.print(f"stays: {blocker}")
