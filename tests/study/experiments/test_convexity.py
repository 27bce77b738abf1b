"""Convexity of a learned function, and the best convex function: against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from problems import refused
from scipy.integrate import quad
from scipy.optimize import brentq

from shooting import DynamicParticles, UpDown
from shooting.parametrizations import ParticleInit
from shooting.randomness import normal
from shooting.study.data.functions import BOUND, FUNCTIONS, MEAN, TARGETS, grid_points
from shooting.study.experiments.convexity import (
    ROUNDING,
    best_concave,
    best_convex,
    is_concave,
    is_convex,
    named,
    second_differences,
    tolerance,
)

X = np.linspace(-BOUND, BOUND, 101)
# A grid of 401 points misses the integral by about h^2 / 12 times a second derivative of the
# squared miss, near 10: 5e-5 relative to which 1e-6 absolute is wide, as all errors are below 0.2.
CLOSE = 1e-6


@pytest.mark.parametrize("curve", [X**2, np.abs(X - 0.3), 3 - 2 * X, np.exp(X), np.maximum(X, 0)])
def test_convex_functions_are_convex(curve):
    assert is_convex(curve)
    assert is_convex(curve.astype(np.float32)), "rounding must not hide it"


@pytest.mark.parametrize("curve", [-(X**2), X**3, np.sin(3 * X), named("quadratic-like")(X)])
def test_control_others_are_not(curve):
    assert not is_convex(curve)


def test_a_dent_a_hundredth_of_the_hump_is_noticed():
    """The hump of the quadratic-like function bends by -4; the tolerance allows -0.05."""
    hump = second_differences(named("quadratic-like")(X)).min()
    assert -hump > 50 * tolerance(named("quadratic-like")(X))
    line = 2 * X
    bump = float(tolerance(line)) * (np.arange(101) == 50)  # bends by twice its height
    assert not is_convex(line + bump)
    assert is_convex(line + bump / 4)


def test_noise_is_not_convex():
    noise = np.random.default_rng(0).normal(size=(200, 101))
    assert not is_convex(noise).any()
    assert not is_convex(X**2 + 1e-3 * noise).any()
    assert is_convex(X**2 + 1e-7 * noise).all()


def test_a_concave_function_is_the_mirror_image():
    curves = np.stack([X**2, -(X**2), 2 * X + 1, X**3])
    assert is_convex(curves).tolist() == [True, False, True, False]
    assert is_concave(curves).tolist() == [False, True, True, False]


def test_failed_runs_are_not_convex():
    assert not is_convex(np.full((2, 101), np.nan)).any()


def test_short_curves_are_refused():
    with refused("(2,)", "three points"):
        is_convex(np.zeros(2))


def test_rounding_of_networks_stays_below_the_tolerance():
    """The same random networks in both precisions; in half precision they would not pass."""
    build = {"init": ParticleInit(p=normal(3.0)), "seeds": range(20)}
    single = DynamicParticles(UpDown(1, 16), 15, **build)
    double = DynamicParticles(UpDown(1, 16), 15, **build).double()
    double.load_state_dict({k: v.double() for k, v in single.state_dict().items()})
    x = grid_points(101)
    with torch.no_grad():
        rough = single(x, [0.0, 1.0])[:, -1, :, 0].numpy().astype(np.float64)
        exact = double(x.double(), [0.0, 1.0])[:, -1, :, 0].numpy()
    apart = np.abs(second_differences(rough) - second_differences(exact)).max(-1)
    assert (apart < tolerance(exact)).all()
    assert (apart > tolerance(exact) / 1000).all(), "else the tolerance says nothing"
    half = np.abs(second_differences(exact.astype(np.float16)) - second_differences(exact)).max(-1)
    assert (half > tolerance(exact)).all()
    assert 1e-6 < ROUNDING < 1e-4


# --- the best convex function --------------------------------------------------------------------


def flat_bottom() -> tuple[float, float]:
    """Half width and error of the best convex function of the quadratic-like one, by hand.

    It is even and convex beyond its minima, so the best convex function is a constant c on [-a, a]
    and the function itself beyond. Optimal is c = f(a) = mean of f on [0, a].
    """

    def f(x):
        return x**2 + 3 / (1 + x**2)

    def integral(a):
        return a**3 / 3 + 3 * np.arctan(a)

    a = brentq(lambda a: a * f(a) - integral(a), 0.5, 1.4, xtol=1e-14)
    return a, quad(lambda x: (f(x) - f(a)) ** 2, 0, a)[0] / BOUND


def test_quadratic_like_function_has_a_flat_bottom():
    a, error = flat_bottom()
    found = best_convex(named("quadratic-like"))
    assert found.mse == pytest.approx(error, abs=CLOSE)
    inside, outside = np.abs(found.x) < a - 0.02, np.abs(found.x) > a + 0.02
    f = named("quadratic-like")
    np.testing.assert_allclose(found.values[inside], f(np.array(a)), atol=1e-3)  # h^2 = 6e-5
    np.testing.assert_allclose(found.values[outside], f(found.x[outside]), atol=1e-3)
    wrong = best_convex(lambda x: x**2 + 2.9 / (1 + x**2))
    assert abs(wrong.mse - error) > 100 * CLOSE


def test_a_convex_target_is_its_own_best():
    assert best_convex(lambda x: np.abs(x) + x**2).mse < 1e-25  # rounding
    assert best_concave(lambda x: -np.exp(x)).mse < 1e-25


def test_a_concave_target_leaves_a_line():
    found = best_convex(lambda x: 4 - x**2)
    assert found.mse == pytest.approx(4 * BOUND**4 / 45, abs=1e-4)  # variance of x^2; grid error
    assert np.ptp(found.values) < 1e-9


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_convex_is_nearer(name):
    """The residual of the best is orthogonal to it, and has no positive part along any hinge."""
    found = best_convex(named(name))
    assert is_convex(found.values)
    weight = np.full(len(found.x), 1.0)
    weight[[0, -1]] = 0.5
    rest = weight * (named(name)(found.x) - found.values) / weight.sum()
    assert abs(rest.sum()) < 1e-9
    assert abs(rest @ found.values) < 1e-9
    hinges = np.maximum(found.x[:, None] - found.x, 0.0)
    assert (rest @ hinges).max() < 1e-9
    off = rest + 1e-6 * weight * found.x**2 / weight.sum()
    assert (off @ hinges).max() > 1e-8, "the control must break it"


def test_shifts_move_the_best_along():
    base = best_convex(named("quadratic-like"))
    for name, shift in (("quadratic-like, centred", MEAN), ("quadratic-like, lowered", 2 * MEAN)):
        found = best_convex(named(name))
        assert found.mse == pytest.approx(base.mse, rel=1e-9)
        np.testing.assert_allclose(found.values + shift, base.values, atol=1e-8)


def test_centred_means_mean_zero():
    mean = quad(lambda x: float(named("quadratic-like, centred")(np.array(x))), -BOUND, BOUND)[0]
    assert abs(mean) < 1e-12


# --- predictions ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predicted(root):
    return yaml.safe_load((root / "book" / "convex_predictions.yaml").read_text(encoding="utf-8"))


def test_predicted_levels_are_those_of_the_best_convex_function(predicted):
    assert set(predicted["targets"]) == set(TARGETS) - set(FUNCTIONS)
    for name, entry in predicted["targets"].items():
        level = 100 * best_convex(named(name)).mse
        assert entry["level"] == pytest.approx(level, abs=6e-4), name  # written to three decimals
        assert not is_convex(named(name)(X)), "a convex target could not be stuck"


def test_predicted_levels_differ_from_those_of_simpler_functions(predicted):
    """Else they would say as much about the best line or constant."""
    for name in ("off-centre bump", "tilted double well"):
        y, level = named(name)(X), predicted["targets"][name]["level"]
        line = 100 * np.mean((y - np.polyval(np.polyfit(X, y, 1), X)) ** 2)
        assert line > (1 + predicted["rule"]["within"]) * level
