"""Activations: sigma' and sigma'' against autograd, and the refusal of unknown names."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, draw, gap, refused

from shooting.activations import ACTIVATIONS, Activation, activation

pytestmark = pytest.mark.usefixtures("float64")
EVERY = pytest.mark.parametrize("name", sorted(ACTIVATIONS))


def _points() -> torch.Tensor:
    """Random points, and large ones where PyTorch's own softplus would switch to the line."""
    return torch.cat(
        [draw(0, 200, scale=3.0), torch.tensor([-60.0, -25.0, 19.0, 21.0, 25.0, 60.0])]
    )


@EVERY
def test_slope_is_the_derivative(name):
    sigma, v = ACTIVATIONS[name], _points().requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(v).sum(), v)
    assert gap(sigma.slope(v), slope) <= EXACT


@EVERY
def test_curvature_is_the_second_derivative(name):
    sigma, v = ACTIVATIONS[name], _points().requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(v).sum() + 0 * (v**2).sum(), v, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), v)
    assert gap(sigma.curvature(v), curvature) <= EXACT


@EVERY
def test_slope_matches_differences(name):
    sigma, v, h = ACTIVATIONS[name], draw(1, 200), 1e-5
    v = v[v.abs() > 1e-3]  # away from the kink of ReLU
    difference = (sigma.value(v + h) - sigma.value(v - h)) / (2 * h)
    # truncation h^2 = 1e-10, rounding 1e-16 / h = 1e-11
    assert gap(difference, sigma.slope(v)) < 1e-9


def test_wrong_slope_would_be_noticed():
    v = draw(2, 50).requires_grad_()
    (slope,) = torch.autograd.grad(torch.tanh(v).sum(), v)
    assert gap(ACTIVATIONS["softplus"].slope(v), slope) > 0.1


def test_softplus_is_exact_far_out():
    v = torch.tensor([21.0, 30.0, 50.0])
    assert gap(ACTIVATIONS["softplus"].value(v) - v, torch.log1p(torch.exp(-v))) <= 1e-14


def test_relu_takes_zero_at_the_kink():
    v = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.relu(v).sum(), v)
    assert ACTIVATIONS["relu"].slope(v).item() == slope.item() == 0.0


def test_only_relu_is_not_smooth():
    assert [a.name for a in ACTIVATIONS.values() if not a.smooth] == ["relu"]


def test_own_activation_passes_through():
    sine = Activation("sine", torch.sin, torch.cos, lambda v: -torch.sin(v))
    assert activation(sine) is sine
    assert activation("tanh") is ACTIVATIONS["tanh"]


def test_unknown_name_is_refused():
    with refused("'swish'", "tanh"):
        activation("swish")
