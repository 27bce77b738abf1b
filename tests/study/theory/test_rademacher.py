"""C24, C25: the complexity claims fail, and where the repaired ones hold."""

from __future__ import annotations

import math

import pytest
import torch

from shooting.study.theory import rademacher as rad


def line(n, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    z1 = 2 * torch.rand(n, generator=g, dtype=torch.float64) - 1
    return torch.stack([z1, torch.zeros_like(z1)], dim=1)


def test_a_single_map_has_complexity_zero():
    values = torch.randn(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(rad.complexity(values, rad.all_signs(6))) < 1e-12  # rounding


def test_two_members_in_closed_form():
    """{0, 1} on one point: E sup = 1/2."""
    values = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert rad.complexity(values, rad.all_signs(1)) == pytest.approx(0.5)


def test_theorem_2_fails_and_holds_for_a_weak_shear():
    z, gains = line(64), torch.linspace(-0.05, 0.05, 21, dtype=torch.float64)
    signs = rad.random_signs(400, 64)
    claimed = 0.05 * float(signs.sum(1).abs().mean())
    assert rad.complexity(rad.sheared(z, gains), signs) > 1.5 * claimed
    # control: the shear is what breaks it; L = 1 stays below the claim
    assert rad.complexity(rad.sheared(z, gains, shear=1.0), signs) < claimed


def test_closed_form_of_the_two_shears():
    z, s = line(5), torch.linspace(-1, 1, 7, dtype=torch.float64)
    z = z + torch.tensor([0.0, 0.3], dtype=torch.float64)
    gap = rad.two_shears(z, s, 3.0) - rad.two_shears_by_ode(z, s, 3.0)
    assert gap.abs().max() < 1e-10  # each phase has a constant velocity


@pytest.mark.parametrize(("frequency", "fails"), [(3.0, False), (1e6, True)])
def test_corollary_3(frequency, fails):
    n, g = 16, torch.Generator().manual_seed(1)
    s = 2 * torch.rand(40000, generator=g, dtype=torch.float64) - 1
    found = rad.complexity(rad.two_shears(line(n), s, frequency), rad.random_signs(100, n))
    ratio = found / rad.ball_bound(n)
    assert ratio > 1.5 if fails else ratio < 1.0


def test_corollary_3_fails_even_with_the_factor_two():
    n, g = 6, torch.Generator().manual_seed(1)
    s = 2 * torch.rand(200000, generator=g, dtype=torch.float64) - 1
    found = rad.complexity(rad.two_shears(line(n), s, 1e7), rad.all_signs(n))
    assert found > 2 * rad.ball_bound(n)
    assert found <= 0.9 * n + 1e-9  # the limit of the proof


def test_quadratic_penalty_bounds_shallow_networks():
    ratios = []
    for n in (16, 64, 256):
        x = torch.randn(n, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        largest = float((1 + (x**2).sum(1)).sqrt().max())
        found = rad.shallow_complexity(x, rad.random_signs(200, n))
        ratios.append(found / math.sqrt(n))
        assert ratios[-1] < 2 * largest
    assert max(ratios) < 1.3 * min(ratios)  # flat in n
