"""Packing: slots lie in a state in order, images site by site with channels last."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import refused

from shooting.spaces import Slot, StateSpace

slots = st.builds(
    Slot, st.integers(1, 3), st.sampled_from([(), (1, 1), (2, 3), (3, 1)])
)  # widths and sites


@given(st.lists(slots, min_size=1, max_size=3), st.sampled_from([(), (2,), (2, 3)]))
def test_split_and_pack_are_inverse(found, lead):
    space = StateSpace({f"s{i}": slot for i, slot in enumerate(found)})
    z = torch.arange(float(space.size) * 2 * len(lead) + 2 * space.size)[: 2 * space.size]
    z = z.reshape(2, space.size).expand(*lead, 2, space.size)
    parts = space.split(z)
    assert {k: tuple(p.shape) for k, p in parts.items()} == {
        k: (*lead, 2, *s.shape) for k, s in space.spaces.items()
    }
    assert torch.equal(space.pack(parts), z)


@given(slots, st.integers(0, 4))
def test_rows_and_first_have_inverses(slot, n):
    part = torch.arange(float(2 * n * slot.size)).reshape(2, n, *slot.shape)
    rows = slot.rows(part)
    assert rows.shape == (2, n * slot.count, slot.width)
    assert torch.equal(slot.unrows(rows), part)
    assert torch.equal(slot.last(slot.first(part)), part)
    assert slot.first(part).shape == (2, n, slot.width, *slot.sites)


def test_rows_of_an_image_are_its_sites():
    slot = Slot(2, (2, 2))
    part = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert slot.rows(part).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert slot.first(part)[0, 0].tolist() == [[0, 2], [4, 6]]  # control: channels were last


def test_bad_slots_are_refused():
    with refused("at least one slot"):
        StateSpace({})
    for bad in (0, -1, 1.5, True, "2", None):
        with refused(repr(bad), "slot x"):
            StateSpace({"x": bad})
        with refused(repr(bad), "width of a slot"):
            Slot(bad)
    with refused("0", "sites"):
        Slot(1, (0, 2))
    with refused("length 5", "(3, 4)"):
        StateSpace({"x": 2, "v": 3}).split(torch.zeros(3, 4))
