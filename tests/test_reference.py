"""torchdiffeq as the reference route: methods, tolerances, and the one failure in a sentence."""

from __future__ import annotations

import math

import pytest
import torch
from problems import draw, gap, particles, refused

from shooting import Solver, UpDown, reference, shoot
from shooting.solvers import TABLEAUS, make_grid

pytestmark = pytest.mark.usefixtures("float64")


def growth(t, state):
    return (state[0],)


FIELD = UpDown(2, 3, sigma="tanh")


@pytest.mark.parametrize(
    ("method", "allowed"),
    [("dopri5", 1e-7), ("rk4", 1e-6)],  # the tolerances below; a fourth-order step of 0.05
)
def test_states_come_at_the_times_that_were_asked_for(method, allowed):
    grid = make_grid([0, 0.5, 1], step=0.05)
    found = reference.integrate(growth, (torch.ones(1),), grid, method=method, rtol=1e-9, atol=1e-9)
    assert len(found) == 3
    for (state,), t in zip(found, (0, 0.5, 1), strict=True):
        assert abs(float(state) - math.exp(t)) < allowed


def test_a_step_that_becomes_nothing_is_a_sentence():
    def blow_up(t, state):
        return (state[0] ** 2,)  # from 1, infinite at time 1

    with refused("rtol=1e-09", "try larger tolerances"):
        reference.integrate(
            blow_up,
            (torch.ones(1),),
            make_grid([0, 2], step=1),
            method="dopri5",
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize("method", ["scipy_solver", "rk5", None, [], 3])
def test_other_methods_are_refused_with_the_known_ones(method):
    with refused("a method", "dopri5"):
        Solver(method)


@pytest.mark.filterwarnings("ignore:Functional iteration did not converge")  # torchdiffeq's Adams
@pytest.mark.parametrize("method", reference.further_methods())
def test_its_methods_are_known_and_heed_the_step(method):
    assert method not in TABLEAUS
    field = UpDown(2, 3, sigma="tanh")
    q, p = particles(field, 3, scale=0.3)
    z = draw(77, 4, field.size)
    wanted = shoot(field, q, p, z, [0, 1], solver=Solver(step=0.01)).z[-1]
    found = [
        gap(shoot(field, q, p, z, [0, 1], solver=Solver(method, h, rtol=1e-5)).z[-1], wanted)
        for h in (0.1, 0.05)
    ]
    # second order and step 0.1, or the tolerance; in one step from 0 to 1 heun2 misses by 0.55
    assert found[0] < 5e-2
    if method in ("heun2", "heun3"):
        assert 3.5 < found[0] / found[1] < 10  # halved steps, order two or three


def test_an_adaptive_method_may_go_as_far_as_it_likes():
    """A million steps of 0.1, none of which it would take, were too many."""
    z = draw(77, 4, FIELD.size)
    q = torch.zeros(3, FIELD.size)
    far = [0.0, 2e5]
    path = shoot(FIELD, q, q, z, far, solver=Solver("dopri5"))
    assert torch.equal(path.z[-1], z)  # without momenta nothing moves
    with refused("at most 1000000 steps"):
        shoot(FIELD, q, q, z, far, solver=Solver("heun2"))  # the control: of fixed steps


@pytest.mark.filterwarnings("ignore:Functional iteration did not converge")  # torchdiffeq's Adams
@pytest.mark.parametrize("method", reference.further_methods())
def test_the_step_of_an_adaptive_method_changes_no_bit(method):
    q, p = particles(FIELD, 3, scale=0.3)
    z, times = draw(77, 4, FIELD.size), [0, 0.3, 1]
    coarse, fine = (shoot(FIELD, q, p, z, times, solver=Solver(method, h)).z for h in (0.5, 0.1))
    assert torch.equal(coarse, fine) is reference.adaptive(method)
