"""The search for channels as a whole, on a toy problem of a second."""

import numpy as np
import pytest
from graphs import build, run
from toys import DEEP, SHORT, searched, toy, views_of

from seam_onnx.channels import analyze
from seam_onnx.model import Model, serialized
from seam_onnx.search import (
    CostAim,
    Recipe,
    SeamRecipe,
    search_weights,
)
from seam_onnx.surgery import cut_head
from seam_onnx.surgery.logits import add_seam_head


@pytest.mark.parametrize("recover", ["none", "fast", "bn", "finetune"])
def test_the_channel_search_meets_its_target(recover):
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    checked: list[float] = []

    def check(masked: Model, pruned: Model) -> None:
        x = {"x": task.val.x[:8]}
        a, b = run(masked, x)[0], run(pruned, x)[0]
        checked.append(float(np.abs(a - b).max() / np.ptp(a)))

    found = searched(base, views_of(model, task), CostAim("macs", 0.4, 2), SHORT, recover=recover, check=check)
    small = found.chosen.model
    cost = analyze(small).cost(analyze(small).everything()).macs
    whole = analyze(base).cost(analyze(base).everything()).macs
    assert cost <= 0.4 * whole
    assert len(checked) == 2
    assert max(checked) < 1e-4
    assert found.met
    assert found.chosen.kept == found.curve[-1].kept == pytest.approx(cost / whole)
    assert [point.kept for point in found.visited] == sorted([p.kept for p in found.visited], reverse=True)
    kept = [point.kept for point in found.curve]
    assert kept == sorted(kept, reverse=True)


def test_recover_none_keeps_the_weights_that_stay():
    model, task = build(DEEP), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    found = searched(base, views_of(model, task), CostAim("macs", 0.5, 2), SHORT, recover="none")
    before = set(base.initializers["w1"].const_value.numpy().reshape(-1).tolist())
    after = found.chosen.model.initializers["w1"].const_value.numpy().reshape(-1).tolist()
    assert set(after) <= before
    assert len(after) < len(before)


def test_the_same_seed_gives_the_same_model_and_another_one_another():
    model, task = build(DEEP), toy(0, 1)
    base = cut_head(model, task.wanted.indices, rest=False)

    def bytes_of(seed: int) -> bytes:
        recipe = Recipe(least=24, epochs=1, rounds=2, seed=seed)
        views = views_of(model, task, seed, ("crop", "flip"))
        return serialized(searched(base, views, CostAim("macs", 0.5, 2), recipe).chosen.model)

    assert bytes_of(0) == bytes_of(0)
    assert bytes_of(0) != bytes_of(1)


def test_the_same_seed_gives_the_same_masks():
    model, task = build(DEEP), toy(0, 1)

    def masks_of(seed: int) -> str:
        recipe = SeamRecipe(epochs=5, batch=16, mask_rate=0.1, seed=seed)
        found = search_weights(add_seam_head(model, 2, seed), views_of(model, task, seed), recipe, threshold=0.0)
        return found.masks.digest()

    assert masks_of(0) == masks_of(0)
    assert masks_of(0) != masks_of(1)
