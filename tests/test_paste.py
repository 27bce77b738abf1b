"""Pasting: exact for a flow, cut at any horizon, and what blows up keeps what it reached."""

from __future__ import annotations

import math

import pytest
import torch
from problems import refused
from torch import nn

from shooting import ConvUpDown, DynamicDirect, DynamicParticles, StaticDirect, UpDown, paste

pytestmark = pytest.mark.usefixtures("float64")


class Decay(nn.Module):
    """The exact flow x(t) = exp(-t) x(0)."""

    def forward(self, x, times):
        factors = torch.tensor([math.exp(-t) for t in times])
        return factors.view(-1, 1, 1) * x.unsqueeze(-3)


class Growth(nn.Module):
    """x' = x^2, which blows up at time 1 / x(0)."""

    def forward(self, x, times):
        left = 1 - torch.tensor(list(times)).view(-1, 1, 1) * x.unsqueeze(-3)
        return torch.where(left > 0, x.unsqueeze(-3) / left, math.inf)


@pytest.mark.parametrize("horizon", [3.0, 2.6, 2.5, 0.3, 1.0])
def test_exact_flow_is_followed_to_any_horizon(horizon):
    x0 = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    long = paste(Decay(), x0, horizon, times=[0.0, 0.25, 0.5, 0.75, 1.0])
    assert long.times[0] == 0
    # products of exponentials round differently from one exponential, by some 1e-16 a piece
    assert long.times[-1] == pytest.approx(horizon, abs=1e-12)
    exact = torch.exp(-long.times).view(-1, 1, 1) * x0
    torch.testing.assert_close(long.positions, exact, rtol=1e-13, atol=0)
    assert bool((long.times.diff() > 1e-9).all())
    assert not bool(long.stopped.any())
    assert str(long) == f"2 of 2 trajectories reach the horizon {horizon:g}"


def test_every_piece_starts_where_the_last_one_ended_with_a_lift_of_its_own():
    model = DynamicParticles(UpDown(2, 3), 4, seeds=(0, 1))
    x0, times = torch.randn(1, 2), [0.0, 0.5, 1.0]
    long = paste(model, x0, 2, times=times)
    first = model(x0, times)
    second = model(first[:, -1], times)
    by_hand = torch.cat([first, second[:, 1:]], dim=1)
    assert torch.equal(long.positions, by_hand)
    assert not long.positions.requires_grad
    # control: a single solve over the whole depth is another trajectory
    assert not torch.allclose(model(x0, [0.0, 0.5, 1.0, 1.5, 2.0]), by_hand)


