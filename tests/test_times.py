"""Times: read from whatever holds numbers, and differentiable on every route."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import EXACT, draw, gap, refused

from shooting import (
    DynamicDirect,
    DynamicParticles,
    SecondOrder,
    Solver,
    StaticDirect,
    StaticParticles,
    UpDown,
    carry,
    shoot,
)
from shooting.solvers import make_grid
from shooting.times import check_times, moves, nudge, numbers, refuse_moving

pytestmark = pytest.mark.usefixtures("float64")
FIELD = UpDown(2, 3, sigma="tanh")
ROUTES = ("auto", "native", "adjoint", "autograd", "torchdiffeq")
EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES)
# central differences: truncation h^2 f''' = 1e-8 of derivatives of order one, rounding 1e-12; and
# the flow's derivative against a discrete solution's, in steps of 1/40: 1e-7 times such derivatives
CLOSE = 1e-6
H = 1e-4


def model(kind: str, route: str = "auto", **more):
    solver = Solver(step=0.0251, route=route)  # no multiple of it is a time below
    build = {
        "dynamic particles": lambda: DynamicParticles(
            FIELD, 4, solver=solver, **{"seed": 0, **more}
        ),
        "static particles": lambda: StaticParticles(FIELD, 4, solver=solver, **{"seed": 0, **more}),
        "dynamic direct": lambda: DynamicDirect(
            FIELD, blocks=3, solver=solver, **{"seed": 0, **more}
        ),
        "static direct": lambda: StaticDirect(FIELD, solver=solver, **{"seed": 0, **more}),
        "known depth": lambda: DynamicDirect(
            FIELD, blocks=3, depth=2.0, solver=solver, **{"seed": 0, **more}
        ),
    }
    return build[kind]()


KINDS = ("dynamic particles", "static particles", "dynamic direct", "static direct", "known depth")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


# --- read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        [0, 1],
        (0.0, 1.0),
        range(2),
        np.array([0, 1]),
        np.array([0.0, 1.0], dtype=np.float32),
        [np.float32(0), np.int64(1)],
        torch.tensor([0, 1]),
        torch.tensor([0.0, 1.0], dtype=torch.float16),
        [torch.tensor(0.0), 1],
        [torch.tensor(0), torch.tensor(1.0, requires_grad=True)],
    ],
)
def test_times_may_be_any_list_of_numbers(times):
    assert numbers(times) == check_times(times) == [0.0, 1.0]
    x = draw(0, 3, 2)
    flow = model("dynamic particles")
    assert torch.equal(flow(x, times), flow(x, [0.0, 1.0]))


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (1.0, "1.0"),
        (None, "None"),
        ("01", "'01'"),
        (torch.tensor(1.0), "Tensor of shape ()"),
        (np.float64(1.0), "np.float64(1.0)"),
        (torch.zeros(2, 2), "Tensor of shape (2, 2)"),
        (np.zeros((2, 2)), "ndarray of shape (2, 2)"),
        ([[0, 1]], "[[0, 1]]"),
        ([0, 1j], "1j"),
        ([], "[]"),
        ([float("nan"), 1.0], "nan"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused_in_a_sentence(times, told):
    with refused("times", told):
        numbers(times)
    with refused("times", told):
        model("dynamic particles")(draw(0, 3, 2), times)
    with refused("times", told):
        model("dynamic particles").theta(times)


@pytest.mark.parametrize("times", [[0.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [1.0, 0.5, 0.5]])
def test_times_of_a_solve_are_monotone(times):
    with refused("times", "increasing or strictly decreasing"):
        check_times(times)


# --- differentiated ------------------------------------------------------------------------------


@EVERY_ROUTE
@pytest.mark.parametrize("stacked", [True, False])
def test_the_end_time_gets_the_velocity_at_the_end(route, stacked):
    """dz(T)/dT = f(z(T), theta(T)), whatever the times are packed in."""
    flow, x = DynamicParticles(FIELD, 5, solver=Solver(route=route), seed=0), draw(3, 4, 2)
    end = torch.tensor(1.0, requires_grad=True)
    path = flow(x, torch.stack([0 * end, end]) if stacked else [0.0, end])
    states = flow.states(x, [0.0, 1.0])[-1]
    assert torch.equal(path, flow(x, [0.0, 1.0]))  # the numbers are those of plain times
    (found,) = torch.autograd.grad(path[-1].sum(), end)
    now = {name: value[0] for name, value in flow.theta([1.0]).items()}
    assert gap(found, FIELD.velocity(states, now)[:, :2].sum()) <= EXACT
    before = {name: value[0] for name, value in flow.theta([0.9]).items()}
    assert gap(found, FIELD.velocity(states, before)[:, :2].sum()) > 1e-4  # the control


@EVERY_ROUTE
@EVERY_KIND
def test_every_time_gets_the_derivative_of_the_path(kind, route):
    """First, inner and last time of every model, against central differences."""
    flow, x, weights = model(kind, route), draw(0, 4, 2), draw(1, 4, 4, 2)
    at = torch.tensor([0.1, 0.43, 0.8, 1.3])  # none an end of a block

    def loss(t):
        return (weights * flow(x, t)).sum()

    t = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(t), t)
    with torch.no_grad():
        wanted = torch.stack([(loss(at + h) - loss(at - h)) / (2 * H) for h in H * torch.eye(4)])
    assert gap(found, wanted) < CLOSE
    if kind in ("dynamic direct", "dynamic particles"):
        assert gap(found[:1], torch.zeros(1)) > 1e-3  # the first time is no idle one


def test_control_blocks_that_would_stand_still_are_noticed():
    """Without a known depth the blocks stretch with the interval; with one they do not."""
    flow, x = model("dynamic direct"), draw(0, 4, 2)
    t = torch.tensor([0.0, 2.0], requires_grad=True)
    (stretched,) = torch.autograd.grad(flow(x, t)[-1].sum(), t)
    z = flow.states(x, [0.0, 2.0])[-1]
    last = {name: value[-1] for name, value in flow.theta_blocks().items()}
    assert gap(stretched[1], FIELD.velocity(z, last)[:, :2].sum()) > 1e-2
    known = model("known depth")
    t = torch.tensor([0.0, 2.0], requires_grad=True)
    (still,) = torch.autograd.grad(known(x, t)[-1].sum(), t)
    z = known.states(x, [0.0, 2.0])[-1]
    assert gap(still[1], FIELD.velocity(z, last)[:, :2].sum()) <= EXACT


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4", "dopri5"])
def test_the_gradient_is_the_flows_up_to_the_error_of_the_method(method):
    """Of the discrete solution it misses O(h^p), of the true flow as well."""
    flow, x, end = (
        DynamicParticles(FIELD, 4, momentum_scale=8.0, seed=0),
        draw(0, 4, 2),
        torch.ones(()),
    )
    end.requires_grad_()
    flow.solver = Solver(step=1 / 160)
    (true,) = torch.autograd.grad(flow(x, [0.0, end])[-1].sum(), end)
    errors = []
    for h in (0.25, 0.125, 0.0625):
        flow.solver = Solver(method=method, step=h)
        (found,) = torch.autograd.grad(flow(x, [0.0, end])[-1].sum(), end)
        errors.append(float((found - true).abs() / true.abs()))
    order = {"euler": 1, "midpoint": 2, "rk4": 4, "dopri5": 0}[method]
    if not order:
        assert errors[-1] < 1e-6  # rtol 1e-7 times condition
    else:
        slope = np.polyfit(np.log([0.25, 0.125, 0.0625]), np.log(errors), 1)[0]
        assert slope > order - 0.3  # three steps lie within this of their asymptotic slope


@EVERY_ROUTE
def test_shoot_depends_on_differences_of_times(route):
    q, p, z = draw(0, 3, 8), draw(1, 3, 8, scale=0.3), draw(2, 4, 8)
    t = torch.tensor([0.2, 0.5, 1.0], requires_grad=True)
    path = shoot(FIELD, q, p, z, t, solver=Solver(route=route))
    for part in path:
        (found,) = torch.autograd.grad(part.square().sum(), t, retain_graph=True)
        assert float(found.sum().abs()) < 1e-12  # a common shift changes nothing: rounding
        assert float(found.abs().max()) > 1e-2


@pytest.mark.parametrize("span", [None, (0.0, 1.5)])
@EVERY_ROUTE
def test_carry_by_blocks_is_differentiable_backwards_too(route, span):
    theta = {k: draw(i, 3, *s, scale=0.5) for i, (k, s) in enumerate(FIELD.shapes.items())}
    z, weights, solver = draw(9, 4, 8), draw(8, 3, 4, 8), Solver(step=0.0251, route=route)
    at = torch.tensor([1.4, 0.8, 0.1])

    def loss(t):
        return (weights * carry(FIELD, theta, z, t, span=span, solver=solver)).sum()

    t = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(t), t)
    wanted = torch.stack([(loss(at + h) - loss(at - h)) / (2 * H) for h in H * torch.eye(3)])
    assert gap(found, wanted) < CLOSE


def test_a_time_at_the_end_of_a_block_moves_by_itself():
    """It and the block's end are two things: the path to its right has the end's derivative."""
    flow, x = model("dynamic direct"), draw(0, 4, 2)
    t = torch.tensor([0.0, 0.5, 1.5], requires_grad=True)  # three blocks: one ends at 0.5
    (inner,) = torch.autograd.grad(flow(x, t)[-1].sum(), t)
    assert float(inner[1]) == 0.0  # where one looks does not move the last point
    (plain,) = torch.autograd.grad(flow(x, t[[0, 2]])[-1].sum(), t)
    assert gap(inner, plain) <= EXACT


# PyTorch compiles a few decompositions at the first jvp, by a call that it deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_higher_derivatives_and_transforms_agree():
    flow, x = model("dynamic particles", "autograd"), draw(0, 4, 2)

    def loss(end):
        return flow(x, torch.stack([0 * end, end]))[-1].square().sum()

    end = torch.tensor(1.0)
    first, second = torch.func.grad(loss)(end), torch.func.grad(torch.func.grad(loss))(end)
    assert gap(first, (loss(end + H) - loss(end - H)) / (2 * H)) < CLOSE
    # rounding 1e-16 / h^2 = 1e-8 times the size of the loss
    assert gap(second, (loss(end + H) - 2 * loss(end) + loss(end - H)) / H**2) < 1e-5
    assert gap(torch.func.jvp(loss, (end,), (torch.ones(()),))[1], first) <= EXACT
    wrong = 2 * flow(x, [0.0, 1.0])[-1].sum()
    assert gap(first, wrong) > 1e-2


@EVERY_ROUTE
def test_mixed_derivatives_of_times_and_weights(route):
    """The velocity at the end depends on the weights, and back propagation finds how."""
    flow, x = model("dynamic particles", route), draw(0, 4, 2)
    end = torch.tensor(1.0, requires_grad=True)
    (speed,) = torch.autograd.grad(flow(x, [0.0, end])[-1].sum(), end, create_graph=True)
    parameters = list(flow.parameters())
    found = torch.autograd.grad(speed, parameters)
    z = flow.states(x, [0.0, 1.0])[-1]
    now = {name: value[0] for name, value in flow.theta([1.0]).items()}
    wanted = torch.autograd.grad(FIELD.velocity(z, now)[:, :2].sum(), parameters)
    assert all(gap(a, b) <= EXACT for a, b in zip(found, wanted, strict=True))
    assert max(float(a.abs().max()) for a in found) > 1e-3


@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_theta_and_the_penalty_are_differentiable_in_time(seeds):
    flow, at = model("dynamic particles", seeds=seeds), torch.tensor([0.3, 0.0, 1.0])
    drifting = DynamicParticles(SecondOrder(2, sigma="tanh"), 4, solver=Solver(step=0.0251), seed=0)
    for value in (
        lambda t: flow.theta(t)["theta3"].square().sum(),
        lambda t: flow.theta(t.sort().values)["theta1"].square().sum(),
        lambda t: drifting.penalty(t.sort().values).sum(),
    ):
        t = at.clone().requires_grad_()
        (found,) = torch.autograd.grad(value(t), t)
        # of the time at 0 to one side only: nothing lies before
        steps = H * torch.eye(3)[[0, 2]]
        wanted = torch.stack([(value(at + h) - value(at - h)) / (2 * H) for h in steps])
        assert gap(found[[0, 2]], wanted) < CLOSE
        assert float(found.abs().max()) > 1e-4


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_particles_start_at_depth_zero_not_at_the_first_time(order):
    """Each state moves with its own time alone, in whichever order the times come."""
    flow, at = model("dynamic particles"), torch.tensor([0.0, 1.0])[order].requires_grad_()
    q, p = flow.particle_path(at)
    rate = flow.field.rates("theta", q, p, q[..., :0, :])[0].detach().sum((-1, -2))
    for k in (0, 1):
        (found,) = torch.autograd.grad(q[..., k, :, :].sum(), at, retain_graph=True)
        assert gap(found[k], rate[..., k].sum()) <= EXACT
        assert float(found[1 - k]) == 0
        assert float(found[k].abs()) > 1e-3  # a control that lost the gradient would have 0


def test_a_learned_depth_reaches_its_optimum():
    """The end time as a parameter of one's own module."""
    flow, x = model("dynamic particles"), draw(0, 4, 2)
    target, end = flow(x, [0.0, 1.4])[-1].detach(), torch.nn.Parameter(torch.tensor(1.0))
    TIGHT = {"tolerance_grad": 1e-14, "tolerance_change": 1e-16}
    optimiser = torch.optim.LBFGS([end], line_search_fn="strong_wolfe", **TIGHT)

    def closure():
        optimiser.zero_grad()
        loss = (flow(x, [0.0, end])[-1] - target).square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimiser.step(closure)
    assert (
        abs(float(end.detach()) - 1.4) < 1e-5
    )  # the flow's derivative and the solution's differ by 1e-7


