"""C17: the penalty of optimal transport (A.7): conservation, straight paths, Wasserstein."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from shooting.hamiltonian import autodiff_system
from shooting.study.theory import transport as tr

COUNTS = (3, 12, 30, 100)


@pytest.fixture(scope="module")
def start() -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve points in the plane and a monotone displacement, the gradient of a convex function."""
    q = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.tensor([[0.5, 0.2], [0.2, -0.3]], dtype=torch.float64)  # I + a > 0
    return q, (q @ a + torch.tensor([0.5, -0.2])) / 12


@pytest.mark.parametrize("count", COUNTS)
def test_explicit_equations_are_the_canonical_ones(start, count):
    features = tr.random_features(2, count)
    explicit = tr.explicit_system(features)(*start)
    system = autodiff_system(lambda q, p: tr.hamiltonian(features, q, p))
    canonical = [t.detach() for t in system(*start)]
    # the Gram matrix has condition up to 1/ridge, hence not 1e-14
    assert max(float((a - b).abs().max()) for a, b in zip(explicit, canonical, strict=True)) < 1e-11
    short = tr.explicit_system(features, density=False)(*start)
    assert float((short[1] - canonical[1]).abs().max()) > 1e-3  # control


@pytest.mark.parametrize("count", COUNTS)
def test_energy_equals_r_and_is_conserved(start, count):
    features = tr.random_features(2, count)
    q, p = tr.trajectory(tr.explicit_system(features), *start, steps=100)
    energy = tr.hamiltonian(features, q, p)
    r = torch.stack([tr.penalty(features, a, tr.control(features, a, b)) for a, b in zip(q, p)])
    assert float((energy - r).abs().max()) < 1e-12
    assert float((energy - energy[0]).abs().max()) < 1e-9
    wrong = tr.trajectory(tr.explicit_system(features, density=False), *start, steps=100)
    lost = tr.hamiltonian(features, *wrong)
    assert float((lost - lost[0]).abs().max()) > 0.05  # control: density term dropped


def test_rich_features_make_straight_paths(start):
    bend = []
    for count in COUNTS:
        q, _ = tr.trajectory(tr.explicit_system(tr.random_features(2, count)), *start, steps=100)
        bend.append(tr.straightness(q))
    assert all(a > b for a, b in zip(bend, bend[1:], strict=False))
    assert bend[-1] < 1e-5
    assert bend[0] > 1e-2  # control: three features


def test_monotone_displacement_costs_half_the_squared_wasserstein_distance(start):
    q, p = start
    features = tr.random_features(2, 100)
    r = float(tr.hamiltonian(features, q, p))
    path, _ = tr.trajectory(tr.explicit_system(features), q, p, steps=100)
    cost = torch.cdist(path[0], path[-1]) ** 2 / 24
    rows, columns = linear_sum_assignment(cost.numpy())
    assert list(columns) == list(range(12))
    assert abs(float(cost[rows, columns].sum()) / r - 1) < 1e-4  # ridge 1e-6 times |theta|^2
    flipped = -3.0 * q / 12  # control: every point through the origin is no optimal map
    end = q + 12 * flipped
    far = torch.cdist(q, end) ** 2 / 24
    best = far[linear_sum_assignment(far.numpy())].sum()
    assert float(best) < 0.9 * float(far.diagonal().sum())
