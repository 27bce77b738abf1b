"""C11, C34, E12: what a learned lift does to an optimum, and what the exit asks of it."""

from __future__ import annotations

import pytest
import torch

from shooting import UpDown
from shooting.solvers import TABLEAUS
from shooting.study.theory import direct
from shooting.study.theory.direct import Problem

EULER = TABLEAUS["euler"]


def parabola(inflation=3, weight=20.0) -> Problem:
    x = torch.linspace(-1.2, 1.2, 7, dtype=torch.float64)[:, None]
    start = torch.cat([x, torch.zeros(7, inflation, dtype=torch.float64)], dim=-1)
    return Problem(UpDown(1, inflation, sigma="tanh"), start, x**2, weight)


def solve(steps, mu, **how):
    return direct.solve_direct(parabola(), steps, lift=mu, scale=0.5, **how)


def first_layer_gap(best, mu):
    """Largest |m2 theta2 - mu Theta12| at the first layer; m2 = 1."""
    return float((best.theta["theta2"][0, 0] - mu * best.lift[:, :-1]).abs().max())


@pytest.fixture(scope="module")
def optimum():
    return solve(10, 0.1)


def test_transversality_is_exact_on_the_costates(optimum):
    field = parabola().field
    theta = field.theta(optimum.states[0], optimum.costates[0])
    # stationarity in the lift, to what L-BFGS resolves
    assert (theta["theta2"] - 0.1 * optimum.lift[:, :-1]).abs().max() < 1e-6
    assert (theta["b2"][:, 0] - 0.1 * optimum.lift[:, -1]).abs().max() < 1e-6
    assert (theta["theta2"] + 0.1 * optimum.lift[:, :-1]).abs().max() > 0.1  # other sign


def test_first_layer_obeys_it_to_first_order():
    gaps = [first_layer_gap(solve(n, 0.1), 0.1) for n in (20, 40)]
    assert 1.7 < gaps[0] / gaps[1] < 2.3


def test_exit_silences_what_the_loss_does_not_see(optimum):
    norms = {b: w.norm(dim=(-2, -1)).flatten() for b, w in optimum.theta.items()}
    for b in ("theta2", "b2", "theta3"):
        assert norms[b][-1] < 1e-6 < 1e-2 < norms[b][5]
    assert norms["theta1"][-1] > 0.1


def test_control_unpenalised_lift_runs_away():
    short, long = (solve(6, 0.0, iterations=n) for n in (40, 200))
    assert long.lift.norm() > 3 * short.lift.norm()
    assert long.value < short.value


@pytest.mark.parametrize(("sigma", "same"), [("relu", True), ("tanh", False)])
def test_relu_networks_get_cheaper_for_free(sigma, same):
    """(Theta12, b12) -> s (.), theta1 -> theta1 / s: same map, R -> R / s^2."""
    field = UpDown(1, 3, sigma=sigma)
    g = torch.Generator().manual_seed(0)
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    lift = torch.randn(1, 3, generator=g, dtype=torch.float64)
    theta = {b: torch.zeros(4, 1, *s, dtype=torch.float64) for b, s in field.shapes.items()}
    theta["theta1"] += torch.randn(1, 3, generator=g, dtype=torch.float64)

    def run(s):
        control = {**theta, "theta1": theta["theta1"] / s}
        start = torch.cat([x, s * x @ lift], dim=-1)
        path = direct.rollout(field, control, start, 0.25, EULER)
        return path[-1, :, 0], float(direct.running_cost(field, control, 0.25, EULER))

    (one, r1), (ten, r10) = run(1.0), run(10.0)
    assert torch.allclose(one, ten, atol=1e-13) == same
    assert r10 == pytest.approx(r1 / 100, rel=1e-12)
