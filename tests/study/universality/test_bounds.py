"""Bounds of the universality chapter are bounds, from above and below, and none is idle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shooting.study.universality.bounds import (
    ball_cover,
    check_lipschitz,
    estimate_smoothness,
    gronwall,
    has_kinks,
    into_ball,
    lipschitz_bound,
    reach,
    spectral_norm,
    sphere_cover,
)
from shooting.study.universality.targets import BUILT_IN, Smoothness, Target, folded_rotation
from tests.study.universality.examples import disk


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


def test_gronwall_is_attained():
    """x' = L x + eps against x' = L x: the gap is eps (e^L - 1)/L, below the printed one."""
    eps, lip = 0.1, 2.0
    one = torch.zeros(1, 1, dtype=torch.float64)
    pair = [Target(lambda t, x, e=e: lip * x + e, 1) for e in (0.0, eps)]
    gap = float((pair[1].flow(one) - pair[0].flow(one))[-1])
    assert gap == pytest.approx(gronwall(eps, lip), rel=1e-8)  # RK4 with 200 steps
    assert gronwall(eps, lip) < eps * math.exp(lip)
    assert gronwall(eps, 0.0) == eps


def test_bounds_beyond_double_precision_are_infinite():
    assert gronwall(0.1, 800.0) == math.inf
    assert gronwall(0.0, 800.0) == 0.0
    assert gronwall(0.1, 700.0) == pytest.approx(0.1 * math.expm1(700) / 700)


@pytest.mark.parametrize("steep", [1.0, 30.0, 1000.0])
def test_steep_but_lipschitz_fields_are_not_refused(steep):
    check_lipschitz(Target(lambda t, x: torch.tanh(steep * x), 1), 1.0)
    check_lipschitz(Target(lambda t, x: torch.relu(steep * x - 0.1), 1), 1.0)


def test_reach_of_a_known_flow():
    target = Target(lambda t, x: 0.5 * x, 2)
    held = reach(target, 0.5, Smoothness(0, 0, 0))
    assert held.sampled == pytest.approx(math.exp(0.5))
    assert math.exp(0.5) <= held.upper < 1.05 * math.exp(0.5)


def test_kinks_are_told_from_steep_slopes():
    assert has_kinks(folded_rotation(), 2.0)
    assert has_kinks(Target(lambda t, x: (x - 0.1234).abs(), 1), 1.0)  # between the nodes
    for make in BUILT_IN.values():
        assert not has_kinks(make(), 2.0)
    assert not has_kinks(Target(lambda t, x: torch.tanh(30 * x), 1), 1.0)


def cusp(x, power):
    return (x - 0.21).abs() ** power


@pytest.mark.parametrize(
    "field",
    [
        lambda t, x: cusp(x, 0.9),
        lambda t, x: cusp(x, 0.5),
        lambda t, x: cusp(x, 0.5) + 30 * (x + 0.4).abs(),  # a sharper kink elsewhere
        lambda t, x: (x + 0.3) * (x + 0.3).abs().log(),
    ],
)
def test_cusps_between_the_nodes_are_refused(field):
    """Across a cusp difference quotients cancel; from one side they grow."""
    with pytest.raises(ValueError, match="expected a Lipschitz field"):
        check_lipschitz(Target(field, 1), 1.0)
    check_lipschitz(Target(lambda t, x: cusp(x, 1.0), 1), 1.0)  # control: a kink
    check_lipschitz(Target(lambda t, x: cusp(x, 1.5), 1), 1.0)  # control: not even that


def test_a_cusp_along_a_line_is_refused():
    def field(t, x, power):
        return torch.stack([(x[:, 0] - x[:, 1] + 0.37).abs() ** power, x[:, 0]], 1)

    with pytest.raises(ValueError, match="expected a Lipschitz field"):
        check_lipschitz(Target(lambda t, x: field(t, x, 0.5), 2), 2.0)
    check_lipschitz(Target(lambda t, x: field(t, x, 1.0), 2), 2.0)  # control


def test_a_bound_from_above_is_not_below_the_slopes_met():
    target = Target(lambda t, x: 3 * (x - 0.21).abs(), 1)
    guess = Smoothness(0.0, lipschitz=2.0, certified=False)
    found = lipschitz_bound(target, 1.0, guess)
    assert found.sampled == pytest.approx(3)  # the field is piecewise linear: to rounding
    assert found.upper > found.sampled
    with pytest.raises(ValueError, match="expected slopes"):
        lipschitz_bound(target, 1.0, Smoothness(0.0, lipschitz=2.0))
    assert lipschitz_bound(target, 1.0, Smoothness(0.0, lipschitz=3.0)).upper == 3.0  # control
