"""`seam-onnx apply`."""

from pathlib import Path
from typing import Annotated

import typer

from seam_onnx.errors import UsageError

from .console import out

__all__ = ["apply"]


def apply(
    model: Annotated[Path, typer.Argument(help="ONNX classifier: the very file that was pruned.")],
    masks: Annotated[Path, typer.Argument(help="What prune wrote beside its output, NAME.masks.safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the pruned model goes.")],
    point: Annotated[
        int,
        typer.Option(min=0, help="0: the model that was proved; 1, 2, ...: what the search visited, largest first."),
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
) -> None:
    """Make a pruned model again, bit for bit, from the original and the masks: no data, no training.

    Examples:

      seam-onnx prune model.onnx --labels cat,dog --data photos/ -o pets.onnx

      seam-onnx apply model.onnx pets.masks.safetensors -o again.onnx
    """
    from seam_onnx.atomic import check_writable, refuse_source  # imported late: --help stays fast
    from seam_onnx.rebuild import apply_solution
    from seam_onnx.solution import read_solutions

    check_writable(output, overwrite=force)
    refuse_source(output, [path for path in (model, masks) if path.is_file()])
    solutions = read_solutions(masks)
    if point >= len(solutions):
        raise UsageError(f"point {point}", f"is not in {masks}, which holds {len(solutions)}", "count from 0")
    chosen = solutions[point]
    apply_solution(model, chosen, output, overwrite=force)
    labels = ", ".join(chosen.wanted.outputs)
    proved = "the file that was proved" if chosen.output else f"point {point} of the search, not proved"
    out.print(f"{output}: {labels}; {proved}")
