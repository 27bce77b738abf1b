"""The shape of latent paths, on paths whose shape is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shooting.study.data.rotating_mnist import split
from shooting.study.experiments import latent
from shooting.study.experiments.rotating_mnist import ANGLES, quick, train

TIME = np.linspace(-1, 1, 16)


def placed(*coordinates, dim=20, paths=3):
    """Paths with these coordinates along random orthonormal axes, away from the origin."""
    rng = np.random.default_rng(0)
    axes = np.stack([np.linalg.qr(rng.normal(size=(dim, len(coordinates))))[0]] * paths)
    return np.einsum("ct,ndc->ntd", np.stack(coordinates), axes) + rng.normal(size=(paths, 1, dim))


def test_components_keep_distances_and_open_upwards():
    paths = placed(-TIME, 0.3 * TIME**2)
    flat = latent.components(paths)[..., :2]
    assert (flat[:, 0, 0] < 0).all()
    assert (flat[:, 0, 1] > 0).all()
    between = [np.linalg.norm(p[:, :, None] - p[:, None], axis=-1) for p in (flat, paths)]
    np.testing.assert_allclose(*between, atol=1e-12)  # rounding: two components are the whole path


def test_shares_are_those_of_a_known_path():
    line, bend = TIME / np.linalg.norm(TIME), TIME**2 - (TIME**2).mean()
    paths = placed(line, 1e-3 * bend / np.linalg.norm(bend))
    found = latent.shares(paths)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)  # rounding of a sum
    np.testing.assert_allclose(found[:, 1], 1e-6 / (1 + 1e-6), rtol=1e-8)  # 1e-16 over 1e-6, twice
    assert found[:, 2].max() < 1e-28  # control: there is no third; rounding, squared


def test_a_parabola_is_one_whatever_its_size_and_noise_is_none():
    for size in (1.0, 1e-6):
        np.testing.assert_allclose(
            latent.parabola_share(placed(TIME, size * TIME**2)), 1, atol=1e-9
        )
    rng = np.random.default_rng(0)
    noise = TIME[None, :, None] * [1.0, 0.0] + rng.normal(size=(4000, 16, 1)) * [0.0, 1e-6]
    # one direction of 14: share 1/14, deviation 0.09 / sqrt(4000) = 0.0015, times five
    assert latent.parabola_share(noise).mean() == pytest.approx(1 / 14, abs=0.0075)
    wave = np.sin(2 * np.pi * TIME)  # control: odd in time, so nothing of it is a parabola
    assert latent.parabola_share(placed(10 * TIME, wave)).max() < 0.02


def test_lines_walked_in_float32_have_a_second_component_of_rounding_and_in_float64_none():
    paths = placed(5 * TIME, 1e-2 * TIME**2)
    single, double = (latent.stepped_lines(paths, t) for t in (np.float32, np.float64))
    assert single.dtype == np.float32
    # half an ulp of float32, 3e-8, squared, a few of them; and of float64, 1e-16
    assert 1e-17 < latent.shares(single)[:, 1].min() <= latent.shares(single)[:, 1].max() < 1e-12
    assert latent.shares(double)[:, 1].max() < 1e-29
    assert latent.shares(paths)[:, 1].min() > 1e-7  # control: the paths themselves are bent
    line = paths.mean(1, keepdims=True) - double.mean(1, keepdims=True)
    assert np.abs(line).max() < 1e-12  # rounding: the line goes through the middle of the path


def test_the_shape_of_a_run_is_the_range_over_its_paths():
    bent, straighter = placed(TIME, 0.1 * TIME**2), placed(TIME, 0.01 * TIME**2)
    shape = latent.shape_of(np.concatenate([bent, straighter]))
    second = latent.shares(bent)[0, 1], latent.shares(straighter)[0, 1]
    # rounding: paths of one shape differ in their place only
    np.testing.assert_allclose(shape.second, sorted(second), rtol=1e-6)
    assert min(shape.parabola) > 1 - 1e-9  # rounding over a second component of 1e-2


@pytest.fixture(scope="module")
def trained():
    config = replace(quick(), epochs=1, floor_steps=1)
    last = latent.LastState()
    return config, train(config, last), last.state


def test_trained_parameters_give_the_recorded_paths_and_nearly_these_in_float64(trained):
    config, outcome, state = trained
    first = split(config.source)[1][:30, 0]
    single, double = (
        latent.latents_in(t, config, state, first) for t in (torch.float32, torch.float64)
    )
    assert double.dtype == np.float64
    # float32 rounds at 6e-8 of entries near 1; a batch of 30 instead of 100 sums in another order
    np.testing.assert_allclose(single, outcome.arrays["paths"][0], atol=1e-5)
    np.testing.assert_allclose(double, single, atol=1e-5)
    assert np.abs(double - single).max() > 0  # control: they were computed in float64


def test_control_other_parameters_give_other_paths(trained):
    config, outcome, state = trained
    first = split(config.source)[1][:30, 0]
    name = next(k for k in state if k.startswith("model.flow"))
    changed = {**state, name: state[name] * 0.9}
    other = latent.latents_in(torch.float32, config, changed, first)
    assert np.abs(other - outcome.arrays["paths"][0]).max() > 1e-2


def test_the_checkpoint_in_memory_resumes_nothing():
    last = latent.LastState()
    value = torch.ones(2)
    last.save({"a": value})
    value.zero_()  # training goes on in place
    assert last.state["a"].tolist() == [1, 1]
    assert last.load() is None
    assert not last.due()


def test_a_circle_is_no_parabola():
    """What tells the two measures apart: a circle is circular, and its picture is no open U."""
    circle = placed(np.cos(ANGLES), np.sin(ANGLES))
    assert latent.shares(circle)[:, 1].min() > 0.4
    assert latent.parabola_share(circle).max() < 0.9
