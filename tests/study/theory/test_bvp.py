"""C8, C10: full ensembles reproduce direct optima; the gradient of the shooting functional."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from shooting import Affine
from shooting.study.theory import bvp, direct
from shooting.study.theory.direct import Problem


@pytest.fixture(scope="module")
def problem():
    t = torch.arange(6, dtype=torch.float64)
    x = torch.stack([torch.cos(t), torch.sin(t)], dim=-1)
    y = torch.stack([1.2 * x[:, 0] + 0.3 * x[:, 1] ** 2, 0.7 * x[:, 1]], dim=-1)
    return Problem(Affine(2, sigma="tanh"), x, y, weight=5.0)


@pytest.fixture(scope="module")
def solution(problem):
    found = bvp.newton(partial(bvp.end_condition, problem), torch.zeros_like(problem.start))
    assert found.converged
    return found


def test_a_shot_that_misses_may_have_critical_weights():
    """Costates that the features do not see push nothing; for y = x standing still is optimal."""
    x = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    still = Problem(Affine(1, sigma="tanh"), x, x, weight=5.0)
    unseen = torch.tensor([[1.0], [-2.0], [1.0]], dtype=torch.float64)
    for p in (torch.zeros_like(unseen), unseen):  # two costates, one network: all weights zero
        assert float((bvp.exponential(still, p) - x).abs().max()) < 1e-14  # rounding of tanh
        assert torch.allclose(bvp.end_condition(still, p), p, atol=1e-14, rtol=0)
    seen = torch.tensor([[1.0], [-2.0], [0.0]], dtype=torch.float64)
    assert float((bvp.exponential(still, seen) - x).abs().max()) > 0.1  # control


def test_newton_converges_quadratically(solution):
    r = solution.residuals
    assert r[-2] < 10 * r[-3] ** 1.5  # far below a linear rate


def test_euler_optima_approach_the_shot_at_first_order(problem, solution):
    gaps = [
        float((direct.solve_direct(problem, n).costates[0] - solution.p).abs().max())
        for n in (10, 20)
    ]
    assert 1.7 < gaps[0] / gaps[1] < 2.3  # order 1: the ratio is 2 + O(h)


def test_stage_wise_controls_are_fourth_order(problem):
    gaps = []
    for n in (5, 10):
        best = direct.solve_direct(problem, n, method="classical")
        gap = bvp.end_condition(problem, best.costates[0], step=1 / n)
        gaps.append(float(gap.abs().max()))
    assert 10 < gaps[0] / gaps[1] < 25  # order 4: 16


def test_values_agree_with_stage_wise_controls_and_not_with_euler(problem, solution):
    fine = bvp.newton(partial(bvp.end_condition, problem, step=0.02), solution.p)
    value = float(bvp.shooting_objective(problem, fine.p, step=0.02))
    best = direct.solve_direct(problem, 10, method="classical")
    assert abs(best.value / value - 1) < 1e-6  # h^4 at N = 10
    assert abs(direct.solve_direct(problem, 10).value / value - 1) > 1e-4  # control: first order


@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_gradient_identity_and_its_control(problem, horizon):
    g = torch.Generator().manual_seed(0)
    p = 0.3 * torch.randn(problem.start.shape, generator=g, dtype=torch.float64)
    long = Problem(problem.field, problem.start, problem.target, 5.0, horizon)
    leaf = p.clone().requires_grad_()
    (slope,) = torch.autograd.grad(bvp.shooting_objective(long, leaf, step=0.01), leaf)
    move = bvp.jacobian(partial(bvp.exponential, long, step=0.01), p)
    end = bvp.extremal(long, p, step=0.01)
    pull = long.weight * long.loss_gradient(end.q[-1])
    right = move.T @ (end.p[-1] + pull).flatten()
    wrong = move.T @ pull.flatten()
    scale = slope.abs().max()
    # identity of the continuous flow, so that the error is that of RK4 with h = 0.01
    assert (slope.flatten() - right).abs().max() < 1e-6 * scale
    assert (slope.flatten() - wrong).abs().max() > 1e-2 * scale


def test_continuation_reaches_the_same_solution(problem, solution):
    path = bvp.continuation(problem, [1.0, 2.5, 5.0])
    assert all(r.converged for r in path)
    assert torch.allclose(path[-1].p, solution.p, atol=1e-8)


def test_multiple_shooting_arrives_where_single_shooting_stalls():
    """Chapter 2, exercise 3: twelve points of a circle and a loss ten times as strong."""
    t = 2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12
    x = torch.stack([t.cos(), t.sin()], dim=-1)
    bent = [1.3 * x[:, 0] + 0.7 * x[:, 1] ** 2, 0.8 * x[:, 1] + 0.6 * x[:, 0]]
    start = Problem(Affine(2, sigma="tanh"), x, torch.stack(bent, dim=-1), weight=5.0)
    strong = replace(start, weight=50.0)
    single = bvp.newton(partial(bvp.end_condition, strong), torch.zeros_like(x))
    assert not single.converged  # control
    nodes = bvp.straight_nodes(strong, 4)
    found = bvp.newton(partial(bvp.segmented_gaps, strong), nodes)
    assert found.converged
    followed = bvp.continuation(start, [5.0, 20.0, 50.0])[-1].p
    # five steps of 0.05 a segment make the grid of the single shot; both are solved to rounding
    assert torch.allclose(found.p[0, 1], followed, atol=1e-6)
    far = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 500.0]
    assert bvp.continuation(start, far)[-1].converged


def test_newton_reports_failure():
    stuck = bvp.newton(lambda u: u**2 + 1.0, torch.ones(1, dtype=torch.float64), steps=5)
    assert not stuck.converged


def test_hessian_at_a_solution_is_the_product_of_the_two_derivatives(problem, solution):
    """Differentiate grad J = DExp^T F where F = 0."""
    value = partial(bvp.shooting_objective, problem, step=0.02, route="autograd")
    fine = bvp.newton(partial(bvp.end_condition, problem, step=0.02), solution.p)
    exp = bvp.jacobian(partial(bvp.exponential, problem, step=0.02), fine.p)
    end = bvp.jacobian(partial(bvp.end_condition, problem, step=0.02), fine.p)
    hessian = torch.func.jacrev(torch.func.grad(value))(fine.p).reshape(exp.shape)
    size = float(hessian.abs().max())
    assert (hessian - exp.T @ end).abs().max() < 1e-5 * size  # fourth order in the step
    assert (hessian - exp.T @ exp).abs().max() > 0.1 * size  # control: not a square
