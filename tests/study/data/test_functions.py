"""Functions to learn and their samples: by hand, and a matter of the seed alone."""

from __future__ import annotations

import pytest
import torch
from problems import gap

from shooting.study.data.functions import BOUND, FUNCTIONS, grid_points, permutations, samples

pytestmark = pytest.mark.usefixtures("float64")


def test_functions_of_the_paper():
    x = torch.tensor([-1.5, 0.0, 0.5, 1.5])
    # by hand: 1/4 + 3 / (5/4) = 2.65 and 9/4 + 3 / (13/4) = 2.25 + 12/13
    want = torch.tensor([2.25 + 12 / 13, 3.0, 2.65, 2.25 + 12 / 13])
    assert gap(FUNCTIONS["quadratic-like"](x), want) < 1e-15
    assert gap(FUNCTIONS["cubic"](x), torch.tensor([-3.375, 0.0, 0.125, 3.375])) < 1e-15


def test_samples_fill_the_interval_and_belong_to_their_seed():
    found = samples([0, 7], 2000, "train")
    assert found.shape == (2, 2000, 1)
    assert torch.equal(found[1], samples([7], 2000, "train")[0])
    assert not torch.equal(found[1], samples([7], 2000, "watch")[0])
    assert 0.99 * BOUND < float(found.abs().max()) <= BOUND
    # U(-b, b) has mean 0 and deviation b / sqrt 3; four deviations of a mean of 2000
    assert abs(float(found[0].mean())) < 4 * BOUND / 3**0.5 / 2000**0.5


def test_grid_points_reach_both_ends():
    points = grid_points(7)
    assert points.shape == (7, 1)
    assert (float(points[0]), float(points[-1])) == (-BOUND, BOUND)
    assert gap(points.diff(dim=0), torch.full((6, 1), BOUND / 3)) < 1e-15


def test_permutations_belong_to_seed_and_epoch():
    order = permutations([3, 4], 50, 2)
    assert torch.equal(order.sort(-1).values, torch.arange(50).expand(2, 50))
    assert torch.equal(order[1], permutations([4], 50, 2)[0])
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order[0], permutations([3], 50, 3)[0])
