"""C35: the repairs of Theorem 2 and Corollary 3, each step with the version that fails."""

from __future__ import annotations

import math

import pytest
import torch

from shooting import Affine
from shooting.study.theory import complexity as cx
from shooting.study.theory import rademacher as rad


def points(n, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, generator=g, dtype=torch.float64) - 1


def test_ball_of_a_rkhs_is_exact():
    """One point, k = 4: the supremum of eps g(z) over |g| <= R is 2 R for either sign."""
    gram = torch.full((1, 1), 4.0, dtype=torch.float64)
    assert cx.rkhs_ball(gram, rad.all_signs(1), radius=3.0) == pytest.approx(6.0)


def test_ball_obeys_its_bound_and_not_the_printed_one():
    z, signs = points(64), rad.random_signs(200, 64)
    found = cx.rkhs_ball(torch.cos(z[:, None] - z), signs)
    assert found < 1 / math.sqrt(64)
    assert 64 * found > 2 / math.sqrt(64)  # control: the printed sum, the printed bound


def test_massart_is_nearly_attained_by_random_signs():
    largest = rad.complexity(rad.random_signs(4096, 64, seed=3), rad.random_signs(100, 64))
    assert 3 * math.sqrt(64) < largest < cx.massart(4096, math.sqrt(64))


@pytest.mark.parametrize(("radius", "frequency"), [(0.3, 1.0), (1.0, 3.0)])
def test_smooth_fields_on_the_line_keep_the_rate(radius, frequency):
    found = {}
    for n in (16, 256):
        g = torch.Generator().manual_seed(n)
        phases = 2 * math.pi * torch.rand(500, 3, generator=g, dtype=torch.float64)
        z = points(n)
        moved = cx.waves(z, phases, radius=radius, frequency=frequency) - z
        found[n] = rad.complexity(moved, rad.random_signs(100, n)) / n
        bound = cx.line_bound(n, radius=radius, lipschitz=frequency, reach=1.0)
        norm = math.sqrt(radius**2 + 2 * (math.exp(frequency * radius) - 1) ** 2)
        ball = cx.rkhs_ball(cx.line_kernel(z), rad.random_signs(100, n), radius=norm)
        assert found[n] < ball < bound < 1.5 * ball  # the flows lie in the ball, tightly bounded
    assert 0.4 < math.log(found[16] / found[256]) / math.log(16) < 0.6  # 100 sign draws


def test_slope_of_the_displacement_is_attained_at_a_repelling_point():
    """|g'| <= e^(kappa R) - 1: the flow of R sin(w x) has that slope at zero, not kappa R."""
    z = torch.tensor([-1e-5, 1e-5], dtype=torch.float64)
    moved = cx.waves(z, torch.zeros(1, 3, dtype=torch.float64), radius=1.0, frequency=3.0)[0] - z
    slope = float((moved[1] - moved[0]) / (z[1] - z[0]))
    assert slope == pytest.approx(math.exp(3.0) - 1, rel=1e-3)  # fifteen Runge-Kutta steps
    assert slope > 5 * 3.0  # control: the first-order guess kappa R


def test_line_kernel_reproduces():
    """g(y) = <g, k(., y)> = g(0) + int g' k'(., y) for g = sin, by the trapezoidal rule."""
    x = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    for y in (0.7, -0.4):
        k = cx.line_kernel(torch.cat([x, torch.tensor([y], dtype=torch.float64)]))[-1, :-1]
        slope = (k[1:] - k[:-1]) / (x[1:] - x[:-1])
        middle = torch.cos((x[1:] + x[:-1]) / 2)
        inner = float((slope * middle * (x[1:] - x[:-1])).sum())
        assert inner == pytest.approx(math.sin(y), abs=1e-6)
        assert abs(inner - math.sin(-y)) > 0.1  # control: the other side


def test_waves_in_closed_form():
    """x' = R sin(w x) has tan(w x / 2) = e^(w R t) tan(w x(0) / 2)."""
    z = 0.9 * points(5)
    got = cx.waves(z, torch.zeros(1, 3, dtype=torch.float64), radius=0.7, frequency=2.0)
    want = torch.atan(math.exp(1.4) * torch.tan(z))
    assert torch.allclose(got[0], want, atol=1e-6)  # fifteen Runge-Kutta steps


def test_two_shears_obey_the_first_order_bound_and_not_its_first_term():
    z = torch.stack([points(64), torch.zeros(64, dtype=torch.float64)], dim=1)
    signs, s = rad.random_signs(100, 64), points(5000, seed=1)
    for radius in (1e-3, 1e-1, 1.0):
        moved = rad.two_shears(z, s, 1e4, radius=radius) - z[:, 0]
        found = rad.complexity(moved, signs) / 64
        assert found < cx.first_order_bound(64, radius=radius, lipschitz=1e4)
    assert found > 1.2 * cx.first_order_bound(64, radius=1.0, lipschitz=0.0)  # control


def test_one_particle_obeys_the_covering_bound():
    x, signs = points(64)[:, None], rad.random_signs(100, 64)
    u, values = cx.particle_class(Affine(1, sigma="tanh"), x, radius=2.0, lines=31)
    assert float(u.norm(dim=1).max()) <= 2.0
    constants = {"radius": 2.0, "lipschitz": cx.steepest(u, values), "size": float(values.max())}
    found = rad.complexity(values, signs) / 64
    assert found < cx.covering_bound(64, parameters=2, **constants)
    assert found > cx.covering_bound(64, parameters=0, **constants)  # control: none counted


def test_steepest_of_a_linear_function():
    u = torch.cartesian_prod(*[torch.linspace(-1, 1, 5, dtype=torch.float64)] * 2)
    assert cx.steepest(u, u @ torch.tensor([[3.0], [4.0]]).double()) == pytest.approx(4.0)


def test_width_counts_if_inner_weights_are_free():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=g, dtype=torch.float64)
    narrow, wide = (cx.outer_only(x, rad.random_signs(50, 64), width=w) for w in (10, 1000))
    assert 5 < wide / narrow < 20  # sqrt(100) times the fluctuation of ten directions


def test_signs_must_be_independent_for_each_component():
    """E24: with eps_i eps_j a single vector map has complexity sum_i g_i(z_i), not zero."""
    g = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(3, 2)  # g_j(z_i), three points
    signs = rad.all_signs(3)
    printed = torch.einsum("si,sj,ij->s", signs, signs[:, :2], g).mean()
    assert float(printed) == pytest.approx(float(g[0, 0] + g[1, 1]))
    assert rad.complexity(g.flatten()[None], rad.all_signs(6)) == pytest.approx(0.0, abs=1e-12)
