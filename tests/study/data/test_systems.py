"""The systems: exact fields, closed orbits, snippets on solutions, refused trajectories."""

from __future__ import annotations

import math

import pytest
import torch
from problems import refused
from scipy.integrate import solve_ivp

from shooting.study.data import spiral
from shooting.study.data.systems import (
    SAMPLES,
    SYSTEMS,
    cut,
    orbit,
    snippets,
    solve,
    system,
    velocity,
)

pytestmark = pytest.mark.usefixtures("float64")
EVERY = pytest.mark.parametrize("name", SYSTEMS)


@EVERY
def test_orbit_agrees_with_another_integrator(name):
    one = system(name)
    times = [k * one.spacing for k in range(SAMPLES)]
    theirs = solve_ivp(
        lambda t, y: one.velocity(torch.as_tensor(y)).numpy(),
        (0, times[-1]), one.start, t_eval=times, rtol=1e-11, atol=1e-11, method="LSODA",
    ).y.T  # fmt: skip
    ours = solve(name, torch.tensor(one.start), SAMPLES).numpy()
    # two integrators of tolerance 1e-10; Lorenz lets errors grow by some e^3 in its horizon
    assert abs(ours - theirs).max() < 1e-5
    scaled = orbit(name)
    assert scaled.shape == (SAMPLES, one.dim)
    torch.testing.assert_close(scaled.std(0), torch.ones(one.dim))


@pytest.mark.parametrize("name", ["lotka_volterra", "van_der_pol", "duffing"])
def test_orbits_with_a_period_close_after_five(name):
    path = orbit(name)
    # the horizon is five periods to three digits, so that the gap is a part of one sample's step
    assert (path[-1] - path[0]).norm() < 0.05
    assert (path[20] - path[0]).norm() > 0.5  # control: half a period


def test_spiral_is_the_papers():
    path = solve("spiral", torch.tensor(spiral.START), 200, spacing=spiral.SPACING)
    torch.testing.assert_close(path, spiral.trajectory(), rtol=0, atol=1e-7)  # RK4 with 40 substeps


def test_phase_coordinates_of_the_forced_oscillator_stay_on_the_circle():
    path = solve("duffing", torch.tensor(system("duffing").start), SAMPLES)
    # the tolerance of the integrator, over some thousand steps
    torch.testing.assert_close(path[:, 2:].norm(dim=-1), torch.ones(SAMPLES), atol=1e-7, rtol=0)
    assert path[50, 2] == pytest.approx(math.cos(50 * system("duffing").spacing * 1.4), abs=1e-7)


@EVERY
def test_snippets_follow_the_scaled_field(name):
    found = snippets(name, (3,), 6, "test", samples=3)
    again = snippets(name, (2, 3), 6, "test", samples=3)
    torch.testing.assert_close(again[1:], found, rtol=0, atol=1e-8)  # one solve for all runs
    middle = velocity(name, found[:, 1])
    slope = (found[:, 2] - found[:, 0]) / 2
    # the central difference is off by x'''/6 per cubed sample
    assert (slope - middle).abs().max() < 0.1 * middle.abs().max()
    assert (slope + middle).abs().max() > middle.abs().max()  # control


def test_noise_is_added_to_every_sample_with_its_deviation():
    plain, noisy = (snippets("pendulum", range(4), 50, "t", noise=s) for s in (0.0, 0.05))
    # 4 x 50 x 5 x 2 draws: their deviation is known to 1.6 %, at three sigma to 5 %
    assert (noisy - plain).std() == pytest.approx(0.05, rel=0.05)


def test_cut_gives_every_snippet():
    path = torch.arange(12.0).view(6, 2)
    found = cut(path, 4)
    assert found.shape == (4, 3, 2)
    assert torch.equal(found[:, 1], path[1:5])


@pytest.mark.parametrize(
    ("path", "samples", "got"),
    [
        (torch.zeros(4, 2), 5, "(4, 2)"),
        (torch.zeros(8), 5, "(8,)"),
        (torch.tensor([[0.0], [math.nan], [1.0]]), 2, "1 NaN"),
        (torch.zeros(4, 2), 1, "1"),
    ],
)
def test_gaps_and_short_trajectories_are_refused(path, samples, got):
    with refused(got):
        cut(path, samples)


def test_unknown_system_is_refused():
    with refused("'lorentz'"):
        system("lorentz")
