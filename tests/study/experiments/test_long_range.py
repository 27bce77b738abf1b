"""The long range: equal sizes, measures with known answers, one identity per run, a full grid."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from problems import refused

from shooting.study.data.systems import SAMPLES, SYSTEMS, orbit, system
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments import long_range as long
from shooting.study.experiments.long_range import (
    CHOSEN,
    FENCE,
    NAMES,
    RIDGE,
    LongRangeConfig,
    LongRangeTask,
    distance,
    followed,
    grid,
    make_model,
    measure,
    orbit_distance,
    setting,
    train,
    turns,
)
from shooting.study.experiments.polynomial import ridge

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("place", SYSTEMS)
def test_all_trained_models_have_about_equal_numbers(place):
    counts = {
        m: make_model(replace(setting(place, m), seeds=(0,))).count for m in NAMES if m != RIDGE
    }
    # sizes are whole numbers: the nearest counts lie up to 8 % from 1,100
    assert all(abs(n / 1100 - 1) < 0.08 for n in counts.values()), counts


def test_shifted_orbit_has_the_known_measures():
    """The orbit itself, but a quarter of a period late: right set, wrong phase."""
    truth = orbit("van_der_pol")
    late = truth.roll(-10, 0).unsqueeze(0)
    assert followed("van_der_pol", late) < system("van_der_pol").spacing
    assert followed("van_der_pol", truth.unsqueeze(0)) == pytest.approx(33.3)
    # the same curve: its ends meet to a part of a sample's step
    assert orbit_distance(late, truth) < 0.01
    assert distance(late, truth).mean() > 0.5
    assert orbit_distance(1.5 * truth.unsqueeze(0), truth) > 0.1  # control: another curve


def test_turns_are_counted_on_a_circle_and_stop_with_the_path():
    angle = torch.linspace(0, 6 * math.pi, SAMPLES)
    circle = torch.stack([angle.cos(), -angle.sin()], dim=-1)
    assert turns(circle) == pytest.approx(-3)
    circle[101:] = math.nan
    assert turns(circle) == pytest.approx(-1.5)


def test_path_that_blows_up_has_finite_measures():
    truth = orbit("spiral")
    path = truth.unsqueeze(0).clone()
    path[:, 50:] = math.nan
    assert followed("spiral", path) == pytest.approx(49 * system("spiral").spacing)
    assert distance(path, truth)[0, 60] == FENCE
    assert 0 < orbit_distance(path, truth) <= FENCE


def test_ridge_follows_the_whole_orbit_of_a_polynomial_field():
    config = setting("lotka_volterra", RIDGE, seeds=(0, 1), penalty=1e-8)
    task = LongRangeTask(config)
    values, drawn = measure(task, ridge(task.train, config.times, penalty=1e-8))
    assert values["followed"].tolist() == pytest.approx([33.5, 33.5])
    assert values["long"].max() < 0.05  # the quadrature's error, some 1e-4 per snippet
    assert drawn["path"].shape == (1, SAMPLES, 2)
    blown = measure(task, ridge(100 * task.train, config.times, penalty=1e-8))[0]  # control
    assert all(bool(v.isfinite().all()) for v in blown.values())
    assert blown["followed"].max() < 33


@pytest.mark.parametrize("model", NAMES)
def test_every_model_trains_and_leaves_finite_numbers(model):
    config = setting("duffing", model, seeds=(0, 1), epochs=30)
    outcome = train(config)
    history = outcome.fit.history.mean(1)
    assert model == RIDGE or history[-1] < 0.7 * history[0]
    assert set(outcome.metrics) == {
        "snippet", "validation", "followed", "long", "orbit", "reached", "phase"
    }  # fmt: skip
    assert all(len(v) == 2 for v in outcome.metrics.values())
    assert outcome.facts["parameters"] > 100


def test_a_run_in_an_ensemble_trains_as_alone():
    pair = train(setting("pendulum", "dynamic_particles", seeds=(4, 7), epochs=3))
    alone = train(setting("pendulum", "dynamic_particles", seeds=(7,), epochs=3))
    # matrix products of another shape round differently; the data agree to the integrator's 1e-10
    torch.testing.assert_close(pair.fit.history[:, 1:], alone.fit.history, rtol=1e-7, atol=0)


def test_settings_that_play_no_part_do_not_make_another_run():
    assert LongRangeConfig(model="node", particles=3) == LongRangeConfig(model="node", particles=9)
    assert LongRangeConfig(model=RIDGE, epochs=3) == LongRangeConfig(model=RIDGE, epochs=9)


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"system": "sun"}, "'sun'"),
        ({"model": "mlp"}, "'mlp'"),
        ({"lift": "high"}, "'high'"),
        ({"samples": 4}, "4"),
        ({"samples": 1}, "1"),
        ({"count": 0}, "0"),
    ],
)
def test_wrong_settings_are_refused(changes, got):
    with refused(got):
        LongRangeConfig(**changes)


def test_grid_has_equal_trials_and_every_pair():
    full = grid("paper")
    assert EXPERIMENTS["long_range"].config is LongRangeConfig
    assert len(full) == len(set(full))
    tried = Counter(c.model for c in full if c.seeds == long.TRIALS)
    assert tried == dict.fromkeys(NAMES, 5)
    assert {(c.system, c.model) for c in full} == {(s, m) for s in SYSTEMS for m in NAMES}
    assert set(CHOSEN) == set(NAMES)
    assert len(grid("quick")) == 3
