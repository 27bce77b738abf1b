"""The drift of H says how exact a solve is, and ``step="auto"`` chooses a step by it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from problems import draw, fitted_order, gap, particles, refused

from shooting import (
    DynamicDirect,
    DynamicParticles,
    ParticleInit,
    SecondOrder,
    Solver,
    StaticDirect,
    StaticParticles,
    UpDown,
    carry,
    normal,
    shoot,
)
from shooting.conservation import ConservationWarning, difference, drift, settle, step_for
from shooting.flow import _halved, carry_step, energy_drift, shoot_step

pytestmark = pytest.mark.usefixtures("float64")
SMALL = UpDown(2, 3, sigma="tanh")
AUTO = Solver(step="auto", tolerance=1e-4)


def start(field=SMALL, *, runs=(), scale=0.5):
    q, p = particles(field, 4, runs=runs, scale=scale)
    return q, p, draw(5, *runs, 6, field.size)


@pytest.mark.parametrize("field", [SMALL, SecondOrder(2, sigma="tanh")])
def test_the_drift_falls_with_the_order_of_the_method(field):
    q, p, _ = start(field)
    steps = [10, 20, 40]
    orders = {}
    for method in ("rk4", "midpoint"):
        solvers = [Solver(method, step=1 / n) for n in steps]
        lost = [float(energy_drift(field, q, p, [0, 1], solver=s)) for s in solvers]
        orders[method] = fitted_order(lost, steps)
    # the steps are not yet small, so that the slopes lie this far from 4 and above 2
    assert abs(orders["rk4"] - 4) < 0.7
    assert 1.7 < orders["midpoint"] < 3.2


def test_control_a_wrong_costate_does_not_conserve_at_any_step():
    class Wrong(UpDown):
        def pull_back(self, z, p, theta):
            return -super().pull_back(z, p, theta)

    class Missing(UpDown):
        def pull_back(self, z, p, theta):
            back = self.split(super().pull_back(z, p, theta))
            return self.pack({"x": torch.zeros_like(back["x"]), "v": back["v"]})

    q, p, _ = start()
    for step in (0.1, 0.01):
        how = Solver(step=step, route="autograd", form="theta")
        assert energy_drift(SMALL, q, p, [0, 1], solver=how) < 1e-4  # 10 steps of order four
        for wrong in (Wrong(2, 3, sigma="tanh"), Missing(2, 3, sigma="tanh")):
            assert energy_drift(wrong, q, p, [0, 1], solver=how) > 1e-2


def test_the_drift_of_a_path_by_hand():
    q, p, z = start(runs=(2,))
    path = shoot(SMALL, q, p, z, [0, 0.5, 1], solver=Solver(step=0.5))
    energy = SMALL.energy(path.q, path.p)
    by_hand = [max(abs(h - e[0]) for h in e) / abs(e[0]) for e in energy.tolist()]
    assert drift(SMALL, path.q, path.p).tolist() == pytest.approx(by_hand, rel=1e-9)  # rounding


def test_the_scale_of_a_field_with_a_drift_is_that_of_the_parts_of_h():
    """Here H(0) = 0 by a choice of the costates, though its two parts do not vanish."""
    field = SecondOrder(2, sigma="tanh")
    q, p, _ = start(field)
    cost, free = field.penalty(field.theta(q, p)), field.energy(q, p)
    parts = field.split(p)
    p = field.pack({"x": parts["x"] * float(-cost / (free - cost)), "v": parts["v"]})
    assert abs(field.energy(q, p)) < 1e-12  # rounding
    lost = energy_drift(field, q, p, [0, 1], solver=Solver(step=0.1))
    assert 0 < lost < 1e-3  # order four; relative to H(0) it would be huge


def test_particles_without_momenta_conserve_nothing_and_lose_nothing():
    q, p, _ = start()
    assert energy_drift(SMALL, q, 0 * p, [0, 1]) == 0.0
    assert energy_drift(SMALL, q, math.nan * p, [0, 1]).isnan()


def test_models_say_their_drift_and_static_ones_refuse():
    model = DynamicParticles(SMALL, 4, seeds=[0, 1])
    found = model.energy_drift([0.0, 1.0])
    assert found.shape == (2,)
    assert not found.requires_grad
    assert torch.equal(found, energy_drift(SMALL, *model.start(), [0.0, 1.0]))
    with refused("dynamic model", "half the step"):
        StaticParticles(SMALL, 4, seed=0).energy_drift([0.0, 1.0])


# --- step="auto" -----------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["autograd", "adjoint", "native", "torchdiffeq"])
def test_auto_meets_its_tolerance_on_every_route(route):
    q, p, z = start(runs=(2,))
    how = replace(AUTO, route=route)
    found, fine = (shoot(SMALL, q, p, z, [0, 1], solver=s) for s in (how, Solver(step=1 / 400)))
    for a, b in zip(found, fine, strict=True):
        assert gap(a, b) <= 1e-4 * float(b.abs().max())
    same = shoot(
        SMALL,
        q,
        p,
        z,
        [0, 1],
        solver=replace(how, step=shoot_step(SMALL, q, p, z, [0, 1], solver=how)),
    )
    assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))
    # control: the coarsest step would not have done
    coarse = shoot(SMALL, q, p, z, [0, 1], solver=Solver(step=1 / 2))
    assert gap(coarse.q, fine.q) > 1e-4


def test_auto_follows_the_inputs_of_each_call():
    q, p, z = start()
    small, large = (shoot_step(SMALL, q, s * p, z, [0, 1], solver=AUTO) for s in (0.1, 3.0))
    assert large < small
    assert shoot_step(SMALL, q, 0.1 * p, z, [0, 1], solver=AUTO) == small  # nothing is remembered


def test_auto_has_the_gradients_of_its_step():
    q, p, z = start()
    p.requires_grad_()
    chosen = Solver(step=shoot_step(SMALL, q, p, z, [0, 1], solver=AUTO))
    one, two = (
        torch.autograd.grad(shoot(SMALL, q, p, z, [0, 1], solver=s).z.sum(), p)[0]
        for s in (AUTO, chosen)
    )
    assert torch.equal(one, two)


def test_auto_looks_at_the_data_too():
    """Particles at rest in a field without energy say nothing about data far outside."""
    q, p, z = start()
    near, far = (shoot_step(SMALL, q, p, s * z, [0, 1], solver=AUTO) for s in (0.1, 30.0))
    fine = shoot(SMALL, q, p, 30 * z, [0, 1], solver=Solver(step=1 / 400)).z
    assert far <= near
    found = shoot(SMALL, q, p, 30 * z, [0, 1], solver=AUTO).z
    assert gap(found, fine) <= 1e-4 * float(fine.abs().max())


@pytest.mark.parametrize("blocks", [1, 3])
def test_auto_carries_by_halved_steps(blocks):
    z = start()[2]
    theta = {k: 2 * draw(i, blocks, *s) for i, (k, s) in enumerate(SMALL.shapes.items())}
    fine = carry(SMALL, theta, z, [0, 1], solver=Solver(step=1 / 600))
    found = carry(SMALL, theta, z, [0, 1], solver=AUTO)
    assert gap(found, fine) <= 1e-4 * float(fine.abs().max())
    step = carry_step(SMALL, theta, z, [0, 1], solver=AUTO)
    assert step < 1 / 4
    assert carry_step(SMALL, theta, z[:0], [0, 1], solver=AUTO) == 1 / 4  # no data, no error


@pytest.mark.parametrize("kind", [DynamicParticles, StaticParticles, DynamicDirect, StaticDirect])
def test_auto_in_all_four_models(kind):
    more = {"particles": 3} if kind in (DynamicParticles, StaticParticles) else {}
    x = draw(1, 7, 2)
    ends = [
        kind(SMALL, **more, seeds=[0, 1], solver=s)(x, [0, 1]).detach()
        for s in (AUTO, Solver(step=1 / 200))
    ]
    assert gap(*ends) <= 1e-4 * float(ends[1].abs().max())


def test_a_run_that_no_step_can_solve_does_not_stop_the_others():
    q, p, z = start(runs=(2,))
    alone = shoot_step(SMALL, q[:1], p[:1], z[:1], [0, 1], solver=AUTO)
    p = torch.stack([p[0], math.nan * p[1]])
    with pytest.warns(ConservationWarning, match="1 of 2 runs") as told:
        assert shoot_step(SMALL, q, p, z, [0, 1], solver=AUTO) == alone
    assert told[0].filename == __file__
    with refused("tolerance", "smaller momenta"):
        shoot_step(SMALL, q[1], p[1], z[1], [0, 1], solver=AUTO)


def test_what_auto_refuses():
    q, p, z = start()
    with refused("'auto'", "'small'"):
        Solver(step="small")
    with refused("between 0 and 1", "0.001"):
        Solver(step="auto", tolerance=0.0)
    with refused("fixed steps", "rtol"):
        Solver(method="dopri5", step="auto")
    with refused("rounding", "float64"):
        shoot(SMALL, q, p, z, [0, 1], solver=Solver(step="auto", tolerance=1e-15))
    with refused("transform", "shoot_step"):
        torch.func.grad(
            lambda p: shoot(SMALL, q, p, z, [0, 1], solver=replace(AUTO, route="autograd")).z.sum()
        )(p)


@pytest.mark.parametrize(("runs", "particles", "rows"), [((0,), 3, 2), ((), 0, 0), ((2,), 0, 0)])
def test_auto_takes_the_coarsest_step_where_there_is_nothing_to_solve(runs, particles, rows):
    q, z = torch.zeros(*runs, particles, SMALL.size), torch.zeros(*runs, rows, SMALL.size)
    assert shoot_step(SMALL, q, q, z, [0, 1], solver=AUTO) == 1 / 4
    assert shoot(SMALL, q, q, z, [0, 1], solver=AUTO).z.shape == (*runs, 2, rows, SMALL.size)
    theta = {k: torch.zeros(*runs, 1, *shape) for k, shape in SMALL.shapes.items()}
    assert carry_step(SMALL, theta, z, [0, 1], solver=AUTO) == 1 / 4


def test_states_that_are_no_tensors_are_refused():
    q, p, z = start()
    theta = {k: torch.zeros(1, *shape) for k, shape in SMALL.shapes.items()}
    with refused("states q", "tensor"):
        energy_drift(SMALL, [1], [2], [0, 1])
    with refused("states p", "tensor"):
        shoot_step(SMALL, q, [2], z, [0, 1], solver=AUTO)
    with refused("states z", "tensor"):
        carry_step(SMALL, theta, [1], [0, 1], solver=AUTO)
    with refused("controls"):
        carry_step(SMALL, [1], z, [0, 1], solver=AUTO)


def test_settle_halves_as_far_as_needed_and_no_further():
    tried = []

    def error(h):
        tried.append(h)
        return torch.tensor(h**4)

    assert settle(error, 1.0, tolerance=1e-4, order=4) == 1 / 16
    assert tried == [1.0, 1 / 8, 1 / 16]  # the law says at least three halvings
    with refused("tolerance"):
        settle(lambda h: torch.tensor(1.0), 1.0, tolerance=1e-4, order=4)


def test_runs_that_blow_up_at_coarse_steps_are_given_up_only_where_others_are_solved():
    def stiff(h):
        return torch.tensor(0.0 if h < 1 / 200 else math.nan)

    assert settle(stiff, 1.0, tolerance=1e-4, order=4) == 1 / 256

    def both(h):
        return torch.stack([stiff(h), torch.tensor(0.0)])

    with pytest.warns(ConservationWarning, match="in 1 of 2 runs"):
        assert settle(both, 1.0, tolerance=1e-4, order=4) == 1.0


def test_the_advised_step_is_rounded_down():
    assert step_for(0.1, 0.16, 0.01, 4) == 0.05
    assert step_for(0.1, 0.161, 0.01, 4) == 0.04  # 0.0499
    assert step_for(0.1, math.inf, 0.01, 4) == 0.02
    assert step_for(0.1, 0.001, 0.01, 4) == step_for(0.1, 0.0, 0.01, 4) == 0.1
    for digit in range(1, 10):  # 0.3 / 0.1 is below 3
        assert step_for(digit / 10, 1.0, 1.0, 1) == digit / 10
    assert step_for(0.29999, 1.0, 1.0, 1) == 0.2  # the control


def test_the_drift_shows_what_large_momenta_do_at_the_default_step():
    loud = ParticleInit(p=normal(7.0))
    assert DynamicParticles(UpDown(2, 8), 15, init=loud, seed=0).energy_drift([0, 1]) > 0.01
    assert DynamicParticles(UpDown(2, 8), 15, seed=0).energy_drift([0, 1]) < 0.001


def test_the_difference_of_two_solves_looks_at_all_states_and_doubles_it():
    fine = (torch.ones(1, 1, 2), 10 * torch.ones(1, 1, 2))
    assert float(difference((1.5 * fine[0], fine[1]), fine, 0)) == 0.5
    solves = {1.0: (1.5 * fine[0],), 0.5: (fine[0],)}
    # the halved step has half the error or less, so the whole one at most twice the difference
    assert float(_halved(solves.__getitem__, 0)(1.0)) == 1.0
