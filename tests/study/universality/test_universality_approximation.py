"""Proposition 7: the bounds are bounds, the flows obey them, bad fields are refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

import shooting
from shooting.study.figures.universality import flow_slider
from shooting.study.universality.approximation import (
    Ball,
    Settings,
    approximate,
    field_error,
    fit_intervals,
    sample,
    surround,
)
from shooting.study.universality.bounds import (
    Bound,
    ball_cover,
    check_lipschitz,
    estimate_smoothness,
    gronwall,
    into_ball,
    lipschitz_bound,
    reach,
    spectral_norm,
    sphere_cover,
)
from shooting.study.universality.counterexamples import (
    branches,
    branching_field,
    branching_rate,
    pole,
    square_root_field,
    still_field,
    tight_ball_exit,
    tight_ball_network,
    wrong_shape,
)
from shooting.study.universality.embeddings import stack
from shooting.study.universality.pieces import Piece, drive, energy, retime
from shooting.study.universality.targets import BUILT_IN, Smoothness, Target, jet, moving_vortex

QUICK = Settings(intervals=8, neurons=60, shared=True)


def disk(radius: float = 1.0) -> torch.Tensor:
    x = ball_cover(2, radius, 0.1 * radius)
    return x[x.norm(dim=1) <= radius]


@pytest.fixture(scope="module")
def balls():
    return {name: surround(make()) for name, make in BUILT_IN.items()}


# --- bounds --------------------------------------------------------------------------------


@given(st.integers(1, 3), st.floats(0.5, 2.0), st.floats(0.1, 0.4), st.integers(0, 10**6))
@settings(max_examples=25)
def test_covers_cover(dim, radius, rho, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(50, dim, generator=g, dtype=torch.float64)
    x = radius * x / x.norm(dim=1, keepdim=True)
    scale = torch.rand(50, 1, generator=g, dtype=torch.float64)
    cover = ball_cover(dim, radius, rho)
    inner = into_ball(cover, radius)
    assert float(inner.norm(dim=1).max()) <= radius + 1e-12
    for nodes in (cover, inner):
        assert float(torch.cdist(x * scale, nodes).amin(1).max()) <= rho + 1e-12
    assert float(torch.cdist(x, sphere_cover(dim, radius, rho)).amin(1).max()) <= rho + 1e-12


def test_grid_maxima_are_bounds_from_below_even_at_the_edge():
    """w = exp(x) on [-1, 1]: nodes beyond the edge would report a slope larger than e."""
    target = Target(lambda t, x: torch.exp(x), 1)
    found = lipschitz_bound(target, 1.0, Smoothness(0.0, math.e, 0.0), rho=0.09)
    assert found.sampled <= math.e + 1e-12 <= found.upper
    assert float(ball_cover(1, 1.0, 0.09).exp().max()) > math.e + 0.05  # control


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_spectral_norm(dim):
    m = torch.randn(20, dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(spectral_norm(m), torch.linalg.matrix_norm(m, 2))


@pytest.mark.parametrize("name", BUILT_IN)
def test_derived_constants_bound_the_difference_quotients_and_are_not_idle(name):
    """Sampled quotients stay below the derived constants; the largest comes within a factor 3."""
    target, radius = BUILT_IN[name](), 2.0
    derived, sampled = target.smoothness(radius), estimate_smoothness(target, radius, safety=1.0)
    for what in ("rate", "curvature", "mixed"):
        assert getattr(sampled, what) <= 1.75 * getattr(derived, what)  # Frobenius over d = 2
    assert sampled.rate >= derived.rate / 3
    assert derived.certified
    assert not sampled.certified


@pytest.mark.parametrize("name", BUILT_IN)
def test_lipschitz_and_reach_enclose_a_finer_sample(name, balls):
    target, ball = BUILT_IN[name](), balls[name]
    g = torch.Generator().manual_seed(1)
    x = ball.radius * (2 * torch.rand(4000, 2, generator=g, dtype=torch.float64) - 1)
    x = x[x.norm(dim=1) <= ball.radius]
    fine = max(float(spectral_norm(target.jacobian(k / 97, x)).max()) for k in range(98))
    assert fine <= ball.lipschitz.upper
    assert ball.lipschitz.upper <= 1.25 * ball.lipschitz.sampled
    assert float(target.flow(disk(), times=201).norm(dim=-1).max()) <= ball.reach.upper
    assert ball.margin >= 1 - 1e-12


def test_the_sampled_value_is_no_bound_and_the_upper_one_is():
    """A coarse grid misses the error between its nodes; the bound from above does not."""
    target = moving_vortex()
    ball = surround(target)
    nets = fit_intervals(target, ball.radius, QUICK)
    coarse = field_error(nets, ball, sample(target, ball, rho=0.3), times=2)
    fine = field_error(nets, ball, sample(target, ball, rho=0.02), times=8)
    assert coarse.sampled < fine.sampled <= fine.upper < coarse.upper


# --- Proposition 7 -------------------------------------------------------------------------


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


def test_slider_shows_every_flow_at_every_depth_and_ends_at_the_last(balls):
    """Points of the drawing are those of the flows, to a hundredth; one frame is visible."""
    found = approximate(moving_vortex(), replace(QUICK, rho=0.2), ball=balls["moving vortex"])
    page = BeautifulSoup(flow_slider([found, found], "A vortex, twice", frames=3), "html.parser")
    assert [d.get_text() for d in page.select("div > div")] == ["true flow", *["UpDown, k = 8"] * 2]
    for panel in page("svg"):
        frames = panel.select("g[data-frame]")
        assert [g["data-frame"] for g in frames if not g.get("style")] == ["2"]
        assert len(frames) == 3
    ids = {tag["id"] for tag in page.select("[id]")}
    assert {tag["href"][1:] for tag in page("use")} == ids == {f"flow-true-{k}" for k in range(3)}
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for flow, panel in zip((found.target.flow, found.flow), page("svg"), strict=False):
        rim = panel.select("g[data-frame]")[2].select("polyline")[-1]["points"].split()[0]
        x, y = (float(v) / 100 for v in rim.split(","))
        assert torch.allclose(torch.tensor([[x, -y]]).double(), flow(start)[-1], atol=0.0051)
    assert page.input["max"] == "2"
    assert page.figcaption.get_text() == "A vortex, twice"


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


# --- the sharp bound, and hypotheses that are needed ----------------------------------------


def test_gronwall_is_attained():
    """x' = L x + eps against x' = L x: the gap is eps (e^L - 1)/L, below the printed one."""
    eps, lip = 0.1, 2.0
    one = torch.zeros(1, 1, dtype=torch.float64)
    pair = [Target(lambda t, x, e=e: lip * x + e, 1) for e in (0.0, eps)]
    gap = float((pair[1].flow(one) - pair[0].flow(one))[-1])
    assert gap == pytest.approx(gronwall(eps, lip), rel=1e-8)  # RK4 with 200 steps
    assert gronwall(eps, lip) < eps * math.exp(lip)
    assert gronwall(eps, 0.0) == eps


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
    assert surround(still_field()).radius >= 2  # the repair: networks must be close there too
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


# --- bad input -----------------------------------------------------------------------------


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


@pytest.mark.parametrize("steep", [1.0, 30.0, 1000.0])
def test_steep_but_lipschitz_fields_are_not_refused(steep):
    check_lipschitz(Target(lambda t, x: torch.tanh(steep * x), 1), 1.0)
    check_lipschitz(Target(lambda t, x: torch.relu(steep * x - 0.1), 1), 1.0)


@pytest.mark.parametrize("make", [lambda x: x.abs(), lambda x: torch.tanh(1000 * x)])
def test_a_constant_too_large_for_its_exponential_is_said_and_no_overflow(make):
    target = Target(lambda t, x: make(x), 1, name="steep")
    with pytest.raises(ValueError, match=r"stays in some ball, got radius inf \(and L up to"):
        surround(target)


def test_bounds_beyond_double_precision_are_infinite():
    assert gronwall(0.1, 800.0) == math.inf
    assert gronwall(0.0, 800.0) == 0.0
    assert gronwall(0.1, 700.0) == pytest.approx(0.1 * math.expm1(700) / 700)


def test_fields_that_leave_pytorch_are_differenced():
    """Central differences of a smooth field with step 1e-5 are good to 1e-9."""
    x = torch.linspace(-1, 1, 5, dtype=torch.float64).unsqueeze(1)
    away = Target(lambda t, x: torch.from_numpy(np.sin(x.numpy())), 1)
    torch.testing.assert_close(away.jacobian(0.0, x)[:, :, 0], x.cos(), rtol=0, atol=1e-9)
    with pytest.raises(RuntimeError, match="no such luck"):  # an error of the field is not hidden
        Target(_unlucky, 1).jacobian(0.0, x)


def _unlucky(t, x):
    raise RuntimeError("no such luck")


def test_runge_kutta_is_not_what_limits_the_reach():
    """The usual step against 1/800: what the bound of the reach leaves out is below 1e-8."""
    for make in BUILT_IN.values():
        coarse, fine = make().flow(disk())[-1], make().flow(disk(), step=1 / 800)[-1]
        assert float((coarse - fine).abs().max()) < 1e-8


def test_reach_of_a_known_flow():
    target = Target(lambda t, x: 0.5 * x, 2)
    held = reach(target, 0.5, Smoothness(0, 0, 0))
    assert held.sampled == pytest.approx(math.exp(0.5))
    assert math.exp(0.5) <= held.upper < 1.05 * math.exp(0.5)