# --- refused -------------------------------------------------------------------------------------


def test_a_gradient_that_would_be_lost_is_refused():
    times = torch.tensor([0.0, 1.0], requires_grad=True)
    with refused("times that require", "times.detach()"):
        refuse_moving(times)
    with refused("times that require"):
        make_grid(times, step=0.1)
    refuse_moving(times.detach())
    with torch.no_grad():
        refuse_moving(times)
        assert make_grid(times, step=0.5).steps == 2


def test_times_under_vmap_are_refused_in_a_sentence():
    flow, x = model("dynamic particles", "autograd"), draw(0, 4, 2)
    with refused("vmap"):
        torch.func.vmap(lambda end: flow(x, [0.0, end]))(torch.tensor([0.5, 1.0]))


def test_moves_are_zeros_that_carry_the_gradient():
    end = torch.tensor(2.0, requires_grad=True)
    assert (
        moves([0.0, 1.0]) is moves(torch.tensor([0.0, 1.0])) is moves(torch.tensor([0, 1])) is None
    )
    found = moves([0.0, 3 * end])
    assert torch.equal(found, torch.zeros(2))
    assert torch.autograd.grad(found[1], end)[0] == 3


def test_a_step_of_length_zero_has_four_right_derivatives():
    """Of y' = y, y(0) = 1: all are 1; a first-order step would have one."""
    h, y = torch.zeros(1, requires_grad=True), torch.ones(1, 1, 1)
    (value,) = nudge(lambda s: s, (y,), h)
    assert torch.equal(value, y)
    for _ in range(4):
        (value,) = torch.autograd.grad(value.sum(), h, create_graph=True)
        assert gap(value, torch.ones(1)) <= EXACT
    assert not value.requires_grad  # the fifth is beyond the method
