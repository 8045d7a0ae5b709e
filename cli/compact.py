"""`seam-onnx compact`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seam_onnx.errors import UsageError

from .console import out, write_json
from .options import report_path, sizes

if TYPE_CHECKING:
    from seam_onnx.model import Model
    from seam_onnx.surgery import PrunePlan

__all__ = ["compact"]


def compact(
    model: Annotated[Path, typer.Argument(help="ONNX file: masked, sparse, or as it was trained.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the smaller model goes.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="Size of a symbolic input dimension, name=size.")] = None,
    width_step: Annotated[int, typer.Option(min=1, help="Widths stay multiples of this.")] = 1,
    plan: Annotated[
        str | None, typer.Option(help="Write what goes and what stays to this JSON file, - for stdout.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only; write no model.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing outputs.")] = False,
) -> None:
    """Remove whatever can go without changing any output: no data, no training.

    Example:

      seam-onnx compact masked.onnx -o small.onnx
    """
    from seam_onnx.atomic import check_writable
    from seam_onnx.channels import analyze
    from seam_onnx.model import check_finite, load, save
    from seam_onnx.surgery import plan_removal, remove_channels

    target = None if dry_run else named(output)
    if target is not None:
        check_writable(target, overwrite=force)
    report_path(plan, "--plan", overwrite=force, others=(model, target))
    original = load(model, sizes(shape or ()))
    check_finite(original)
    steps = plan_removal(original, analyze(original), width_step)
    small = remove_channels(original, steps)
    if target is not None:
        save(small, target, overwrite=force)
    if plan is not None:
        write_json(steps.to_json(), plan)
    if plan != "-":
        show(original, small, steps, "not written (--dry-run)" if target is None else str(target))


def named(output: Path | None) -> Path:
    """The output, which only a dry run can do without."""
    if output is None:
        raise UsageError("output", "is not named", "give -o FILE, or --dry-run to write nothing")
    return output


def show(original: "Model", small: "Model", steps: "PrunePlan", what: str) -> None:
    """What became of the model, and what stays for which reason."""
    from seam_onnx.inspection import cost_of

    before, after = cost_of(original), cost_of(small)
    out.print(
        f"{what}: parameters {before.params:,.0f} to {after.params:,.0f}, "
        f"MACs {before.macs:,.0f} to {after.macs:,.0f}, nodes {original.graph.num_nodes()} to {small.graph.num_nodes()}"
    )
    for name, (old, new) in steps.widths.items():
        if old != new:
            out.print(f"  {name}: {old} to {new} channels")
    for blocker in steps.blockers:
        out.print(f"stays: {blocker}")
