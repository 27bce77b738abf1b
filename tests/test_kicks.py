"""Particles whose momenta jump: paths, gradients, penalties, times, refusals."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, control_gap, draw, flat, gap, refused, slopes

from shooting import (
    ConvUpDown,
    DynamicParticles,
    SecondOrder,
    Solver,
    StaticParticles,
    UpDown,
    shoot,
)
from shooting.conservation import drift
from shooting.kicks import SAME, pieces, with_kicks
from shooting.solvers import make_grid

pytestmark = pytest.mark.usefixtures("float64")

AT = (0.25, 0.6)
TIMES = [0.0, 0.25, 0.5, 1.0]
ROUTES = ("autograd", "adjoint", "native", "torchdiffeq")


def kicked(field=None, *, scale=1.0, rank=None, solver=None, at=AT, **changes):
    """A model whose kicks are not zero."""
    field = field or UpDown(2, 3, sigma="tanh")
    model = DynamicParticles(
        field, 4, kicks=at, kick_rank=rank, solver=solver, **{"seed": 0, **changes}
    )
    learned = model.kicks if rank is None else model.kicks_right
    with torch.no_grad():
        learned.copy_(draw(5, *learned.shape[-3:], scale=scale).expand_as(learned))
    return model


def by_hand(model, x, *, step=0.1):
    """The path of the data at the end of each segment of [0, 1], every operation recorded."""
    q, p = model.start()
    z, found = model.lift(x), []
    jumps = model.kicks if model.kick_rank is None else model.kicks_left @ model.kicks_right
    for k, gap_ in enumerate(zip((0.0, *AT), (*AT, 1.0), strict=True)):
        if k:
            p = p + model.momentum_scale * jumps[..., k - 1, :, :]
        path = shoot(model.field, q, p, z, gap_, solver=Solver(step=step, route="autograd"))
        q, p, z = (part[..., -1, :, :] for part in path)
        found.append(z)
    return torch.stack(found, dim=-3)


# --- paths and gradients -------------------------------------------------------------------


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("seeds", [None, (0, 1)])
@pytest.mark.parametrize("route", ROUTES)
def test_a_path_and_its_gradients_are_those_of_segments_by_hand(route, seeds, rank):
    x, model = draw(0, 3, 2), kicked(rank=rank, seeds=seeds, solver=Solver(route=route))
    times = [0.0, *AT, 1.0]
    entered = x if seeds is None else x.expand(2, 3, 2)
    want = by_hand(model, entered)[..., :2]
    (want**2).sum().backward()
    expected = slopes(model)
    model.zero_grad()
    found = model(x, times)[..., 1:, :, :]
    (found**2).sum().backward()
    # the same operations in another order: rounding of a few hundred products
    assert gap(found, want) <= EXACT
    assert gap(slopes(model), expected) <= EXACT
    other = kicked(rank=rank, seeds=seeds, scale=1.1)(x, times)[..., 1:, :, :]
    assert gap(other, want) > 1e-3  # control: the kicks matter


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("rank", [None, 1])
def test_gradients_in_the_kicks_are_those_of_finite_differences(route, rank):
    x, model = draw(0, 3, 2), kicked(rank=rank, solver=Solver(route=route))
    names = ("kicks",) if rank is None else ("kicks_left", "kicks_right")

    def loss():
        return (model(x, TIMES) ** 2).sum() + model.penalty([0, 1])

    loss().backward()
    for name in names:
        w = getattr(model, name)
        direction, h = draw(9, *w.shape), 1e-5
        found = float((w.grad * direction).sum())
        with torch.no_grad():
            w += h * direction
            above = float(loss())
            w -= 2 * h * direction
            below = float(loss())
            w += h * direction
        # h² times a third derivative of size 1 to 10, and rounding 1e-15 / h
        assert abs((above - below) / (2 * h) / found - 1) <= 1e-7
        assert abs(found) > 1e-3  # control: not zero by chance


@pytest.mark.parametrize("field", [SecondOrder(2), ConvUpDown(1, 1, sites=(2, 3))])
def test_fields_without_a_transpose_by_hand_are_kicked_too(field):
    shape = (3, 1, 2, 3) if isinstance(field, ConvUpDown) else (3, 2)
    found = []
    for route in ("autograd", "adjoint"):
        model = kicked(field, scale=0.3, solver=Solver(route=route))
        path = model(draw(0, *shape, scale=0.3), TIMES)
        (path**2).sum().backward()
        found.append((path, slopes(model)))
    assert gap(found[0][0], found[1][0]) <= EXACT
    assert gap(found[0][1], found[1][1]) <= EXACT
    assert float(model.kicks.grad.abs().max()) > 1e-4  # control


def test_an_ensemble_is_its_single_runs():
    x, seeds = draw(0, 3, 2), (3, 7)
    for rank in (None, 2):
        many = kicked(seeds=seeds, rank=rank)
        for k, seed in enumerate(seeds):
            one = kicked(seed=seed, rank=rank)
            assert gap(flat(one), flat(many)[k]) == 0
            assert gap(one(x, TIMES), many(x, TIMES)[k]) <= EXACT
            assert gap(one.penalty([0, 1]), many.penalty([0, 1])[k]) <= EXACT
            assert gap(one.energy_drift([0, 1]), many.energy_drift([0, 1])[k]) <= EXACT
        assert gap(many(x, TIMES)[0], many(x, TIMES)[1]) > 1e-3  # control: the runs differ


@pytest.mark.parametrize("rank", [None, 2])
def test_kicks_begin_with_zero_and_change_nothing_else(rank):
    x = draw(0, 3, 2)
    plain = DynamicParticles(UpDown(2, 3), 4, seeds=(0, 1))
    fresh = DynamicParticles(UpDown(2, 3), 4, kicks=AT, kick_rank=rank, seeds=(0, 1))
    for name, w in plain.named_parameters():
        assert torch.equal(w, dict(fresh.named_parameters())[name])
    # its steps are placed between other stops: fourth order at the step 0.1
    assert gap(fresh(x, TIMES), plain(x, TIMES)) <= 1e-5
    assert gap(fresh.penalty([0, 1]), plain.penalty()) <= 1e-5
    model = kicked(UpDown(2, 3), rank=rank, seeds=(0, 1))
    assert gap(model(x, TIMES), plain(x, TIMES)) > 1e-2  # control: other kicks do


@pytest.mark.parametrize("rank", [None, 1])
def test_a_learned_kick_lowers_the_loss_that_smooth_particles_reach(rank):
    """Points are to go there and back: a smooth ensemble cannot turn round at once."""
    x = draw(0, 4, 2)
    target = torch.stack([x, x + torch.tensor([1.0, 0.0]), x])
    reached = {}
    for kicks in ((), (0.5,)):
        how = {"kicks": kicks, "kick_rank": rank if kicks else None}
        model = DynamicParticles(UpDown(2, 2, sigma="tanh"), 3, **{"seed": 0, **how})
        adam = torch.optim.Adam(model.parameters(), 0.03)
        for _ in range(150):
            adam.zero_grad()
            cost = model.penalty([0, 1]) if kicks else model.penalty()
            loss = ((model(x, [0.0, 0.5, 1.0]) - target) ** 2).mean() + 0.01 * cost
            loss.backward()
            adam.step()
        reached[bool(kicks)] = float(loss.detach())
    assert reached[True] < 0.7 * reached[False]


# --- times ---------------------------------------------------------------------------------


def test_positions_are_continuous_and_momenta_right_continuous():
    model, eps = kicked(), 1e-6
    q, p = model.particle_path([AT[0] - eps, AT[0], AT[0] + eps])
    jump = model.momentum_scale * model.kicks[0]
    assert gap(q[0], q[1]) <= 1e-5  # eps times a velocity
    assert gap(p[1] - p[0], jump) <= 1e-5
    assert gap(p[2], p[1]) <= 1e-5
    theta = model.theta([AT[0] - eps, AT[0]])
    assert control_gap(theta, {k: v.flip(0) for k, v in theta.items()}) > 1e-2  # control
    assert gap(model.theta([AT[0]])["theta1"][0], theta["theta1"][1]) <= EXACT


def test_requested_times_change_no_path():
    model, x = kicked(solver=Solver(step=0.01)), draw(0, 3, 2)
    many = model(x, [0.0, 0.1, 0.25, 0.3, 0.55, 0.6, 0.7, 1.0])
    few = model(x, [0.0, 0.3, 1.0])
    # both are of fourth order at the step 0.01
    assert gap(many[[0, 3, 7]], few) <= 1e-8
    shuffled = model.particle_path([0.7, 0.25, 0.0, 0.25])
    ordered = model.particle_path([0.0, 0.25, 0.7])
    for a, b in zip(shuffled, ordered, strict=True):
        assert gap(a, b[[2, 1, 0, 1]]) <= EXACT


@pytest.mark.parametrize("start", [0.1, 0.25, 0.4])
def test_data_that_enter_later_meet_the_particles_there(start):
    model, x = kicked(solver=Solver(step=0.01)), draw(0, 3, 2)
    q, p = (y[0] for y in model.particle_path([start]))
    z, jumps, here = model.lift(x), model.momentum_scale * model.kicks, start
    for k, at in enumerate((*AT, 1.0)):
        if at > here:
            path = shoot(model.field, q, p, z, [here, at], solver=Solver(step=0.01))
            q, p, z = (y[-1] for y in path)
            p, here = (p + jumps[k] if k < 2 else p), at
    assert gap(model(x, [start, 1.0])[-1], z[:, :2]) <= EXACT
    late = model(x, [0.0, 1.0])[-1]
    assert gap(late, z[:, :2]) > 1e-3  # control: it matters where they enter


@pytest.mark.parametrize("first", [1.0, 0.6])
def test_decreasing_times_take_the_kicks_back(first):
    model, x = kicked(solver=Solver(step=0.01), at=(0.25, 0.5)), draw(0, 3, 2)
    z = model.states(x, [0.0, first])[-1]
    back = model.flow(z, [first, 0.5, 0.3, 0.0])
    there = model.states(x, [0.0, 0.3, 0.5, first])
    # fourth order at the step 0.01
    assert gap(back, there.flip(0)) <= 1e-8
    smooth = kicked(scale=0.0, at=(0.25, 0.5), solver=Solver(step=0.01))
    assert gap(smooth.flow(z, [first, 0.0])[-1], there[0]) > 1e-2  # control


def test_a_start_at_a_kick_is_taken_back_at_once():
    model, x = kicked(solver=Solver(step=0.01)), draw(0, 3, 2)
    z = model.states(x, [0.0, AT[0], 1.0])[1]
    twin = kicked(solver=Solver(step=0.01), at=(*AT, 0.9)[:2])
    q, p = (y[0] for y in twin.particle_path([AT[0]]))
    path = shoot(
        twin.field, q, p - twin.momentum_scale * twin.kicks[0], z, [AT[0], 0.0], solver=twin.solver
    )
    found = next(iter(pieces(AT, [AT[0], 0.0])))
    assert (found.times, found.kick) == ((AT[0],), 0)
    assert gap(path.z[-1], model.states(x, [0.0, 1.0])[0]) <= 1e-8


def test_times_in_single_precision_are_at_the_kick():
    at = (0.1005, 0.2010)
    t = torch.tensor([0.0, *at, 0.3], dtype=torch.float32)
    model = kicked(at=at)
    assert torch.equal(model(draw(0, 3, 2), t)[0], draw(0, 3, 2))
    steps = [p.times for p in pieces(at, [0.0, *at, 0.3])]
    assert len(steps) == 3
    q, p = model.particle_path(t[1:2])
    assert gap(p[0], model.particle_path([at[0]])[1][0]) <= 1e-7  # float32's rounding of a time
    both = model.particle_path([at[0] * (1 - SAME / 2), at[0]])[1]  # the nearer one is the kick
    assert gap(both[1] - both[0], model.momentum_scale * model.kicks[0]) <= 1e-6
    far = model.particle_path([at[0] * (1 - 10 * SAME)])[1]
    assert gap(p, far) > 1e-2  # control: before the kick


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_a_time_that_asks_for_a_gradient_gets_it(start):
    # a step that divides no gap: else a longer gap has one step more, and another error
    model, x, h = kicked(solver=Solver(step=0.0103)), draw(0, 3, 2), 1e-5
    t = torch.tensor([start, 0.4, 1.0], requires_grad=True)
    weight = draw(8, 3, 3, 2)

    def loss(times):
        return (weight * model(x, times)).sum() + model.penalty(times)

    (found,) = torch.autograd.grad(loss(t), t)
    for k in range(0 if start else 1, 3):
        step = h * torch.eye(3)[k]
        with torch.no_grad():
            want = (loss(t + step) - loss(t - step)) / (2 * h)
        # h², rounding over h, and the solver's error at the step 0.01
        assert abs(float(found[k] - want)) <= 1e-6 * max(1.0, abs(float(want)))
        assert abs(float(want)) > 1e-3  # control


def test_steps_are_chosen_for_all_segments():
    x = draw(0, 3, 2)
    exact = kicked(scale=8.0, solver=Solver(step=1e-3))(x, TIMES)
    auto = kicked(scale=8.0, solver=Solver(step="auto", tolerance=1e-6))
    assert gap(auto(x, TIMES), exact) <= 1e-5  # the tolerance, relative to each part of the state
    assert gap(auto.dense(x, [0, 1])(TIMES), exact) <= 1e-3
    coarse = kicked(scale=8.0, solver=Solver(step=0.25))(x, TIMES)
    assert gap(coarse, exact) > 1e-5  # control: some steps are too large
    assert float(auto.energy_drift(TIMES)) <= 1e-6


def test_the_drift_of_h_is_that_between_kicks():
    model = kicked(solver=Solver(step=0.05))
    assert float(model.energy_drift([0, 1])) < 1e-4
    q, p = model.particle_path([0.0, *AT])
    h = model.field.energy(q, p).detach()
    assert float((h[1:] / h[0] - 1).abs().min()) > 0.05  # control: it jumps at kicks


def test_dense_output_meets_both_sides_of_a_kick():
    model, x = kicked(solver=Solver(step=0.02)), draw(0, 3, 2)
    dense = model.dense(x, [0.0, 1.0])
    assert set(AT) <= set(dense.nodes)
    for a, b in zip(dense.nodes, dense.nodes[1:], strict=False):
        s = (a + b) / 2
        # a Hermite cubic between exact ends: fourth order at the step 0.02
        assert gap(dense(s), model(x, [0.0, s, 1.0])[1]) <= 1e-6
    smooth = model.field.velocity(dense.values[..., 1:, :, :], model.theta(dense.nodes[1:]))
    assert gap(dense.ends, smooth) > 1e-2  # control: right limits would be wrong


# --- penalties and layers ------------------------------------------------------------------


@pytest.mark.parametrize("drifting", [False, True])
def test_the_penalty_weighs_segments_by_their_lengths(drifting):
    field = SecondOrder(2) if drifting else UpDown(2, 3, sigma="tanh")
    model = kicked(field, solver=Solver(step=0.01))
    times = [k / 200 for k in range(201)]
    middles = [(a + b) / 2 for a, b in zip(times, times[1:], strict=False)]
    theta = model.theta(middles)
    level = model.field.penalty(theta)
    # the midpoint rule; kicks are among its nodes, so that it is of second order
    assert gap(model.penalty(times), level.mean()) <= 1e-4
    reverse = model.penalty(times[::-1])
    assert gap(reverse, model.penalty(times)) <= EXACT
    assert gap(model.penalty([0.0, 0.7]), level.mean()) > 1e-3  # control: another depth
    if not drifting:
        assert gap(model.penalty([0.0, 1.0]), model.penalty(times)) <= EXACT
        start = model.field.energy(*model.start())
        assert gap(start, level.mean()) > 1e-3  # control: not what it is at the start


def test_layers_have_the_weights_behind_a_kick():
    model, x = kicked(at=(0.25, 0.5)), draw(0, 3, 2)
    errors = []
    for count in (40, 80):
        net = model.to_layers(count)
        errors.append(gap(net(x), model(x, [0.0, 1.0])[-1]))
    # of second order, kicks lying between two layers
    assert errors[1] <= 0.3 * errors[0]
    assert errors[0] < 1e-2
    smooth = kicked(scale=0.0, at=(0.25, 0.5)).to_layers(40)
    assert gap(smooth(x), model(x, [0.0, 1.0])[-1]) > 0.05  # control


# --- settings and refusals -----------------------------------------------------------------


def test_a_state_of_other_kicks_is_refused():
    state = kicked().state_dict()
    kicked().load_state_dict(state)
    with refused("kicks", "0.6"):
        kicked(at=(0.25, 0.5)).load_state_dict(state)
    with refused("kicks"):
        DynamicParticles(UpDown(2, 3, sigma="tanh"), 4, seed=0).load_state_dict(state)
    with refused("rank"):
        kicked(rank=2).load_state_dict(state)


def test_what_is_shown_and_counted():
    assert "kicks=(0.25, 0.6)" in repr(kicked())
    assert "kick_rank=2" in repr(kicked(rank=2))
    plain = DynamicParticles(UpDown(2, 3), 4, seed=0)
    assert "kick" not in repr(plain)
    assert kicked().count == plain.count + 2 * 4 * 8
    assert kicked(rank=2).count == plain.count + 2 * 2 * (4 + 8)


def test_kicks_that_make_no_sense_are_refused():
    for wrong in (
        (0.0, 0.5),
        (0.5, 0.5),
        (0.5, 0.5000001),
        (0.5, 0.25),
        (-1.0,),
        (float("nan"),),
        "a",
        0.5,
    ):
        with refused(error=ValueError):
            DynamicParticles(UpDown(2, 2), 3, kicks=wrong, seed=0)
    with refused("static", "DynamicParticles"):
        StaticParticles(UpDown(2, 2), 3, kicks=(0.5,), seed=0)
    with refused("kick_rank"):
        DynamicParticles(UpDown(2, 2), 3, kick_rank=2, seed=0)
    with refused("rank"):
        DynamicParticles(UpDown(2, 2), 3, kicks=(0.5,), kick_rank=0, seed=0)
    assert DynamicParticles(UpDown(2, 2), 3, kicks=[0.5], seed=0).kick_times == (0.5,)  # control
    for none in ((), [], torch.tensor([]), range(0)):
        assert DynamicParticles(UpDown(2, 2), 3, kicks=none, seed=0).kick_times == ()


def test_a_depth_that_ends_before_a_kick_is_refused():
    model, x = kicked(), draw(0, 3, 2)
    for last in (0.5, 0.6):
        with refused("0.6", f"{last:g}"):
            model(x, [0.0, last])
        with refused("0.6"):
            model.penalty([0.0, last])
    model(x, [0.0, 0.61])  # control
    with refused("penalty"):
        model.penalty()


def test_pieces_of_a_solve():
    def told(at, t):
        return [(p.times, p.kick, p.asked) for p in pieces(at, t)]

    assert told((0.5,), [0, 1]) == [((0, 0.5), 0, False), ((0.5, 1), None, True)]
    assert told((0.5,), [0, 0.5]) == [((0, 0.5), 0, True)]
    assert told((0.5,), [0.5, 1]) == [((0.5, 1), None, True)]
    assert told((0.5,), [1, 0]) == [((1, 0.5), 0, False), ((0.5, 0), None, True)]
    assert told((0.5,), [1, 0.5]) == [((1, 0.5), None, True)]
    assert told((0.5,), [0.5, 0]) == [((0.5,), 0, False), ((0.5, 0), None, True)]
    assert with_kicks((0.5, 2), [1, 0.2, 0]) == [1, 0.5, 0.2, 0]


# --- compilers and transforms --------------------------------------------------------------


def test_transforms_pass_through():
    model, x = kicked(), draw(0, 3, 2)
    names, values = zip(*model.named_parameters(), strict=True)

    def loss(given):
        return (
            torch.func.functional_call(model, dict(zip(names, given, strict=True)), (x, TIMES))
            .square()
            .sum()
        )

    found = torch.func.grad(loss)(values)
    want = torch.autograd.grad((model(x, TIMES) ** 2).sum(), list(model.parameters()))
    for a, b in zip(found, want, strict=True):
        assert gap(a, b) <= EXACT
    assert float(want[names.index("kicks")].abs().max()) > 1e-3  # control


def test_the_drift_of_kicked_particles_is_the_largest_of_their_segments():
    model = kicked(scale=4.0, solver=Solver(step=0.25))
    (q, p), found = model.start(), []
    for k, ends in enumerate(((0.0, AT[0]), AT, (AT[1], 1.0))):
        p = p + model.momentum_scale * model.kicks[k - 1] if k else p
        path = shoot(
            model.field, q, p, q[:0], make_grid(ends, step=0.25).nodes, solver=model.solver
        )
        found.append(drift(model.field, path.q, path.p))
        q, p = path.q[-1], path.p[-1]
    assert max(found) > 10 * min(found) > 0  # which segment is asked for matters
    assert gap(model.energy_drift([0.0, 1.0]), max(found)) <= EXACT


def test_the_penalty_of_kicked_particles_is_a_mean_over_any_depth():
    model = kicked(solver=Solver(step=0.01))
    times = [k / 100 for k in range(201)]
    theta = model.theta([(a + b) / 2 for a, b in zip(times, times[1:], strict=False)])
    # the kicks lie on the grid; R is constant between them, up to the solver's error
    assert gap(model.penalty(times), model.field.penalty(theta).mean()) <= 1e-3


def test_dense_output_backwards_meets_the_path_beside_a_kick():
    model, x = kicked(solver=Solver(step=0.02)), draw(0, 3, 2)
    dense = model.dense(x, [1.0, 0.0])
    beside = [s for s in zip(dense.nodes, dense.nodes[1:], strict=False) if set(s) & set(AT)]
    assert len(beside) == 2 * len(AT)
    for a, b in beside:
        s = (a + b) / 2
        # cubic interpolation of steps of 0.02; the wrong side of a kick is 1e-4 away
        assert gap(dense(s), model(x, [1.0, s, 0.0])[1]) <= 1e-6


def test_factors_of_low_rank_have_columns_of_length_about_one():
    left = DynamicParticles(UpDown(2, 3), 500, kicks=AT, kick_rank=16, seed=0).kicks_left
    # 16,000 numbers: the standard deviation is known to 1 / sqrt(32,000) = 0.6 %
    assert abs(float(left.detach().std()) * 16**0.5 - 1) < 0.03
