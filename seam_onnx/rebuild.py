"""From the original and a solution to the pruned model: what `prune` ends in and `apply` does again, bit for bit.

    cut head -> convolve shortcuts -> remove what is dead -> masks -> removal -> trained values -> stamp
    add SeaM's head -> masks -> removal -> trained values -> stamp          where the values have such a head

No data, no torch. The plan of the removal depends on the original and the masks alone, never on the trained values.
"""

from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from seam_onnx.atomic import refuse_source, writing
from seam_onnx.errors import ParityError, UsageError
from seam_onnx.labels import Wanted
from seam_onnx.model import Model, load, save, sha256
from seam_onnx.provenance import stamped
from seam_onnx.solution import Solution
from seam_onnx.surgery import classes, cut_head, remove_masked, without_dead
from seam_onnx.surgery.contents import with_values
from seam_onnx.surgery.logits import SEAM_HEAD, add_seam_head
from seam_onnx.surgery.shortcuts import convolved
from seam_onnx.surgery.twin import contents_of_twin

__all__ = ["apply_solution", "assemble", "base_of", "rebuild", "stamp", "with_values_of"]


def apply_solution(path: Path, solution: Solution, output: Path, *, overwrite: bool = False) -> Model:
    """Make the pruned model from the original's file and write it.

    Raises:
        UsageError: the solution is another model's. PathError: the output cannot be written, or is the original.
        ParityError: the file is not the one that was proved.
    """
    model = load(path, solution.sizes)
    refuse_source(output, [path])
    pruned = rebuild(model, solution)
    with writing(output, overwrite=overwrite) as temporary:
        save(pruned, temporary)
        if solution.output and sha256(temporary) != solution.output:
            why = f"is not the file that was proved (sha256 {solution.output[:12]}...)"
            made = solution.facts.get("version", "?")
            raise ParityError(output, why, f"use seam-onnx {made} with the onnx and onnx-ir that it was made with")
    return pruned


def rebuild(model: Model, solution: Solution) -> Model:
    """The pruned model, stamped. Raises UsageError where the solution does not belong to the model."""
    return stamp(assemble(model, solution), model, solution)


def stamp(pruned: Model, model: Model, solution: Solution) -> Model:
    """The pruned model with what it says of itself; the graph stays as it is."""
    return stamped(pruned, model, solution.wanted, {**solution.facts, "masks.sha256": solution.digest()})


def assemble(model: Model, solution: Solution) -> Model:
    """The pruned model without its metadata. Raises UsageError where the solution does not belong to the model."""
    if solution.masks.sha256 != model.sha256:
        why = f"belong to another model (sha256 {solution.masks.sha256[:12]}..., this one's is {model.sha256[:12]}...)"
        raise UsageError("masks", why, "give the very file that was pruned")
    if classes(model) != solution.wanted.classes:
        why = f"are for {solution.wanted.classes} classes, not {classes(model)}"
        raise UsageError("masks", why, "give the masks of this model")
    return with_values(outline(model, solution, solution.values), solution.values)


def with_values_of(trained: Model, model: Model, solution: Solution) -> Solution:
    """The solution with the values of a model that a search trained, which is the same graph.

    Raises:
        MismatchError: it is not, which is a bug.
    """
    return replace(solution, values=contents_of_twin(outline(model, solution, trained.initializers), trained))


def outline(model: Model, solution: Solution, names: Container[str]) -> Model:
    """What the masks leave of the original, with the original's values; its head is that of the trained tensors' names."""
    wanted, step = solution.wanted, solution.width_step
    headed = SEAM_HEAD[0] in names
    base = (
        add_seam_head(model, len(wanted.outputs))
        if headed
        else base_of(model, wanted, step, convolve=solution.convolved)
    )
    return remove_masked(base, solution.masks, 1 if solution.granularity == "channel" else step).pruned


def base_of(model: Model, wanted: Wanted, step: int, *, convolve: bool = False) -> Model:
    """The original restricted to the wanted labels, without what is dead in it then; widths stay multiples of `step`.

    With `convolve`, shortcuts that only move pixels and channels are convolutions, see `seam_onnx.surgery.shortcuts`.
    """
    cut = cut_head(model, wanted.indices, rest=wanted.rest)
    return without_dead(convolved(cut) if convolve else cut, step)
