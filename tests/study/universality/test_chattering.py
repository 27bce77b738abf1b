"""Inflation 1, flows: fields that take turns do what their sum does."""

import math

import pytest
import torch

from shooting.study.universality.chattering import chatter, schedule, split, splitting
from shooting.study.universality.pieces import energy
from shooting.study.universality.targets import Target
from tests.study.universality.examples import end, network


def test_splitting_pieces_add_up(x):
    net = network(0, neurons=5)
    parts = split(net)
    assert [p.neurons for p in parts] == [2, 2, 2]
    assert torch.allclose(sum(p(x) for p in parts), net(x), atol=1e-13)


@pytest.mark.parametrize("order", [1, 2])
def test_schedules_spend_unit_time_on_each_field(order):
    plan = schedule(3, 4, order)
    for m in range(3):
        assert sum(time for k, time in plan if k == m) == pytest.approx(1.0)
    assert all(a[0] != b[0] for a, b in zip(plan, plan[1:], strict=False))
    with pytest.raises(ValueError, match="order=2"):
        schedule(3, 4, 3)


@pytest.mark.parametrize(("order", "window"), [(1, (0.9, 1.1)), (2, (1.9, 2.1))])
def test_chattering_is_the_splitting_and_has_its_order(order, window, x):
    net = network(0)
    parts, sought = split(net), Target(lambda t, y: net(y), 2).flow(x)[-1]
    errors = []
    for slots in (8, 16):
        ends = end(chatter(parts, slots, order=order), x)
        # v stays an affine function of x under Runge-Kutta steps: rounding only
        assert torch.allclose(ends, splitting(parts, slots, x, order=order), atol=1e-11)
        errors.append(float((ends - sought).norm(dim=1).max()))
    assert window[0] < math.log2(errors[0] / errors[1]) < window[1]


def test_control_chattering_without_retuning_fails(x):
    net = network(0)
    parts, sought = split(net), Target(lambda t, y: net(y), 2).flow(x)[-1]
    wrong = end(chatter(parts, 16, order=2, retune=False), x)
    assert float((wrong - sought).norm(dim=1).max()) > 0.3


def test_chattering_costs_the_square_of_the_number_of_slots():
    parts = split(network(0))
    prices = [energy(e.field, e.pieces) for e in (chatter(parts, n) for n in (32, 64))]
    assert 3.5 < prices[1] / prices[0] < 4.0  # retuning dominates, n^2 in the limit
