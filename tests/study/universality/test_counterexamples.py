"""Hypotheses that Proposition 7 needs, each with a field that breaks it."""

import pytest
import torch

import shooting
from shooting.study.universality.approximation import surround
from shooting.study.universality.counterexamples import (
    branches,
    branching_field,
    branching_rate,
    quartic_flow,
    tight_ball_exit,
    tight_ball_network,
)
from shooting.study.universality.embeddings import stack
from shooting.study.universality.targets import Target
from tests.study.universality.examples import end


def test_the_tight_ball_breaks_the_printed_proposition():
    net = tight_ball_network()
    field, lift, theta = stack([net])
    x = torch.linspace(-1, 1, 41, dtype=torch.float64).unsqueeze(1)
    claimed = float(net(x).abs().max())
    end = shooting.carry(field, theta, lift(x), [0.0, 1.0], solver=shooting.Solver(step=1 / 400))
    actual = float((end[-1, :, :1] - x).abs().max())
    assert claimed == pytest.approx(0.01)
    assert actual == pytest.approx(tight_ball_exit(), rel=1e-5)  # RK4, M h = 1/40
    assert actual > 2000 * claimed
    still = Target(lambda t, x: 0 * x, 1, 1.0, "still field")  # stays in [-1, 1], the tightest ball
    assert surround(still).radius >= 2  # the repair: networks must be close there too
    assert float(net(2 * x).abs().max()) > 10


def test_a_field_without_uniform_constant_has_three_flows():
    target, h = branching_field(), 1e-6
    for t in (0.6, 0.8, 1.0):
        slope = (branches(t + h) - branches(t - h)) / (2 * h)
        assert torch.allclose(slope, target(t, branches(t)), atol=1e-9)  # difference quotient
    spread = float(branches(1.0).max() - branches(1.0).min())
    assert spread == pytest.approx(branching_rate() / 2)
    with pytest.raises(ValueError, match="one Lipschitz constant for all t"):
        surround(target)


def test_squares_reach_a_quartic_exactly():
    """Each piece moves one of x and v while the other rests, so that Runge-Kutta is exact."""
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64).unsqueeze(1)
    quartic = x + x**2 + x**4
    assert (end(quartic_flow(), x) - quartic).abs().max() < 1e-12  # rounding
    assert (end(quartic_flow(wait=False), x) - quartic).abs().max() > 1.0  # control: degree two
    powers = x ** torch.arange(3)
    best = powers @ torch.linalg.lstsq(powers, quartic).solution
    assert (best - quartic).abs().max() > 0.3  # nor is it near any polynomial of degree two
