"""C27: beyond a conjugate point an extremal is no longer the cheapest way."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from shooting import Affine
from shooting.study.theory import bvp, conjugate, direct
from shooting.study.theory.direct import Problem

LENS = Affine(2, sigma="tanh", weight=0.3)


def axis(end: float) -> Problem:
    start = torch.tensor([[-1.5, 0.0]], dtype=torch.float64)
    return Problem(LENS, start, torch.tensor([[end, 0.0]], dtype=torch.float64), weight=30.0)


@cache
def straight(end: float):
    return conjugate.connect(axis(end), torch.tensor([[1.0, 0.0]], dtype=torch.float64))


@cache
def cheapest(end: float):
    problem = axis(end)
    found = direct.solve_direct(problem, 10, method="classical", seed=1, scale=1.0, iterations=300)
    return conjugate.connect(problem, found.costates[0])


@pytest.mark.parametrize(("end", "folded"), [(0.0, False), (2.5, True)])
def test_straight_ray_is_beaten_exactly_beyond_the_conjugate_point(end, folded):
    problem = axis(end)
    ray, best = straight(end), cheapest(end)
    energies = [float(LENS.energy(problem.start, p)) for p in (ray, best)]
    assert math.isfinite(conjugate.first_conjugate_time(problem, ray)) == folded
    if folded:
        assert energies[1] < 0.95 * energies[0]
        assert conjugate.first_conjugate_time(problem, best) == math.inf
    else:
        assert abs(energies[1] - energies[0]) < 1e-8 * energies[0]


def test_determinant_starts_at_that_of_the_cometric():
    """D_p z(t) / t -> K(z(0)) = (1 + |sigma|^2 / m) I as t -> 0."""
    problem = replace(axis(0.5), horizon=1e-3)
    values = conjugate.jacobi_determinants(problem, torch.tensor([[1.0, 0.5]]).double(), outputs=1)
    k = 1 + math.tanh(-1.5) ** 2 / 0.3
    assert float(values[0]) == pytest.approx(k**2, rel=1e-2)  # O(t) with t = 1e-3


def test_fan_is_made_of_extremals():
    paths = conjugate.fan(axis(1.0), torch.tensor([0.0, 0.4]).double(), 1.2, outputs=5)
    assert paths.shape == (6, 2, 2)
    alone = conjugate.fan(axis(1.0), torch.tensor([0.4]).double(), 1.2, outputs=5)
    assert torch.allclose(paths[:, 1:], alone, atol=1e-13)  # a run in a batch is a run alone


def test_connect_says_when_it_fails():
    with pytest.raises(ValueError, match="first guess"):
        conjugate.connect(axis(2.5), torch.full((1, 2), torch.nan, dtype=torch.float64))


def test_path_energy_of_an_extremal_is_its_hamiltonian():
    """int R dt = T H, by the midpoint rule: the error falls by four."""
    problem = axis(1.0)
    ray, gaps = straight(1.0), []
    for n in (16, 32):
        path = bvp.extremal(problem, ray, outputs=n).q
        gaps.append(abs(float(conjugate.path_energy(LENS, path) - LENS.energy(path[0], ray))))
    assert 3.5 < gaps[0] / gaps[1] < 4.5


def test_cometric_gives_the_energy():
    q, p = torch.tensor([[[0.3, -0.7]], [[1.0, 2.0]]]).double(), torch.tensor([[0.4, 0.9]]).double()
    k = conjugate.cometric(LENS, q)
    assert torch.allclose(0.5 * p[0] @ k @ p[0], LENS.energy(q, p.expand_as(q)), atol=1e-14)


@pytest.mark.parametrize(("end", "negative"), [(0.0, 0), (2.5, 1)])
def test_morse_index_counts_conjugate_points(end, negative):
    problem = axis(end)
    values = conjugate.second_variation(problem, straight(end), segments=16)
    assert int((values < 0).sum()) == negative
    if negative:  # control: the bent way to the same target
        assert conjugate.second_variation(problem, cheapest(end), segments=16)[0] > 0
