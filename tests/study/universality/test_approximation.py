"""Proposition 7: flows obey the bound and stay in their ball; bad fields are refused."""

import math
from dataclasses import replace

import pytest
import torch

from shooting.study.universality.approximation import (
    Ball,
    Settings,
    approximate,
    field_error,
    fit_intervals,
    sample,
    surround,
)
from shooting.study.universality.bounds import Bound, lipschitz_bound
from shooting.study.universality.counterexamples import pole, square_root_field, wrong_shape
from shooting.study.universality.pieces import Piece, drive, energy, retime
from shooting.study.universality.targets import (
    BUILT_IN,
    Smoothness,
    Target,
    folded_rotation,
    jet,
    moving_vortex,
)
from tests.study.universality.examples import QUICK, disk


def test_the_sampled_value_is_no_bound_and_the_upper_one_is():
    """A coarse grid misses the error between its nodes; the bound from above does not."""
    target = moving_vortex()
    ball = surround(target)
    nets = fit_intervals(target, ball.radius, QUICK)
    coarse = field_error(nets, ball, sample(target, ball, rho=0.3), times=2)
    fine = field_error(nets, ball, sample(target, ball, rho=0.02), times=8)
    assert coarse.sampled < fine.sampled <= fine.upper < coarse.upper


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", BUILT_IN)
def test_error_is_below_the_bound_and_the_flow_stays_in_the_ball(name, shared, balls):
    ball = balls[name]
    found = approximate(BUILT_IN[name](), replace(QUICK, shared=shared), ball=ball)
    path = found.flow(disk(), times=9)
    assert 0 < float(found.error(disk(), times=9).max()) <= found.bound
    assert float(path.norm(dim=-1).max()) <= ball.radius
    assert found.eps.sampled <= found.eps.upper <= 1.3 * found.eps.sampled


def test_error_and_bound_fall_with_the_number_of_intervals(balls):
    target, ball = moving_vortex(), balls["moving vortex"]
    found = [
        approximate(target, replace(QUICK, intervals=k, rho=0.04), ball=ball) for k in (2, 4, 8)
    ]
    errors = [float(f.error(disk()).max()) for f in found]
    assert errors == sorted(errors, reverse=True)
    assert [f.bound for f in found] == sorted((f.bound for f in found), reverse=True)


def test_values_used_again_give_the_same_numbers(balls):
    target, ball = moving_vortex(), balls["moving vortex"]
    how = replace(QUICK, intervals=2, rho=0.1)
    once = approximate(target, how, ball=ball)
    again = approximate(target, how, ball=ball, known=sample(target, ball, rho=0.1))
    # equal but for rounding: products of matrices add in an order that depends on where in memory
    # they lie (1e-16), and least squares amplify that by their condition, which a ridge of 1e-7
    # keeps below sqrt(neurons / 1e-7), some 3e4: 3e-12, and a margin
    close = {"rel": 1e-9}
    assert again.eps.sampled == pytest.approx(once.eps.sampled, **close)
    assert again.eps.upper == pytest.approx(once.eps.upper, **close)
    assert again.energy == pytest.approx(once.energy, **close)
    other = approximate(target, replace(how, seed=1), ball=ball)  # the control: other networks
    assert other.eps.sampled != pytest.approx(once.eps.sampled, **close)


def test_the_cheapest_timing_costs_less_and_leads_to_the_same_map(balls):
    found = approximate(moving_vortex(), replace(QUICK, rho=0.2), ball=balls["moving vortex"])
    blocks = [{n: v[k] for n, v in found.theta.items()} for k in range(8)]
    pieces = retime(found.updown, [Piece(1 / 8, theta, 40) for theta in blocks])
    assert energy(found.updown, pieces) == pytest.approx(found.least_energy, rel=1e-12)
    assert found.least_energy < found.energy
    ends = drive(found.updown, pieces, found.lift(disk()))[-1, :, :2]
    assert torch.allclose(ends, found.flow(disk(), step=1 / 320)[-1], atol=1e-6)  # RK4, h = 1/320


def test_certified_means_derived_constants_and_room(balls):
    good = approximate(moving_vortex(), QUICK, ball=balls["moving vortex"])
    assert good.certified
    assert not replace(good, ball=replace(good.ball, known=Smoothness(1, 1, 1, False))).certified
    assert not replace(good, eps=Bound(2.0, 2.0)).certified


