"""Inflation 1, tanh: amplification makes a network of the flow."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from shooting.study.universality.amplified import PSI, amplified_flow
from shooting.study.universality.rectified import as_network
from tests.study.universality.examples import end, turned_layers


def test_amplified_tanh_reads_psi_to_second_order_in_eta(x):
    """General layers, alpha = 1: the gap to the network falls like eta^2; unamplified it stays."""
    layers, b = turned_layers(5, 3), torch.tensor([0.3, -0.2], dtype=torch.float64)
    near = x[x.norm(dim=1) <= 1]
    net = replace(as_network(layers, b), sigma=PSI)
    gaps = []
    for eta in (0.02, 0.01, 0.005):
        flow = amplified_flow(layers, b, eta, steps=60)
        assert (flow.field.inflation, flow.field.sigma.name) == (1, "tanh")
        gaps.append(float((end(flow, near) - near - net(near)).abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(gaps)]
    assert all(1.9 < order < 2.1 for order in orders)
    flat = amplified_flow(layers, b, 0.005, amplify=False, steps=60)
    assert float((end(flat, near) - near - net(near)).abs().max()) > 0.1


def test_psi_is_tanh_of_arsinh_with_its_derivatives():
    u = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(PSI.value(u), torch.tanh(torch.asinh(u)), atol=1e-14)  # rounding
    (slope,) = torch.autograd.grad(PSI.value(u).sum(), u, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), u)
    assert torch.allclose(slope, PSI.slope(u), atol=1e-13)
    assert torch.allclose(bend, PSI.curvature(u), atol=1e-13)


@pytest.mark.parametrize("eta", [0.0, 1.0, -0.1])
def test_sizes_outside_the_linear_range_are_refused(eta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        amplified_flow(turned_layers(1, 2), torch.zeros(2, dtype=torch.float64), eta)
