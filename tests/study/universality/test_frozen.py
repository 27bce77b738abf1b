"""Frozen features: functions that no flow of the plane can reach."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.frozen import (
    absorb_bias,
    complex_square,
    fit_map,
    freeze,
    lift_cost,
    map_error,
    rescale_lift,
    winding_number,
)
from shooting.study.universality.pieces import energy
from shooting.study.universality.targets import Target
from tests.study.universality.examples import end, network


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
def test_frozen_flow_is_identity_plus_network(sigma, x):
    net = network(0, sigma)
    assert torch.allclose(end(freeze(net), x), x + net(x), atol=1e-13)  # constant slopes: rounding


def test_complex_square_is_reached_although_it_is_not_injective(x):
    errors = [map_error(fit_map(complex_square, 2, n, slope=1.5), complex_square, 2.0, rho=0.02)
              for n in (10, 40, 160)]  # fmt: skip
    assert errors[0].sampled > errors[1].sampled > errors[2].sampled
    assert errors[2].sampled < 1e-3  # criterion set beforehand: the ridge stops it near 2e-4
    assert all(e.sampled <= e.upper for e in errors)
    net = fit_map(complex_square, 2, 160, slope=1.5)
    pair = torch.tensor([[0.6, 0.3], [-0.6, -0.3]], dtype=torch.float64)
    ends = end(freeze(net), pair)
    assert float((ends[0] - ends[1]).norm()) < 2e-3  # two starts, one end, up to the error


def test_winding_numbers_separate_the_square_from_every_injective_map():
    angle = torch.linspace(0, 2 * math.pi, 401, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    assert winding_number(circle) == 1
    assert winding_number(complex_square(circle)) == 2
    assert winding_number(circle + 3) == 0
    frozen = end(freeze(fit_map(complex_square, 2, 40)), circle)
    assert winding_number(frozen) == 2
    injective = Target(lambda t, x: complex_square(x) - x, 2).flow(0.5 * circle)[-1]
    assert abs(winding_number(injective)) <= 1


@given(st.floats(0.1, 100.0))
@settings(max_examples=10)
def test_the_lift_scale_changes_the_price_and_not_the_function(scale):
    net, x = absorb_bias(network(3, "relu")), ball_cover(2, 0.9, 0.2)
    other = rescale_lift(net, scale)
    assert torch.allclose(other(x), net(x), atol=1e-11)  # rounding, weights up to 100
    one, two = freeze(net), freeze(other)
    prices = [energy(e.field, e.pieces) for e in (one, two)]
    assert prices[1] == pytest.approx(prices[0] / scale**2)
    assert lift_cost(two.lift) == pytest.approx(lift_cost(one.lift) * scale**2)


def test_control_without_absorbing_the_bias_keeps_a_price():
    net = network(3, "relu")
    far = freeze(rescale_lift(net, 1e6))
    assert energy(far.field, far.pieces) == pytest.approx(float((net.b**2).sum()) / 2)
    with pytest.raises(ValueError, match="homogeneous"):
        rescale_lift(network(0), 2.0)
