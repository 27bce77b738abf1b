"""The lift as a module: names, kinds, and what it does to a state."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, draw, gap, refused

from shooting import ConvUpDown, Slot, UpDown
from shooting.lift import LIFTS, Lift
from shooting.randomness import generator
from shooting.spaces import StateSpace


def lift_of(space, kind="learned"):
    lift = Lift(space, kind=kind)
    for name, value in lift.draw(generator(0, "init")).items():
        lift.set(name, value)
    return lift


def test_first_slot_stays_and_the_others_are_affine_in_it():
    lift, x = lift_of(UpDown(2, 3)), draw(0, 4, 2)
    z = lift(x)
    assert torch.equal(z[:, :2], x)
    assert gap(z[:, 2:], x @ lift.weight.T + lift.bias) <= EXACT
    assert gap(z[:, 2:], x @ lift.weight.T) > 0.1  # control: without the bias


def test_several_slots_are_filled_in_their_order():
    lift, x = lift_of(StateSpace({"x": 2, "v": 3, "w": 1})), draw(0, 4, 2)
    whole = x @ lift.weight.T + lift.bias
    parts = lift.space.split(lift(x))
    assert gap(parts["v"], whole[:, :3]) <= EXACT
    assert gap(parts["w"], whole[:, 3:]) <= EXACT


def test_an_image_is_lifted_site_by_site():
    field = ConvUpDown(2, 3, sites=(4, 5))
    lift, x = lift_of(field), draw(0, 6, 40)
    v = lift.space.split(lift(x))["v"]
    image = x.reshape(6, 4, 5, 2)
    assert gap(v[:, 1, 2], image[:, 1, 2] @ lift.weight.T + lift.bias) <= EXACT


@pytest.mark.parametrize("kind", LIFTS)
def test_only_a_learned_lift_has_parameters(kind):
    lift = lift_of(UpDown(2, 3), kind)
    assert dict(lift.named_parameters()).keys() == (
        {"weight", "bias"} if kind == "learned" else set()
    )
    assert lift.state_dict().keys() == {"weight", "bias"}
    assert bool(lift.weight.any()) == (kind != "zero")


def test_nothing_to_lift_to():
    lift, x = lift_of(StateSpace({"x": 2})), draw(0, 4, 2)
    assert lift(x) is x
    assert not lift.state_dict()


def test_bad_input():
    with refused("a lift", "'free'", "try 'learned'"):
        Lift(UpDown(2, 3), kind="free")
    with refused("the same sites", "use slots of one size"):
        lift_of(StateSpace({"x": Slot(2, (4, 4)), "v": 3}))
