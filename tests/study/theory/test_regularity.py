"""C13, C29: T H is the penalty; the bound on the stretch, and where it is sharp."""

from __future__ import annotations

import pytest
import torch

from shooting import Affine, UpDown
from shooting.hamiltonian import kernel_system
from shooting.study.theory import regularity
from shooting.study.theory.invariants import march
from shooting.study.theory.linear import linear_field


def draw(count, size, *, seed=0, scale=0.4):
    g = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(count, size, generator=g, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("field", [UpDown(2, 2, sigma="tanh"), Affine(3, sigma="tanh")])
def test_stretch_stays_below_the_bound(field, seed):
    q, p = draw(4, field.size, seed=seed)
    found = regularity.largest_stretch(field, q, p, draw(50, field.size, seed=9)[0])
    assert found <= regularity.stretch_bound(field, float(field.energy(q, p)))


def test_bound_is_attained_on_the_line_and_needs_its_two():
    field = linear_field(1)
    one = torch.ones(1, 1, dtype=torch.float64)
    energy = float(field.energy(one, one))
    found = regularity.largest_stretch(field, one, one, one)
    assert found == pytest.approx(regularity.stretch_bound(field, energy), rel=1e-7)  # RK4
    assert found > 1.3 * regularity.stretch_bound(field, energy, factor=1.0)


def test_inverse_of_the_flow_obeys_the_bound_and_attains_it_on_the_line():
    """The other half of the theorem: H is even in p, so the inverse is the shot with -p."""
    field, (q, p) = UpDown(2, 2, sigma="tanh"), draw(4, 6)
    z = draw(50, 6, seed=9)[0]
    smallest = 1 / regularity.least_stretch(field, q, p, z)
    assert smallest <= regularity.stretch_bound(field, float(field.energy(q, p)))
    line, one = linear_field(1), torch.ones(1, 1, dtype=torch.float64)
    found = 1 / regularity.least_stretch(line, one, -one, one)
    energy = float(line.energy(one, -one))
    assert found == pytest.approx(regularity.stretch_bound(line, energy), rel=1e-7)  # RK4
    assert found > 1.3 * regularity.stretch_bound(line, energy, factor=1.0)  # control


def test_penalty_over_depth_is_horizon_times_energy():
    field = UpDown(2, 2, sigma="tanh")
    q, p = draw(4, field.size)
    path = march(kernel_system(field), q, p, 200, horizon=2.0)
    rates = field.penalty(field.theta(*path))
    total = float(torch.trapezoid(rates, dx=0.01))
    energy = float(field.energy(q, p))
    assert abs(total - 2 * energy) < 1e-6 * energy
    assert abs(total - energy) > 0.5 * energy  # control: the factor T forgotten