def test_control_networks_fitted_on_the_disk_alone_break_the_bound():
    """The jet leaves the unit disk: with r = 1 for the reachable radius the bound is false."""
    target = jet()
    lip = lipschitz_bound(target, 1.0, target.smoothness(1.0))
    small = Ball(Bound(1.0, 1.0), 1.0, lip, target.smoothness(1.0))
    found = approximate(target, replace(QUICK, intervals=32, slope=2.0), ball=small)
    assert float(found.error(disk()).max()) > found.bound


def test_any_user_field_works_without_constants():
    """Not a built-in: three dimensions, constants estimated, and reported as such."""

    def swirl(t, x):
        return torch.stack([-x[:, 1], x[:, 0], 0.3 * torch.cos(x[:, 2] + t)], 1)

    target = Target(swirl, 3, 0.5, "swirl")
    ball = surround(target, margin=0.5)
    how = Settings(intervals=4, neurons=40, shared=True, rho=0.08, times=4)
    found = approximate(target, how, ball=ball)
    x = torch.tensor([[0.5, 0, 0], [0, 0, 0.5], [0.1, 0.2, 0.3]], dtype=torch.float64)
    assert float(found.error(x, times=5).max()) <= found.bound
    assert not found.certified


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (wrong_shape, "return velocities of shape"),
        (pole, "finite velocities"),
        (square_root_field, "difference quotients growing"),
        (lambda: Target(lambda t, x: [0.0], 1), "got list"),
        (lambda: Target(lambda t, x: torch.sign(x), 1, name="jump"), "'jump' with difference"),
        (lambda: Target(lambda t, x: 0.9 * x**2, 1, name="runaway"), "stays in some ball"),
        (lambda: Target(lambda t, x: 1.5 * x**2, 1, name="explosion"), "stays bounded up to t = 1"),
        (lambda: Target(lambda t, x: -x, 9), "fewer dimensions"),
    ],
)
def test_bad_fields_get_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        surround(make())


def test_a_field_with_a_kink_has_a_certified_bound():
    """(|x2|, -x1/2) is Lipschitz and not C^1; its L = 1 is all that the bound needs."""
    target, x = folded_rotation(), disk()
    still = float((target.flow(x)[-1] - x).norm(dim=1).max())
    how = Settings(intervals=1, neurons=200, shared=True, slope=4.0, rho=0.01)
    found = approximate(target, how)
    assert found.certified
    error = float(found.error(x, times=9).max())
    assert error <= found.bound < still / 2
    assert error < still / 4


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
def test_the_first_order_bound_needs_the_slopes_of_field_and_network(sigma):
    """On a coarse grid e hides between the nodes; without the slope of w the bound is false."""
    saw = Target(lambda t, x: 5 * (x / 2 - 0.125).remainder(1.0).sub(0.5).abs(), 1)  # slope 5/2
    ball = Ball(Bound(1.0, 1.0), 2.0, Bound(2.5, 2.5), Smoothness(0.0, lipschitz=2.5))
    nets = fit_intervals(saw, 2.0, Settings(intervals=1, neurons=2, sigma=sigma, ridge=1e3))
    fine = field_error(nets, ball, sample(saw, ball, rho=1e-3), times=1)
    coarse = field_error(nets, ball, sample(saw, ball, rho=0.25), times=1)
    assert coarse.sampled < fine.sampled <= min(fine.upper, coarse.upper)
    flat = replace(ball, lipschitz=Bound(0.0, 0.0))  # control: the slope of w forgotten
    wrong = field_error(nets, flat, sample(saw, flat, rho=0.25), times=1)
    assert wrong.upper < fine.sampled


def test_second_derivatives_give_the_sharper_bound(balls):
    target, ball = moving_vortex(), balls["moving vortex"]
    nets = fit_intervals(target, ball.radius, QUICK)
    grid = sample(target, ball, rho=0.04)
    first = replace(ball, known=replace(ball.known, curvature=math.inf))
    sharp, rough = (field_error(nets, b, grid) for b in (ball, first))
    assert sharp.sampled == rough.sampled
    assert sharp.upper < rough.upper


def test_a_kink_without_constants_is_found_and_bounded():
    target = Target(lambda t, x: x.abs(), 1, name="kink")
    ball = surround(target)
    assert not ball.known.certified
    assert 1.0 <= ball.lipschitz.upper < 1.2
    assert math.isinf(ball.known.curvature)


def test_approximate_refuses_a_field_that_is_not_lipschitz():
    with pytest.raises(ValueError, match="expected a Lipschitz field"):
        approximate(square_root_field())


def test_a_constant_too_large_for_its_exponential_is_said_and_no_overflow():
    target = Target(lambda t, x: torch.tanh(1000 * x), 1, name="steep")
    with pytest.raises(ValueError, match=r"stays in some ball, got radius inf \(and L up to"):
        surround(target)
