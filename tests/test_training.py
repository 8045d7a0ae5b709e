"""Training of what is left: normalisation, schedule, loss, and steps that cannot be taken."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from files import NET
from graphs import build
from torch import nn
from toys import DEEP, SHORT, WRITTEN_OUT, searched, toy, views_of

from seam_onnx.errors import ModelError
from seam_onnx.lowering import lower
from seam_onnx.search import (
    CostAim,
    Recipe,
    evaluate,
)
from seam_onnx.search.normalise import fold, normalise
from seam_onnx.search.train import Clock, Trainer, cycle, objective, snapshot
from seam_onnx.search.views import Batch
from seam_onnx.surgery import cut_head


def test_a_normalisation_that_is_written_out_is_trained_without_its_constants():
    """The gradient of its exponent is not a number."""
    model, task = build(WRITTEN_OUT), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    found = searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT).chosen.model
    arrays = {name: value.const_value.numpy() for name, value in found.initializers.items()}
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert (arrays["two"], arrays["epsilon"]) == (np.float32(2), np.float32(1e-5))
    assert found.shapes.dims["g"][1] == 3


def test_normalising_and_folding_change_nothing():
    model = build(DEEP)
    module, x = lower(model), torch.randn(64, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
        normalise(module, x)
        assert torch.allclose(module(x), expected, atol=1e-4)
        fold(module)
        assert torch.allclose(module(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("readings", "samples", "chosen"),
    [
        ((0.90, 0.99, 0.986, 0.98), 400, 2),  # a standard error of 0.99 is 0.005
        ((0.90, 0.99, 0.986, 0.98), 10_000, 1),
        ((0.90, 0.99, 0.98, 0.981), 100, 3),
        ((0.5, 0.6, 0.7, 0.8), 10_000, 3),
        ((1.0, 0.9, 1.0, 0.9), 10_000, 2),
        ((-1.0, -1.0, 0.7, 0.6), 10_000, 2),
        ((-1.0, -1.0, -1.0, -1.0), 10, 3),
    ],
)
def test_the_latest_reading_that_is_as_good_as_the_best_is_chosen(readings, samples, chosen):
    model, task = build(DEEP), toy(0, 1, 2)
    module = lower(cut_head(model, task.wanted.indices, rest=False)).train()
    trainer = Trainer(module, Recipe(), Clock(0.01, 8))
    left, states = iter(readings), []

    def read() -> float:
        states.append(snapshot(module))
        return next(left)

    batches = views_of(model, task).endless(32)
    assert cycle(trainer, batches, 2, lambda: None, read, samples) == (chosen, readings[chosen])
    assert all(torch.equal(now, states[chosen][name]) for name, now in snapshot(module).items())


def test_folding_keeps_what_was_learnt():
    model = build(DEEP)
    task = toy(0, 1, 2)
    views = views_of(model, task)
    base = cut_head(model, task.wanted.indices, rest=False)
    module = lower(base)
    normalise(module, next(views.batches(64)).x)
    module.train()
    trainer = Trainer(module, Recipe(), Clock(0.01, 20))
    for _, batch in zip(range(2), views.batches(32), strict=False):
        trainer.step(batch)
    module.eval()
    x = torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        learnt = module(x)
        fold(module)
        assert torch.allclose(module(x), learnt, atol=1e-4)
        assert not torch.allclose(lower(base)(x), learnt, atol=1e-2)


def test_the_clock_warms_up_and_cools_down():
    clock, rates = Clock(0.1, 200), []
    for _ in range(200):
        rates.append(clock.rate())
        clock.tick()
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(0.1, rel=0.01)
    assert 3 <= peak <= 8
    assert 0 < rates[0] < 0.01
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert clock.rate() == pytest.approx(0, abs=1e-6)


def test_the_loss_is_labels_and_teacher():
    scores, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    batch = Batch(torch.zeros(2, 1), y, scores.clone(), scores.clone())
    labels = float(nn.functional.cross_entropy(scores, y))
    assert float(objective(scores, batch, Recipe(distill=0.0))) == pytest.approx(labels)
    assert float(objective(scores, batch, Recipe(distill=1.0))) == pytest.approx(0, abs=1e-6)  # equals its teacher
    far = Batch(batch.x, y, -scores, -scores)
    p, q = torch.softmax(-scores / 2, 1), torch.softmax(scores / 2, 1)
    by_hand = float((p * (p / q).log()).sum(1).mean() * 4)
    assert float(objective(scores, far, Recipe(distill=1.0, temperature=2.0))) == pytest.approx(by_hand, rel=1e-5)


def test_training_lowers_the_loss():
    model = build(NET)
    task = toy(0, 1, 2)
    views = views_of(model, task)
    module = lower(cut_head(model, task.wanted.indices, rest=False)).train()
    trainer = Trainer(module, Recipe(distill=0.0), Clock(0.05, 60))
    before, losses = evaluate(module, views), []
    while trainer.clock.done < 60:
        for batch in views.batches(16):
            trainer.step(batch)
            losses.append(trainer.loss)
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate(module.eval(), views) > max(before, 0.9)


def test_a_step_without_a_finite_gradient_is_left_out():
    model, task = build(NET), toy(0, 1, 2)
    module = lower(cut_head(model, task.wanted.indices, rest=False)).train()
    trainer = Trainer(module, Recipe(), Clock(0.05, 60))
    batch = next(views_of(model, task).batches(16))
    before = snapshot(module)
    trainer.step(replace(batch, x=batch.x * math.inf))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert (trainer.left_out, trainer.clock.done) == (1, 1)
    trainer.step(batch)
    assert trainer.left_out == 1
    assert math.isfinite(trainer.loss)
    assert not all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


ROOT = """(float[N, 3, 8, 8] image) => (float[N, 5] y) <float[16, 3, 1, 1] a, float[16, 16, 1, 1] b, float[16, 5] g>
{ c = Conv (image, a)
  z = Sub (c, c)
  s = Sqrt (z)
  r = Add (c, s)
  d = Conv (r, b)
  p = GlobalAveragePool (d)
  f = Flatten (p)
  y = MatMul (f, g) }"""
"""(N, 3, 8, 8) -> (N, 16, 8, 8), plus roots of 0, which have no gradient -> (N, 16) -> (N, 5)"""


def test_a_network_that_cannot_be_trained_is_refused():
    model, task = build(ROOT), toy(0, 1, 2)
    base = cut_head(model, task.wanted.indices, rest=False)
    with pytest.raises(ModelError, match=r"training: .* steps had gradients that are not finite.*--recover fast"):
        searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT)
    assert searched(base, views_of(model, task), CostAim("macs", 0.6, 2), SHORT, "fast").met
