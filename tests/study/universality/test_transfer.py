"""Universality of shooting: the bounds of the missing proof, at converged boundary problems."""

import math
from dataclasses import replace

import pytest
import torch

import shooting
from shooting.study.theory.bvp import end_condition
from shooting.study.universality.approximation import Settings, fit_intervals
from shooting.study.universality.pieces import control
from shooting.study.universality.targets import Target
from shooting.study.universality.transfer import lipschitz_from_energy, reference, shot


@pytest.fixture(scope="module")
def nets():
    def wave(t, x):
        return 0.8 * math.cos(math.pi * t / 2) * torch.sin(1.5 * x) + 0.3 * math.sin(math.pi * t)

    how = Settings(intervals=4, neurons=4, shared=True, ridge=1e-2)
    return fit_intervals(Target(wave, 1, 1.5), 2.5, how)


@pytest.fixture(scope="module")
def aim(nets):
    return reference(nets)


@pytest.fixture(scope="module")
def shots(aim):
    return {n: shot(aim, n, 1e4) for n in (2, 4, 8)}


def test_every_statement_of_the_proof(aim, shots):
    for n, s in shots.items():
        assert s.p.shape == (n, aim.updown.size)
        assert s.objective <= aim.energy
        assert s.energy <= aim.energy
        assert s.data_error <= s.data_bound
        assert s.sup_error() <= s.bound


def test_error_falls_with_the_number_of_points(shots):
    errors = [s.sup_error() for s in shots.values()]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


def test_solution_solves_the_boundary_problem_of_the_theory_chapter(shots):
    """Another route (autograd, theory.bvp) sees the same residual: Newton stops at 1e-10 lambda."""
    s = shots[2]
    residual = end_condition(s.problem, s.p, step=1 / 40)
    assert float(residual.abs().max()) < 1e-6
    assert s.residual < 1e-6
    assert float(end_condition(s.problem, 1.1 * s.p, step=1 / 40).abs().max()) > 1.0


def test_control_a_small_weight_does_not_reach_the_data(aim):
    loose = shot(aim, 4, 1.0)
    assert loose.data_error > 0.01
    assert loose.data_error <= loose.data_bound


def test_reference_constant_is_a_lipschitz_constant(aim):
    x = torch.linspace(-1.5, 1.5, 801, dtype=torch.float64).unsqueeze(1)
    quotient = float((aim.flow(x).diff(dim=0) / x.diff(dim=0)).abs().max())
    assert quotient <= aim.lipschitz


def test_a_flow_that_leaves_the_ball_of_its_constant_is_refused(nets):
    assert reference(nets).lipschitz >= reference(nets, ball=3.0).lipschitz
    with pytest.raises(ValueError, match="stays within 1.6"):
        reference(nets, ball=1.6)


def test_lipschitz_from_energy_is_nearly_attained():
    """x' = theta1 v, v' = theta2 x sigma = id: the rate is a, the bound sqrt(2) a."""
    field = shooting.UpDown(1, 1, sigma="identity", theta3_weight=1.0)
    a = torch.full((1, 1), 0.7, dtype=torch.float64)
    theta = {k: v.unsqueeze(0) for k, v in control(field, theta1=a, theta2=a).items()}
    z = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    growth = float(shooting.carry(field, theta, z, [0.0, 1.0])[-1].norm() / z.norm())
    energy = float(field.penalty({k: v[0] for k, v in theta.items()}))
    assert growth == pytest.approx(math.exp(0.7), rel=1e-5)  # RK4 with ten steps
    assert growth <= lipschitz_from_energy(energy)
    assert growth > lipschitz_from_energy(energy / 3)  # a third of the energy is not enough


def test_an_unreachable_weight_is_reported(aim):
    """Targets a hundred times as large: the curve of solutions turns back before lambda = 1e8."""
    far = replace(aim, theta={k: 30 * v for k, v in aim.theta.items()})
    with pytest.raises(ValueError, match="got stuck"):
        shot(far, 4, 1e8)


@pytest.mark.parametrize("weight", [0.02, 0.1, 0.3])
def test_small_weights_are_solved_too(aim, weight):
    found = shot(aim, 2, weight)
    assert found.residual < 1e-10  # as for large ones, where Newton's method stops
    assert float(found.p.abs().max()) > 1e-3  # control: the start, p = 0, solves nothing
