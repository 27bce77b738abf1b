"""Three dictionaries, one set of trajectories; (3.8) to the letter is a fourth, different one."""

from __future__ import annotations

import pytest
import torch

from shooting import UpDown
from shooting.hamiltonian import kernel_system
from shooting.study.theory.signs import BEFORE_3_8, DICTIONARIES, MINIMISED, OURS, PRINTED_3_8

FIELD = UpDown(2, 2, sigma="tanh")


@pytest.fixture
def start():
    g = torch.Generator().manual_seed(0)
    shape = (3, FIELD.size)
    return [0.5 * torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2)]


def test_ours_is_the_kernel_system(start):
    for got, want in zip(OURS.rates(FIELD, *start), kernel_system(FIELD)(*start), strict=True):
        assert torch.allclose(got, want, atol=1e-13)  # rounding


def test_dictionaries_agree_after_the_change_of_sign(start):
    q, p = start
    ours, printed = OURS.shoot(FIELD, q, p), BEFORE_3_8.shoot(FIELD, q, p)
    flipped = MINIMISED.shoot(FIELD, q, -p)
    assert torch.equal(ours[0], printed[0])
    assert torch.equal(ours[0], flipped[0])
    assert torch.equal(ours[1], -flipped[1])


def test_control_same_p_in_the_minimised_dictionary_goes_elsewhere(start):
    gap = OURS.shoot(FIELD, *start)[0] - MINIMISED.shoot(FIELD, *start)[0]
    assert gap.abs().max() > 0.1


def test_control_3_8_to_the_letter_runs_backwards(start):
    rates, wrong = OURS.rates(FIELD, *start), PRINTED_3_8.rates(FIELD, *start)
    assert torch.allclose(wrong[0], -rates[0], atol=1e-13)
    assert torch.allclose(wrong[1], -rates[1], atol=1e-13)


def test_value_at_the_stationary_control(start):
    for dictionary, sign in zip(DICTIONARIES, (1, -1, -1), strict=True):
        theta = dictionary.theta(FIELD, *start)
        value = dictionary.hamiltonian(FIELD, *start, theta)
        assert torch.allclose(value, sign * FIELD.penalty(theta), rtol=1e-12)
