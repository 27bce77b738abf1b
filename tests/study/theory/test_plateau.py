"""Smooth ensembles of more and more particles: what their descents have to obey."""

from __future__ import annotations

import math

import pytest
import torch

from shooting.study.theory.plateau import grown, improve, patient, spread, turned, turns

pytestmark = pytest.mark.usefixtures("float64")
PROBLEM = turns(0.0, points=3)


def test_targets_are_turned_points():
    x, (half, end) = PROBLEM.start, PROBLEM.targets
    # rounding of a rotation
    assert torch.allclose((x * half).sum(-1), torch.full((3,), 0.5), atol=1e-14)
    assert torch.allclose(end, x, atol=1e-14)
    assert not torch.allclose(turned(x, -math.pi / 3), half, atol=1e-3)  # control: the other way


def test_the_first_particles_lie_on_the_data():
    q, p = spread(PROBLEM, 5)
    assert torch.equal(q[:3], PROBLEM.start)
    assert q.shape == p.shape == (5, 2)
    assert not torch.equal(spread(PROBLEM, 5, seed=1)[1], p)


def test_a_descent_goes_on_where_it_was_looked_at():
    first, second = patient(PROBLEM, 4, (5, 20), step=0.1)
    assert second.value < first.value
    start = spread(PROBLEM, 4)
    assert improve(PROBLEM, start, iterations=5, step=0.1).value == first.value


def test_particles_without_momentum_change_nothing_at_first():
    one = grown(PROBLEM, (3,), iterations=2)
    both = grown(PROBLEM, (3, 5), iterations=2)
    assert both[0].value == one[0].value
    assert both[1].value <= both[0].value
    still = torch.cat([both[0].p, torch.zeros(2, 2)])
    q = torch.cat([both[0].q, torch.ones(2, 2)])
    idle = type(both[0])(q, still, both[0].value)
    # the same flow up to rounding
    assert idle.exact(PROBLEM, step=0.1) == pytest.approx(
        both[0].exact(PROBLEM, step=0.1), rel=1e-9
    )


def test_the_fine_solver_is_near_the_coarse_one():
    (found,) = patient(PROBLEM, 4, (2,), step=0.05)
    # rk4 with twenty steps: far below a thousandth
    assert found.exact(PROBLEM) == pytest.approx(found.value, rel=1e-3)
    assert found.exact(PROBLEM, step=0.5) != pytest.approx(found.value, rel=1e-6)  # control
