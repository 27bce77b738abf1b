import pytest
import torch

from shooting.study.data.circles import DISC, RING, circles


def test_counts_and_radii():
    x, y = circles([0, 1], "train")
    assert x.shape == (2, 3000, 2)
    assert y.sum(1).tolist() == [2000.0, 2000.0]
    radius = x.norm(dim=-1)
    # 1e-6: rounding to float32
    for label, (low, high) in ((0, DISC), (1, RING)):
        inside = radius[y == label]
        assert inside.min() >= low - 1e-6
        assert inside.max() <= high + 1e-6


@pytest.mark.parametrize(("label", "low"), [(0, 0.0), (1, 1.0)])
def test_radii_follow_the_published_law(label, low):
    # r = low + sqrt(u) / 2, so (2 (r - low))^2 is uniform: mean 1/2, standard error below 0.007
    x, y = circles(range(4), "train")
    unit = (2 * (x.norm(dim=-1)[y == label] - low)) ** 2
    assert float(unit.mean()) == pytest.approx(0.5, abs=0.03)


def test_directions_are_uniform():
    x, _ = circles([5], "train")
    # mean direction: standard error 0.013 in each coordinate
    assert (x / x.norm(dim=-1, keepdim=True)).mean(1).abs().max() < 0.06


def test_draws_depend_on_seed_and_purpose_alone():
    both, _ = circles([0, 7], "train", (5, 6))
    assert torch.equal(both[1], circles([7], "train", (5, 6))[0][0])
    assert not torch.equal(both, circles([0, 7], "test", (5, 6))[0])
