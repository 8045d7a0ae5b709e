"""Classes that are no outputs, and what is learnt of them."""

import math

import numpy as np
import pytest
import torch
from files import NET
from graphs import build, gap
from toys import DEEP, dataset, searched, toy, views_of

from seam_onnx.data import Dataset, Splits
from seam_onnx.labels import Wanted
from seam_onnx.lowering import lower, write_back
from seam_onnx.masks import MaskSet
from seam_onnx.search import (
    CostAim,
    Recipe,
)
from seam_onnx.search.auxiliary import features_of
from seam_onnx.search.training import Training
from seam_onnx.search.trial import Trial, distance
from seam_onnx.surgery import cut_head
from seam_onnx.surgery.logits import logits_of
from seam_onnx.task import make_task


def test_the_reader_begins_with_what_least_squares_finds():
    """NET's head is linear in what the reader reads, so that it scores the other classes as the teacher does"""
    model, task = build(NET), toy(3, 1)
    base, views = cut_head(model, task.wanted.indices, rest=False), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe())
    module = training.with_classes(base)
    batch = next(views.batches(64))
    logits, classes = module(batch.x)
    assert gap(classes.detach().numpy(), batch.classes.numpy()) < 0.1
    assert gap(logits.detach().numpy(), batch.teacher.numpy()) < 1e-5
    before = {name: weight.detach().clone() for name, weight in module.weights.items()}
    trainer = training.trainer(base, MaskSet({}, ""), training.trainable(base), 10)
    for _ in range(10):
        trainer.step(next(training.batches))
    assert set(before) == set(module.weights)
    assert [v.name for v in write_back(base, module).graph.outputs] == ["y"]


def test_rows_of_a_rest_are_taught_the_classes_that_are_left():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe(distill=0.0, classes=1.0))
    module = training.with_classes(base)
    batch = next(views.batches(64))
    scores, classes = module(batch.x)
    often = torch.tensor([math.log(4), 0, 0, 0, 0])  # the four others together are drawn as often as the wanted one
    assert torch.allclose(classes + often, batch.classes, atol=1e-5)
    assert torch.allclose(scores + often[:2], batch.teacher, atol=1e-5)
    masks = MaskSet({}, "", {"seam.rest.sum": np.array([[True, False, True, True]])})
    assert training.trainer(base, masks, module, 1).columns.tolist() == [0, 1, 3, 4]


def test_a_refit_brings_a_rest_to_the_frequencies_of_the_task():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    training = Training(base, logits_of(base), views, Recipe())
    seen, module = training.samples(64), lower(base, logits_of(base))
    trial = Trial(module, logits_of(base), seen, training.lessons(base, MaskSet({}, ""), seen))
    assert distance(module, seen.x, seen.teacher) > 0.05
    assert trial.loss(base, {}) < 1e-4


@pytest.mark.parametrize("indices", [(0, 1, 2), (0, 1)])
def test_a_pruned_model_is_pruned_again_and_its_hidden_rows_are_not_taught(indices):
    """Two labels and a rest of five classes: to the teacher, which is the pruned model, these are three"""
    model = cut_head(build(DEEP), (3, 1), rest=True)
    chosen = Wanted(indices, tuple(map(str, indices)), len(indices) < 3, 3)
    splits = [dataset(60, seed) for seed in range(3)]
    task = make_task(chosen, Splits(*(Dataset(s.x, s.y % 3, None) for s in splits), ()))
    base, views = cut_head(model, chosen.indices, rest=chosen.rest), views_of(model, task)
    found = searched(base, views, CostAim("macs", 0.8, 1), Recipe(least=8, epochs=1, rounds=1))
    assert found.chosen.kept <= 0.8
    assert next(v for v in found.chosen.model.graph.outputs).shape[1] == 3


def test_without_them_a_network_has_one_output():
    model, task = build(NET), toy(2, rest=True)
    base, views = cut_head(model, task.wanted.indices, rest=True), views_of(model, task)
    module = Training(base, logits_of(base), views, Recipe(classes=0.0)).trainable(base)
    assert isinstance(module(next(views.batches(8)).x), torch.Tensor)


@pytest.mark.parametrize(
    ("head", "name", "axis"),
    [
        ("y = Gemm <transB = 1> (f, g, h)", "f", -1),
        ("z = Gemm <transB = 1> (f, g, h) q = Relu (z) y = Identity (q)", "f", -1),
        ("y = Add (f, f)", None, 0),
    ],
)
def test_features_are_what_the_last_layer_reads(head, name, axis):
    """x -> mean over places -> f (N, 3), and a head"""
    model = build(
        f"(float[N, 3, 8, 8] x) => (float[N, M] y) <float[6, 3] g, float[6] h>"
        f"{{ p = GlobalAveragePool (x) f = Flatten (p) {head} }}"
    )
    assert features_of(model, "y") == (None if name is None else (name, axis))
