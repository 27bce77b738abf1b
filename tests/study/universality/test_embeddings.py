"""Lemmas 5 and 6: equality of flows, and the printed statements failing."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import shooting
from shooting.study.universality.embeddings import (
    Lift,
    MovingNet,
    flow_of,
    inflation_for,
    lemma5,
    lemma6,
    share,
    stack,
)
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, drive
from tests.study.universality.examples import TANH, still, weights


def moving(seed: int, length: float = 1.0) -> MovingNet:
    a, w, c, b = weights(seed)
    _, dw, dc, _ = weights(seed + 100)

    def at(t):
        swing, turn = torch.sin(3 * t), torch.cos(2 * t)
        return ShallowNet(a * turn, w + swing * dw, c + turn * dc, b * (1 + t), TANH)

    return MovingNet(at, length)


@pytest.fixture
def x():
    return torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Both sides are RK4 with 400 steps of length 1/400 on fields of size about 5: error about 1e-10.
TOLERANCE = 1e-9


def gap(embedding, nets, x, parts, steps):
    z = drive(embedding.field, embedding.pieces, embedding.lift(x))
    return float((z[..., :2] - flow_of(nets, x, parts=parts, steps=steps)).abs().max())


def test_lemma5_gives_the_same_flow_at_every_time(x):
    net = moving(1)
    assert gap(lemma5(net, parts=8, steps=50), [net], x, 8, 50) < TOLERANCE


def test_lemma5_control_the_printed_start_without_b2_fails(x):
    net = moving(1)
    right = lemma5(net, parts=8, steps=50)
    printed = replace(right, lift=Lift(right.lift.weight, torch.zeros_like(right.lift.bias)))
    assert gap(printed, [net], x, 8, 50) > 0.1


def test_lemma5_control_the_printed_equation_without_theta2_b1_fails(x):
    net = moving(1)
    right = lemma5(net, parts=8, steps=50)

    def without(piece):
        def theta(t):
            full = piece.theta(t)
            b2 = torch.zeros_like(full["b2"])
            b2[:3, 0] = net.rates(t)[1]
            return {**full, "b2": b2}

        return Piece(piece.length, theta, piece.steps)

    wrong = replace(right, pieces=tuple(map(without, right.pieces)))
    assert gap(wrong, [net], x, 8, 50) > 0.05


def test_lemma5_control_a_jump_of_theta2_fails_and_lemma6_mends_it(x):
    first, second = still(3), still(4)
    jump = MovingNet(lambda t: first if float(t.detach()) < 0.5 else second)
    halves = [MovingNet(lambda t: first, 0.5), MovingNet(lambda t: second, 0.5)]
    sought = flow_of(halves, x, parts=1, steps=100)[-1]
    wrong = lemma5(jump, parts=2, steps=100)  # the Dirac mass in theta2' is lost
    missed = drive(wrong.field, wrong.pieces, wrong.lift(x))[-1, :, :2]
    right = lemma6(halves, steps=100)
    found = drive(right.field, right.pieces, right.lift(x))[-1, :, :2]
    assert float((missed - sought).abs().max()) > 0.1
    assert float((found - sought).abs().max()) < 1e-10  # the same RK4 steps on both sides


def test_lemma6_moving_networks_that_jump(x):
    nets = [moving(5, 0.3), moving(6, 0.2), moving(7, 0.5)]
    embedding = lemma6(nets, steps=200)
    assert embedding.field.slots["v"] >= 9
    # RK4 steps of length at most 1/400, as above
    assert gap(embedding, nets, x, 1, 200) < TOLERANCE


def test_stack_uses_the_core_and_equals_the_networks(x):
    nets = [still(k) for k in range(4)]
    field, lift, theta = stack(nets)
    assert field.inflation == inflation_for(4 * 3, 2) == 6
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    solver = shooting.Solver(method="classical", step=1 / 200)
    z = shooting.carry(field, theta, lift(x), times, solver=solver)
    quarters = [MovingNet(lambda t, net=net: net, 0.25) for net in nets]
    sought = flow_of(quarters, x, parts=1, steps=50)
    # v is an affine function of x, which Runge-Kutta methods keep: rounding only
    assert float((z[..., :2] - sought).abs().max()) < 1e-10


def test_stack_control_a_wrong_bias_of_the_later_block_fails(x):
    nets = [still(k) for k in range(2)]
    field, lift, theta = stack(nets)
    wrong = Lift(lift.weight, torch.cat([nets[0].c, nets[0].c]))
    z, bad = (shooting.carry(field, theta, m(x), [0.0, 1.0])[-1, :, :2] for m in (lift, wrong))
    assert float((z - bad).abs().max()) > 0.1


def test_shared_features_need_no_factor_k(x):
    base = still(1, neurons=4)
    nets = [ShallowNet(still(k, neurons=4).A, base.W, base.c, base.b, TANH) for k in range(5)]
    small, large = share(nets), stack(nets)
    assert (small[0].inflation, large[0].inflation) == (2, 10)
    flows = [shooting.carry(f, u, lift(x), [0.0, 1.0])[-1, :, :2] for f, lift, u in (small, large)]
    assert float((flows[0] - flows[1]).abs().max()) < 1e-12  # rounding
    with pytest.raises(ValueError, match="equal inner weights"):
        share([still(1), still(2)])


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=12)
def test_dimension_of_lemma6(dim, neurons, k):
    field, lift, theta = stack([still(j, dim=dim, neurons=neurons) for j in range(k)])
    assert field.inflation == math.ceil(k * neurons / dim)
    assert lift.weight.shape == (field.slots["v"], dim)
    assert {name: tuple(v.shape[1:]) for name, v in theta.items()} == field.shapes
