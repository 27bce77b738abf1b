"""C9: the adjoint gradient against automatic differentiation and differences; the solver."""

from __future__ import annotations

import pytest
import torch
from problems import refused

from shooting import Affine, UpDown
from shooting.hamiltonian import compatibility_residual
from shooting.solvers import TABLEAUS
from shooting.study.theory import direct
from shooting.study.theory.direct import Problem

EULER = TABLEAUS["euler"]


def small(field, *, n=4, weight=5.0, horizon=1.0) -> Problem:
    g = torch.Generator().manual_seed(3)
    start = torch.randn(n, field.size, generator=g, dtype=torch.float64)
    d = next(iter(field.slots.values()))
    target = start[:, :d] + 0.3 * torch.randn(n, d, generator=g, dtype=torch.float64)
    return Problem(field, start, target, weight, horizon)


@pytest.mark.parametrize("field", [Affine(2, sigma="tanh"), UpDown(1, 2, sigma="tanh")])
@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_adjoint_gradient_equals_autograd(field, horizon):
    problem = small(field, horizon=horizon)
    theta = direct.random_control(field, 6, seed=1)
    leaves = {b: w.clone().requires_grad_() for b, w in theta.items()}
    auto = torch.autograd.grad(direct.objective(problem, leaves, EULER), list(leaves.values()))
    by_hand = direct.euler_gradient(problem, theta)
    for name, slope in zip(leaves, auto, strict=True):
        # the same recursion in another order of operations
        assert torch.allclose(horizon / 6 * by_hand[name], slope, rtol=1e-12, atol=1e-13)


def test_adjoint_gradient_against_differences_and_what_differs():
    """The costate behind the layer, with lambda and our sign; the three slips of chapter 1 fail."""
    problem = small(Affine(2, sigma="tanh"))
    theta, eta = (direct.random_control(problem.field, 6, seed=s) for s in (1, 2))
    ends = [{b: theta[b] + e * eta[b] for b in theta} for e in (1e-5, -1e-5)]
    values = [float(direct.objective(problem, end, EULER)) for end in ends]
    states = direct.rollout(problem.field, theta, problem.start, 1 / 6, EULER)
    p = direct.euler_adjoint(problem, theta, states)

    def error(costates):
        best = problem.field.theta(states[:-1], costates)
        slope = sum(((theta[b][:, 0] - best[b]) * eta[b][:, 0]).sum() for b in theta) / 6
        return abs(float(slope) / ((values[0] - values[1]) / 2e-5) - 1)

    assert error(p[1:]) < 1e-6  # square of the step, and rounding divided by it
    assert min(error(w) for w in (-p[1:], p[1:] / problem.weight, p[:-1])) > 1e-3


def test_weight_matrix_enters_the_gradient():
    field = Affine(2, sigma="tanh", weight=torch.tensor([[2.0, 0.3], [0.3, 1.0]]).double())
    problem, theta = small(field), direct.random_control(field, 3, seed=2)
    leaf = theta["A"].clone().requires_grad_()
    (auto,) = torch.autograd.grad(direct.objective(problem, {**theta, "A": leaf}, EULER), leaf)
    assert torch.allclose(direct.euler_gradient(problem, theta)["A"] / 3, auto, atol=1e-13)


@pytest.mark.parametrize("method", ["euler", "classical"])
def test_solver_reaches_a_stationary_point(method):
    best = direct.solve_direct(small(Affine(2, sigma="tanh")), 8, method=method)
    # value in double precision: gradients below the root of rounding are not resolved
    assert best.residual < 1e-6
    assert best.states.shape == best.costates.shape == (9, 4, 2)


def test_weights_of_the_quadrature_are_exact_and_positive():
    field = Affine(2, sigma="tanh")
    theta = {k: torch.ones(3, 4, *shape, dtype=torch.float64) for k, shape in field.shapes.items()}
    rate = float(field.penalty({k: v[0, 0] for k, v in theta.items()}))
    # weights that had been rounded to float32 would be off by 3e-8
    found = float(direct.running_cost(field, theta, 1 / 3, TABLEAUS["classical"]))
    assert found == pytest.approx(rate, rel=1e-14)
    with refused("positive weights", "got midpoint", "try rk4"):
        direct.solve_direct(small(field), 8, method="midpoint")


def test_compatibility_holds_with_lambda_and_fails_without():
    """C8, first part: the third equation of (3.3) needs lambda in the end condition."""
    problem = small(Affine(2, sigma="tanh"))
    best = direct.solve_direct(problem, 10)
    theta = {b: w[:, 0] for b, w in best.theta.items()}

    def gap(p):
        return float(compatibility_residual(problem.field, best.states[:-1], p[1:], theta).max())

    assert gap(best.costates) < 1e-6
    assert gap(best.costates / problem.weight) > 0.1
    assert gap(-best.costates) > 0.1
    ours = direct.euler_adjoint(problem, best.theta, best.states)
    assert torch.allclose(ours, best.costates, atol=1e-12)


def test_learned_lift_is_stationary():
    problem = small(UpDown(1, 2, sigma="tanh"))
    best = direct.solve_direct(problem, 5, lift=0.5)
    assert best.residual < 1e-6
    assert best.lift.shape == (2, 2)
    x = problem.start[:, :1]
    assert torch.allclose(best.states[0][:, 1:], x @ best.lift[:, :1].T + best.lift[:, 1])
