"""C7, C12, C16, C28, C32-C34: what K particles can and cannot do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from shooting import Affine, DynamicParticles, Solver, UpDown
from shooting.hamiltonian import kernel_system
from shooting.study.theory import bvp, critical, ensemble, linear, meanfield, terminal
from shooting.study.theory.direct import Problem
from shooting.study.theory.invariants import march, slope


def draw(count, size, *, seed=0, scale=0.5):
    g = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(count, size, generator=g, dtype=torch.float64) for _ in range(2)]


@pytest.fixture(scope="module")
def problem():
    t = torch.arange(6, dtype=torch.float64)
    x = torch.stack([torch.cos(t), torch.sin(t)], dim=-1)
    y = torch.stack([1.3 * x[:, 0] + 0.7 * x[:, 1] ** 2, 0.8 * x[:, 1] + 0.6 * x[:, 0]], dim=-1)
    return Problem(Affine(2, sigma="tanh"), x, y, weight=5.0)


MATRIX = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("weight", [1.0, 3.0, MATRIX])
def test_residuals_are_a_square_root_of_the_objective(problem, weight):
    problem = replace(problem, field=Affine(2, sigma="tanh", weight=weight), horizon=1.5)
    p = draw(6, 2)[1]
    r = ensemble.residuals(problem, torch.cat([problem.start, p], dim=-1))
    value = bvp.shooting_objective(problem, p, step=0.1)
    assert float(r @ r) / 2 == pytest.approx(float(value), rel=1e-12)


def test_more_particles_are_never_worse_and_reach_the_optimum(problem):
    best = bvp.newton(
        partial(bvp.end_condition, problem, step=0.1), torch.zeros_like(problem.start)
    )
    optimum = float(bvp.shooting_objective(problem, best.p, step=0.1))
    excess = [(e.value - optimum) / optimum for e in ensemble.grow(problem, 4, seed=1)]
    assert all(b <= a for a, b in zip(excess, excess[1:], strict=False))
    assert excess[0] > 0.1  # control: one particle is not enough
    assert -1e-5 < excess[-1] < 1e-2  # RK4 with h = 0.1; local solver


def test_terminal_start_returns_where_it_came_from():
    field, (q, p) = UpDown(1, 3, sigma="tanh"), draw(4, 4)
    solver = Solver("classical", step=0.02)
    q0, p0 = ensemble.terminal_start(field, q, p, solver=solver)
    end = march(kernel_system(field), q0, p0, 50)
    assert torch.allclose(end[0][-1], q, atol=1e-6)  # h^4 there and back
    assert torch.allclose(end[1][-1], p, atol=1e-6)


def test_affine_ensembles_are_critical_for_their_own_data():
    q, p = draw(5, 2)
    field = Affine(2, sigma="tanh")
    assert critical.own_gradient(field, q, p) < 1e-12  # rounding
    assert critical.own_gradient(field, q, p, sign=-1.0) > 1.0


def test_updown_ensembles_are_not():
    q, p = draw(4, 6, scale=0.4)
    assert critical.own_gradient(UpDown(2, 2, sigma="tanh"), q, p) > 0.1


def test_closed_form_of_the_linear_network():
    field, (q, p) = linear.linear_field(3), draw(4, 3)
    states, weights = linear.closed_form(q, p, 1.0)
    counts = [10, 20, 40, 80]
    ends = [march(kernel_system(field), q, p, n) for n in counts]
    errors = [float((end[0][-1] - states).abs().max()) for end in ends]
    assert 3.8 < slope(counts, errors) < 4.2
    assert errors[-1] < 1e-7
    a = field.theta(ends[-1][0][-1], ends[-1][1][-1])["A"]
    assert torch.allclose(a, weights, atol=1e-7)
    frozen = q @ torch.linalg.matrix_exp(p.T @ q).T  # control: exp(T A0) x0
    assert (frozen - states).abs().max() > 0.05


def start(x):
    w = torch.tensor([[1.0, -0.7, 0.4]], dtype=torch.float64)
    p = torch.cat([torch.cos(2 * x + 0.3), torch.sin(x) * w], dim=-1)
    return torch.cat([x, x @ w + 0.1], dim=-1), p


def test_mean_field_rates():
    counts = [8, 16, 32, 64]
    random, regular = meanfield.sampling_errors(UpDown(1, 3, sigma="tanh"), start, counts)
    assert -0.65 < -slope(counts, random) < -0.35
    assert -slope(counts, regular) < -1.7
    field, nodes = UpDown(1, 3, sigma="tanh"), meanfield.midpoints
    truth = meanfield.weights_at(field, start, nodes(4096))
    left = [meanfield.weights_at(field, start, nodes(n) - 1 / n) for n in counts]
    lost = [float(meanfield.distance(w, truth)) for w in left]
    assert -1.2 < -slope(counts, lost) < -0.8  # control: left ends of the cells


def test_terminal_shooting_silences_the_exit_and_initial_does_not():
    x = torch.linspace(-1.5, 1.5, 21, dtype=torch.float64)[:, None]
    exit_share = {}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for which in (False, True):
            model = DynamicParticles(UpDown(1, 4), 4, seeds=range(2), lift="fixed")
            result = terminal.train(model, x, x**2, terminal=which, steps=100, rate=1e-2)
            norms = terminal.control_norms(result)
            exit_share[which] = float((norms["b2"][:, -1] / norms["b2"].amax(1)).min())
            assert (result.error[-1] < result.error[0]).all()
    finally:
        torch.set_default_dtype(default)
    assert exit_share[True] < 1e-3 < 0.1 < exit_share[False]
