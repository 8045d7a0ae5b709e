"""Muon: steps are orthogonal and of one size, and what is trained by it is learnt."""

import pytest
import torch
from torch import nn

from seam_onnx.hyperparameters import Recipe
from seam_onnx.search.muon import SIZE, Muon, orthogonal
from seam_onnx.search.train import optimizers


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8), (1, 5)])
def test_singular_values_come_out_alike(shape):
    matrices = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    before, after = torch.linalg.svdvals(matrices), torch.linalg.svdvals(orthogonal(matrices))
    assert (before[:, 0] / before[:, -1]).min() > 1.3 or min(shape) == 1
    assert 0.6 < after.min() <= after.max() < 1.3


def test_nothing_stays_nothing():
    assert not orthogonal(torch.zeros(1, 3, 4)).any()


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (8, 1, 3, 3), (4, 30), (5, 2, 7)])
def test_a_step_has_one_size_whatever_the_gradient(shape):
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-4, 1.0, 1e3):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = scale * torch.randn(shape, generator=generator)
        Muon([weight], lr=0.1).step()
        assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.1 * SIZE, rel=0.3)


def test_channels_last_weights_are_trained_alike():
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    made = []
    for layout in (torch.contiguous_format, torch.channels_last):
        one = nn.Parameter(weight.clone().contiguous(memory_format=layout))
        optimizer = Muon([one], lr=0.01, weight_decay=0.1)
        for _ in range(3):
            one.grad = (one.detach() - 1).contiguous(memory_format=layout)
            optimizer.step()
        made.append(one.detach())
    torch.testing.assert_close(*made)


def test_decay_is_decoupled():
    weight = nn.Parameter(torch.ones(3, 3))
    weight.grad = torch.zeros(3, 3)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 3), 0.95))


def test_a_badly_scaled_problem_is_solved_where_sgd_is_not():
    """Least squares whose inputs differ in size by a factor of thirty."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator) * torch.logspace(-1.5, 0, 6)
    y = x @ torch.randn(6, 4, generator=generator)
    losses = []
    for make in (lambda p: Muon(p, lr=0.05), lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9)):
        weight = nn.Parameter(torch.zeros(4, 6))
        optimizer = make([weight])
        for number in range(150):
            for group in optimizer.param_groups:
                group["lr"] *= 1 - number / 150 if number == 75 else 1.0
            loss = nn.functional.mse_loss(x @ weight.T, y)
            weight.grad = None
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] < 0.5 * losses[1]


def test_what_trains_what():
    kernel, matrix, scale = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 3, 3, 3), (4, 5), (7,)))
    muon, adam = optimizers([kernel, matrix, scale], Recipe())
    assert isinstance(muon, Muon)
    assert [len(g["params"]) for g in muon.param_groups] == [2]
    assert [p is scale for g in adam.param_groups for p in g["params"]] == [True]
    (only,) = optimizers([kernel, matrix, scale], Recipe(optimizer="adamw"))
    assert [(len(g["params"]), g["weight_decay"]) for g in only.param_groups] == [(2, 0.05), (1, 0.0)]
    (affine,) = optimizers([scale], Recipe())
    assert not isinstance(affine, Muon)
