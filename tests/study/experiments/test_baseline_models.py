"""Other models than the paper's: each against a closed form or a loop of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from shooting import DynamicDirect, Solver, UpDown
from shooting.study.experiments.baseline_models import (
    Galerkin,
    NeuralODE,
    legendre,
    residual_network,
)

pytestmark = pytest.mark.usefixtures("float64")
X = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64).unsqueeze(-1)


def test_perceptron_is_that_of_torch():
    model = NeuralODE(1, 5, augment=2, seeds=[3, 4])
    w = dict(model.named_parameters())
    z = torch.randn(2, 7, 3)
    for run in range(2):
        rival = nn.Sequential(
            nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)
        )
        with torch.no_grad():
            for k, layer in enumerate((rival[0], rival[2], rival[4]), start=1):
                layer.weight.copy_(w[f"W{k}"][run])
                layer.bias.copy_(w[f"b{k}"][run])
        assert torch.allclose(model.velocity(z)[run], rival(z[run]), atol=1e-14)


def test_node_solves_a_linear_equation():
    model = NeuralODE(1, 2, seeds=[0])
    with torch.no_grad():  # x' = relu(relu(x)) - relu(relu(-x)) = x
        parts = {"W1": [[1.0], [-1.0]], "W2": [[1.0, 0.0], [0.0, 1.0]], "W3": [[1.0, -1.0]]}
        for name, view in model.named_parameters():
            value = torch.tensor(parts[name]) if name in parts else torch.zeros(view.shape[1:])
            view.copy_(value.expand_as(view))
    # global error of the fourth-order rule for x' = x: h^4 e / 120 = 2.3e-6 at h = 0.1
    assert torch.allclose(model(X, [0.0, 1.0])[0, -1], math.e * X, rtol=3e-6)


def test_augmentation_starts_at_zero():
    model = NeuralODE(1, 3, augment=2, seeds=[0])
    start = model.states(X, [0.0, 1.0])[0, 0]
    assert torch.equal(start[:, :1], X)
    assert not start[:, 1:].any()
    assert model.states(X, [0.0, 1.0])[0, -1, :, 1:].any()


def test_legendre_polynomials_are_orthonormal():
    nodes, weights = np.polynomial.legendre.leggauss(8)  # exact to degree 15
    values = np.stack([legendre((s + 1) / 2, 5).numpy() for s in nodes])
    gram = np.einsum("q,qm,qn->mn", weights / 2, values, values)
    assert np.abs(gram - np.eye(5)).max() < 1e-13  # rounding of sums of eight products


def test_galerkin_penalty_is_the_integral_over_depth():
    model = Galerkin(UpDown(1, 3), seeds=[0, 1])
    nodes, weights = np.polynomial.legendre.leggauss(6)
    times = [0.0, *((nodes + 1) / 2), 1.0]
    theta = {k: v[..., 1:-1, :, :] for k, v in model.theta(times).items()}
    at_nodes = torch.stack(
        [model.field.penalty({k: v[..., i, :, :] for k, v in theta.items()}) for i in range(6)]
    )
    integral = (torch.as_tensor(weights / 2).unsqueeze(-1) * at_nodes).sum(0)
    assert torch.allclose(model.penalty(), integral, rtol=1e-12)  # rounding
    assert not torch.allclose(model.penalty() / model.blocks, integral, rtol=1e-2)  # the mean


def test_galerkin_of_known_depth_answers_halfway():
    field = UpDown(1, 3)
    known, guess = (Galerkin(field, blocks=3, depth=d, seeds=[0]) for d in (1.0, None))
    whole = guess(X, [0.0, 0.5, 1.0])[:, :2]
    assert torch.allclose(known(X, [0.0, 0.5]), whole, atol=1e-13)  # rounding
    assert not torch.allclose(guess(X, [0.0, 0.5]), whole, atol=1e-3)  # polynomials squeezed
    part, control = known.theta([0.0, 0.5])["b2"], guess.theta([0.0, 0.5, 1.0])["b2"][:, :2]
    assert torch.allclose(part, control, atol=1e-13)


@pytest.mark.parametrize("depth", [None, 1.0])
def test_models_go_back_through_their_own_control(depth):
    """From the end to the beginning, up to the error of two solves in steps of 1/20 and 1/30."""
    field = UpDown(1, 3, sigma="tanh")
    for model in (Galerkin(field, blocks=3, depth=depth, seeds=[0]), NeuralODE(1, 4, seeds=[0])):
        model.solver = Solver(step=1 / 20)
        states = model.states(X, [0.0, 1.0])
        model.solver = Solver(step=1 / 30)
        back = model.flow(states[:, -1], [1.0, 0.0])[:, -1]
        # order 4; at the kinks of ReLU, in the neural ODE, order 2
        assert torch.allclose(
            back, states[:, 0], atol=1e-5 if isinstance(model, Galerkin) else 1e-3
        )
        assert not torch.allclose(states[:, -1], states[:, 0], atol=1e-2)


def test_a_gradient_in_time_is_refused_where_it_would_be_lost():
    times = torch.tensor([0.0, 1.0], requires_grad=True)
    model = Galerkin(UpDown(1, 3), seeds=[0])
    for call in (model, NeuralODE(1, 4, seeds=[0])):
        with pytest.raises(ValueError, match="times without gradient"):
            call(X, times)
    with pytest.raises(ValueError, match="times without gradient"):
        model.theta(times)


def test_galerkin_with_one_mode_is_static_direct():
    field = UpDown(1, 3)
    one, block = (
        Galerkin(field, blocks=1, seeds=[0, 1]),
        DynamicDirect(field, blocks=1, seeds=[5, 6]),
    )
    with torch.no_grad():
        for mine, other in zip(block.parameters(), one.parameters(), strict=True):
            mine.copy_(other)
    assert torch.allclose(one(X, [0.0, 1.0]), block(X, [0.0, 1.0]), atol=1e-13)
    assert torch.allclose(one.penalty(), block.penalty())


def test_galerkin_follows_its_own_control():
    field = UpDown(1, 2, sigma="tanh")  # smooth: at a kink of ReLU steps of 0.1 lose their order
    model = Galerkin(field, blocks=3, seeds=[0])
    fine = DynamicDirect(field, blocks=400, seeds=[0])
    times = [0.0, *((np.arange(400) + 0.5) / 400), 1.0]
    with torch.no_grad():  # piecewise constant at midpoints: error of order (1/400)^2
        parts = {**model.theta(times), **dict(model.named_parameters())}
        for name, view in fine.named_parameters():
            known = name in field.shapes
            view.copy_(model.theta(times)[name][..., 1:-1, :, :] if known else parts[name])
    assert torch.allclose(model(X, [0.0, 1.0]), fine(X, [0.0, 1.0]), atol=1e-4)


def test_residual_network_is_a_loop_over_layers():
    model = residual_network(UpDown(1, 3), layers=4, seeds=[0])
    theta, z = model.theta_blocks(), model.lift(X.expand(1, -1, -1))
    for layer in range(4):
        z = z + model.field.velocity(z, {k: v[:, layer] for k, v in theta.items()}) / 4
    assert torch.allclose(model.states(X, [0.0, 1.0])[:, -1], z, atol=1e-13)
