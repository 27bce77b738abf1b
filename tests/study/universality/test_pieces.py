"""Pieces of controls: their energy, their cheapest timing, and what is no piece."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import shooting
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, control, drive, energy, length, retime
from tests.study.universality.examples import TANH, weights


@given(st.lists(st.floats(0.1, 3.0), min_size=2, max_size=5))
@settings(max_examples=15)
def test_retiming_keeps_the_end_and_is_cheapest(durations):
    field = shooting.UpDown(2, 1, sigma="tanh")
    g = torch.Generator().manual_seed(len(durations))
    pieces = []
    for k, time in enumerate(durations):
        some = {n: torch.randn(s, generator=g, dtype=torch.float64) / 4
                for n, s in field.shapes.items()}  # fmt: skip
        pieces.append(Piece(time / sum(durations), control(field, **some), 4 + k))
    best = retime(field, pieces)
    z = torch.randn(5, 4, generator=g, dtype=torch.float64)
    before, after = (drive(field, p, z)[-1] for p in (pieces, best))
    assert torch.allclose(before, after, atol=1e-12)  # the same Runge-Kutta steps, rescaled
    shortest = sum(length(field, p) for p in pieces) ** 2 / 2
    assert energy(field, best) == pytest.approx(shortest)
    assert energy(field, pieces) >= shortest * (1 - 1e-12)
    assert sum(p.length for p in best) == pytest.approx(1.0)


def test_bad_networks_and_pieces_are_refused():
    a, w, c, b = weights(0)
    with pytest.raises(ValueError, match="weight A"):
        ShallowNet(a.T, w, c, b, TANH)
    with pytest.raises(ValueError, match="finite weight c"):
        ShallowNet(a, w, c / 0, b, TANH)
    with pytest.raises(ValueError, match="positive length"):
        Piece(0.0, {})
    field = shooting.UpDown(2, 2)
    with pytest.raises(ValueError, match="theta2 of shape"):
        control(field, theta2=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="weights among"):
        control(field, theta4=torch.zeros(2, 4))


def test_energy_of_constant_and_varying_pieces():
    field = shooting.UpDown(1, 1)
    one = torch.ones(1, 1, dtype=torch.float64)
    constant = Piece(2.0, control(field, theta1=3 * one))
    rising = Piece(1.0, lambda t: control(field, theta3=t * one))
    assert energy(field, [constant]) == pytest.approx(9.0)
    assert energy(field, [rising]) == pytest.approx(10 / 6)  # theta3 weighs 10, Simpson is exact
