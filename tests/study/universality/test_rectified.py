"""Inflation 1, functions: what ReLU reaches on the line and in the plane."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.embeddings import Lift
from shooting.study.universality.frozen import complex_square
from shooting.study.universality.networks import fit_outer
from shooting.study.universality.pieces import drive, energy
from shooting.study.universality.rectified import (
    Curve,
    as_network,
    generators,
    mixing_flow,
    quadratic_like,
    taylor_energy,
    taylor_flow,
    turning_features,
    with_outer,
)
from tests.study.universality.examples import end, turned_layers


def test_derivatives_of_the_curve():
    g, x = quadratic_like(), torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    h = 1e-5
    assert torch.allclose((g.value(x + h) - g.value(x - h)) / (2 * h), g.slope(x), atol=1e-8)
    assert torch.allclose((g.slope(x + h) - g.slope(x - h)) / (2 * h), g.bend(x), atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_taylor_flow_is_the_function(scale):
    g, pieces = quadratic_like(), 200
    flow = taylor_flow(g, pieces, scale=scale)
    nodes = torch.linspace(g.start, g.end, pieces + 1, dtype=torch.float64).unsqueeze(1)
    assert float((end(flow, nodes) - g.value(nodes)).abs().max()) < 1e-8  # Simpson, h = 0.015
    between = nodes[:-1] + 0.4 * (nodes[1] - nodes[0])
    assert float((end(flow, between) - g.value(between)).abs().max()) < 1e-4  # kinks: g'' h^2 / 8
    assert energy(flow.field, flow.pieces) == pytest.approx(taylor_energy(g, scale=scale), rel=1e-3)


def test_taylor_flow_of_a_function_that_touches_the_diagonal_needs_no_tangent():
    g = Curve(lambda x: x + x**3 / 6, lambda x: 1 + x**2 / 2, lambda x: x, 0.0, 1.0)
    flow = taylor_flow(g, 100)
    assert len(flow.pieces) == 100
    nodes = torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1)
    assert float((end(flow, nodes) - g.value(nodes)).abs().max()) < 1e-8  # Simpson, h = 0.01
    assert energy(flow.field, flow.pieces) == pytest.approx(taylor_energy(g), rel=1e-3)


def test_control_taylor_flow_without_the_tangent_and_outside_the_interval():
    g = quadratic_like()
    flow = taylor_flow(g, 50)
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64).unsqueeze(1)
    cut = drive(flow.field, flow.pieces[1:], flow.lift(x))[-1, :, :1]
    assert float((cut - g.value(x)).abs().max()) > 1.0
    far = torch.tensor([[-2.5]], dtype=torch.float64)  # left of a: no longer g
    assert float((end(flow, far) - g.value(far)).abs().max()) > 1.0


def test_arc_length_is_the_cheapest_timing():
    g = quadratic_like()
    fast = taylor_flow(g, 100, arc_length=False)
    assert energy(fast.field, fast.pieces) > 1.03 * taylor_energy(g)


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_generators_reach_every_matrix_of_positive_determinant(seed):
    g = torch.Generator().manual_seed(seed)
    m = torch.randn(2, 2, generator=g, dtype=torch.float64)
    if float(torch.linalg.det(m)) < 0:
        with pytest.raises(ValueError, match="positive determinant"):
            generators(m)
        m = m.flip(0)
    product = torch.eye(2, dtype=torch.float64)
    for part in generators(m):
        product = torch.linalg.matrix_exp(part) @ product
    assert torch.allclose(product, m, atol=1e-9)


def test_half_turns_are_refused():
    with pytest.raises(ValueError, match="half turn"):
        generators(-torch.eye(2, dtype=torch.float64))


def test_mixing_flow_equals_its_network_for_general_layers(x):
    layers = turned_layers(5, 4)
    b = torch.tensor([0.3, -0.2], dtype=torch.float64)
    flow = mixing_flow(layers, b, 1.0, steps=200)
    sought = x + as_network(layers, b)(x)
    assert float((end(flow, x) - sought).abs().max()) < 1e-8  # RK4, 200 steps for each turn
    wrong = mixing_flow(layers, b, 1.0, steps=200, linear=False)
    assert float((end(wrong, x) - sought).abs().max()) > 0.1


def test_complex_square_with_alpha_one(x):
    layers = turning_features(40)
    bare = as_network(layers, torch.zeros(2, dtype=torch.float64))
    sample = ball_cover(2, 1.0, 0.03)
    how = {"sigma": "relu", "ridge": 1e-8}
    net = fit_outer((bare.W, bare.c), sample, [complex_square(sample) - sample], **how)[0]
    flow = mixing_flow(with_outer(layers, net), net.b, 1.0)
    assert flow.field.inflation == 1
    ends = end(flow, x[x.norm(dim=1) <= 0.9])
    near = x[x.norm(dim=1) <= 0.9]
    assert float((ends - near - net(near)).abs().max()) < 1e-5
    assert float((ends - complex_square(near)).norm(dim=1).max()) < 0.1
    assert isinstance(flow.lift, Lift)
