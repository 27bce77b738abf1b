"""Shallow networks: bounds on their derivatives, padding, refusals."""

from dataclasses import replace

import pytest
import torch

from shooting.activations import activation
from tests.study.universality.examples import still


@pytest.fixture
def x():
    return torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_network_slope_and_curvature_are_bounds(x):
    net = still(2, neurons=6)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: net(y[None])[0]))(x)
    assert torch.allclose(net.jacobian(x), jacobian, atol=1e-13)  # rounding
    h = torch.tensor([0.6, 0.8], dtype=torch.float64)
    for k in range(20):
        y = torch.full((1, 2), 0.1 * k - 1, dtype=torch.float64)
        d2 = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(lambda s: net(s[None])[0])))(y)[0]
        assert float(torch.linalg.vector_norm(d2 @ h @ h)) <= net.curvature()
    assert float(torch.linalg.matrix_norm(jacobian, 2).max()) <= net.lipschitz()
    with pytest.raises(ValueError, match="second derivative"):
        replace(net, sigma=activation("relu")).curvature()


def test_padding_changes_nothing(x):
    net = still(0)
    assert torch.allclose(net(x), net.padded(8)(x), atol=1e-14)  # order of summation


def test_too_few_dimensions_is_refused():
    with pytest.raises(ValueError, match="inflation factor"):
        still(0, neurons=5).padded(4)