CONV = ConvUpDown(1, 2, sites=(5, 4))
IMAGES = {
    "dynamic particles": lambda **how: DynamicParticles(CONV, 3, **how),
    "static direct": lambda **how: StaticDirect(CONV, **how),
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("how", [{}, {"seeds": (0, 1)}], ids=["one run", "two runs"])
def test_images_are_followed_like_vectors(kind, how):
    model, x0 = IMAGES[kind](**how), torch.randn(3, 1, 5, 4)
    long = paste(model, x0, 1.5, times=[0.0, 0.5, 1.0])
    one = model(x0, [0.0, 0.5, 1.0])
    two = model(one[..., -1, :, :, :, :], [0.0, 0.5, 1.0])
    by_hand = torch.cat([one, two[..., 1:2, :, :, :, :]], dim=-5)
    assert torch.equal(long.positions, by_hand)
    assert long.reached.tolist() == torch.full(by_hand.shape[:-5] + (3,), 4).tolist()
    wrapped = Wrapped(model)  # which says nothing of slots
    with refused("(2, 3, 1, 5, 4)" if not how else "(2, 2, 3, 1, 5, 4)", "axes=3"):
        paste(wrapped, x0, 1.5)
    again = paste(wrapped, x0, 1.5, times=[0.0, 0.5, 1.0], axes=3)
    assert torch.equal(again.positions, by_hand)


class Wrapped(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, times):
        return self.model(x, times)


def test_an_image_that_blows_up_stops_alone():
    x0 = torch.full((2, 1, 2, 2), 0.1)
    x0[0, 0, 1, 1] = 0.4  # blows up at 2.5
    long = paste(GrowthOfImages(), x0, 4.0, axes=3)
    assert long.reached.tolist() == [3, 5]
    assert long.positions.shape == (5, 2, 1, 2, 2)
    assert bool(long.positions[3:, 0].isnan().all())
    assert bool(long.positions[:, 1].isfinite().all())


class GrowthOfImages(Growth):
    def forward(self, x, times):
        return super().forward(x.flatten(1), times).unflatten(-1, x.shape[1:])


def test_the_last_piece_still_gets_the_whole_depth():
    """A model without a known depth would squeeze its blocks into a part of it."""
    model = DynamicDirect(UpDown(2, 3), blocks=2, seed=0)
    x0 = torch.randn(1, 2)
    long = paste(model, x0, 0.5)
    assert torch.equal(long.positions[-1], model(x0, [0.0, 0.5, 1.0])[1])
    assert not torch.allclose(long.positions[-1], model(x0, [0.0, 0.5])[1])  # control


def test_a_blow_up_stops_alone_and_keeps_what_it_reached():
    x0 = torch.tensor([[0.4], [0.1]])  # the first blows up at 2.5
    long = paste(Growth(), x0, 4.0, times=[0.0, 0.5, 1.0])
    assert long.reached.tolist() == [5, 9]
    assert long.stopped.tolist() == [True, False]
    torch.testing.assert_close(long.positions[:5, 0, 0], 0.4 / (1 - 0.4 * long.times[:5]))
    assert bool(long.positions[5:, 0].isnan().all())
    torch.testing.assert_close(long.positions[:, 1, 0], 0.1 / (1 - 0.1 * long.times))
    assert "1 of 2 trajectories blow up" in str(long)
    assert "after time 2;" in str(long)


def test_where_all_stop_the_rest_is_nan_and_the_model_is_not_called_again():
    calls = []

    class Counted(Growth):
        def forward(self, x, times):
            calls.append(0)
            return super().forward(x, times)

    long = paste(Counted(), torch.tensor([[0.8]]), 50.0)
    assert len(calls) == 2  # the second blows up at 1.25
    assert long.positions.shape == (51, 1, 1)
    assert long.reached.tolist() == [2]


def test_the_bound_counts_as_a_blow_up():
    assert paste(Growth(), torch.tensor([[0.4]]), 2.0).reached.tolist() == [3]
    assert paste(Growth(), torch.tensor([[0.4]]), 2.0, bound=1.0).reached.tolist() == [2]


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"x0": torch.zeros(2)}, "(2,)"),
        ({"x0": [[0.0]]}, "list"),
        ({"x0": torch.tensor([[math.nan]])}, "NaN"),
        ({"horizon": 0.0}, "0.0"),
        ({"horizon": math.inf}, "inf"),
        ({"horizon": 1e-7}, "1e-07"),
        ({"horizon": 1.0, "bound": -1.0}, "-1.0"),
        ({"times": [0.5, 1.0]}, "0.5 to 1"),
        ({"times": [0.0, -1.0]}, "0 to -1"),
        ({"axes": 0}, "from 1 to 8"),
        ({"axes": 3}, "*sites"),
        ({"model": lambda x, times: x}, "(1, 1)"),
        ({"model": lambda x, times: None}, "NoneType"),
        ({"model": lambda x, times: torch.zeros(2, 1, 3)}, "(2, 1, 3)"),
    ],
)
def test_what_cannot_be_pasted_is_refused(changes, got):
    arguments = {"model": Decay(), "x0": torch.ones(1, 1), "horizon": 2.0, **changes}
    with refused(got):
        paste(**arguments)


class Bump(nn.Module):
    """Leaves the bound in the middle of a call and comes back."""

    def forward(self, x, times):
        return torch.stack([9 + x if t == 0.5 else x for t in times])


def test_a_trajectory_that_left_the_bound_does_not_come_back():
    found = paste(Bump(), torch.ones(1, 1), 2.0, times=[0.0, 0.5, 1.0], bound=5.0)
    assert found.reached.tolist() == [1]
    assert bool(found.positions[1:].isnan().all())
