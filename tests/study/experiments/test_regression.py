"""The 1-D regression: data, loss, settings and what one short training leaves behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import gap, refused

from shooting.study.data.functions import FUNCTIONS
from shooting.study.experiments import EXPERIMENTS, check_profile
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import (
    DEPTHS,
    MORE_SEEDS,
    REGRESSION,
    TIMES,
    RegressionConfig,
    RegressionTask,
    grid,
    make_model,
    thin,
    train,
    variation,
)

pytestmark = pytest.mark.usefixtures("float64")
SMALL = RegressionConfig(inflation=4, particles=3, seeds=(0, 1, 2), epochs=3, frozen_epochs=1)
EVERY = pytest.mark.parametrize("model", sorted(MODELS))


# --- the task ------------------------------------------------------------------------------------


def test_an_epoch_shows_every_point_once():
    task = RegressionTask(SMALL)
    batches = list(task.batches(0))
    assert [tuple(b.shape) for b in batches] == [(3, 50, 1)] * 10
    shown = torch.cat(batches, dim=1)
    assert torch.equal(shown.sort(1).values, task.train.sort(1).values)
    assert not torch.equal(shown, torch.cat(list(task.batches(1)), dim=1))


def test_incomplete_last_batch_is_dropped():
    task = RegressionTask(replace(SMALL, batch=150))
    assert [tuple(b.shape) for b in task.batches(0)] == [(3, 150, 1)] * 3


@EVERY
def test_loss_is_100_mse_plus_r(model):
    config = replace(SMALL, model=model)
    task, net = RegressionTask(config), make_model(config)
    x = task.train[:, :20]
    miss = net(x, TIMES)[:, -1] - FUNCTIONS[config.function](x)
    want = 100 * (miss**2).mean((1, 2)) + net.penalty()
    assert gap(task.loss(net, x), want) < 1e-14
    lifted = RegressionTask(replace(config, lift_penalty=0.3))
    assert gap(lifted.loss(net, x), want + 0.15 * net.lift_square()) < 1e-14
    assert gap(task.monitor(net), task.loss(net, task.watch)) < 1e-14


def test_watched_points_are_never_trained_on():
    task = RegressionTask(SMALL)
    assert task.watch.shape == (3, 1000, 1)
    for r in range(3):
        assert not np.isin(task.train[r].numpy(), task.watch[r].numpy()).any()


def test_momentum_conventions():
    mean, total = (make_model(replace(SMALL, momentum=m)) for m in ("mean", "sum"))
    assert (mean.momentum_scale, total.momentum_scale) == (1 / 3, 1.0)


def test_particles_may_start_on_training_data():
    config = replace(SMALL, positions="data")
    found = make_model(config).x
    assert torch.equal(found, RegressionTask(config).train[:, :3])


# --- one short training --------------------------------------------------------------------------


@EVERY
def test_short_training_leaves_complete_results(model):
    config = replace(SMALL, model=model)
    outcome = train(config)
    count = {"static_direct": 37, "dynamic_direct": 153}.get(model, 2 * 3 * 5 + 8)
    assert outcome.facts == {"parameters": count}
    assert outcome.fit.history.shape == (3, 3)
    assert outcome.fit.early.shape == (30, 3)
    assert bool(outcome.fit.alive.all())
    assert bool((outcome.fit.history[-1] < outcome.fit.history[0]).all())
    m = {k: np.array(v) for k, v in outcome.metrics.items()}
    assert all(v.shape == (3,) and np.isfinite(v).all() for v in m.values())
    np.testing.assert_allclose(m["loss"], 100 * m["mse"] + m["penalty"], rtol=1e-14)
    shapes = {k: v.shape for k, v in outcome.arrays.items()}
    assert shapes["fit"] == (3, 101)
    assert shapes["depth"] == (1, len(DEPTHS), 31)
    assert shapes["theta/theta3"] == (1, len(DEPTHS), 16)
    assert ("particles" in shapes) == model.endswith("particles")
    still = model.startswith("static")
    assert all((m[f"variation/{k}"] < 1e-12).all() == still for k in ("theta1", "b2", "theta3"))


def test_run_of_an_experiment_equals_its_single_run():
    """Data, batches and initial values of a run depend on its seed alone."""
    together, alone = train(SMALL), train(replace(SMALL, seeds=(1,)))
    for name, values in alone.metrics.items():
        assert together.metrics[name][1] == pytest.approx(values[0], rel=1e-10), name
    assert gap(together.fit.history[:, 1:2], alone.fit.history) <= 1e-10


def test_frozen_positions_are_trained_after_release():
    start = make_model(SMALL).x[..., 0].detach().numpy().astype(np.float32)
    held = train(replace(SMALL, frozen_epochs=SMALL.epochs)).arrays["particles"]
    assert np.array_equal(held, start)
    assert not np.array_equal(train(SMALL).arrays["particles"], start)


def test_training_does_not_depend_on_global_state():
    torch.manual_seed(1)
    first = train(SMALL)
    torch.manual_seed(2)
    assert train(SMALL).metrics == first.metrics


# --- measures ------------------------------------------------------------------------------------


def test_variation_by_hand():
    theta = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)  # mean 2, distance 1, mean square 5
    assert float(variation(theta)) == pytest.approx(5**-0.5, rel=1e-15)
    assert float(variation(torch.full((1, 4, 2, 2), 3.0))) == 0.0


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (128, 128), (129, 65), (1000, 125)])
def test_thinning_keeps_at_most_128(count, kept):
    found = thin(torch.arange(count).expand(2, count))
    assert found.shape == (2, kept)
    assert int(found[0, 0]) == 0


# --- the grid ------------------------------------------------------------------------------------


def test_quick_grid_is_the_slice_of_the_chapter():
    configs = grid("quick")
    assert len(configs) == 2 * 4
    assert {(c.function, c.model) for c in configs} == {(f, m) for f in FUNCTIONS for m in MODELS}
    assert {(c.inflation, c.particles) for c in configs} == {(16, 15), (16, 0)}
    assert {c.seeds for c in configs} == {(0, 1, 2, 3, 4)}


def test_paper_grid_covers_table_1():
    configs = grid("paper")
    assert len(set(configs)) == len(configs)  # nothing is computed twice
    first = [c for c in configs if c.seeds == tuple(range(10))]
    # 2 functions, 6 inflation factors; 2 particle models with 4 values of K, 2 direct models
    assert len(first) == 2 * 6 * (2 * 4 + 2)
    assert {c.inflation for c in first} == {4, 8, 16, 32, 64, 128}
    assert {c.particles for c in first} == {0, 2, 5, 15, 25}
    more = [c for c in configs if c.seeds == MORE_SEEDS]
    assert len(first) + len(more) == len(configs)
    assert {replace(c, seeds=first[0].seeds) for c in more} <= set(first)


def test_defaults_are_appendix_e():
    c = RegressionConfig()
    assert (c.epochs, c.batch, c.learning_rate, c.theta3_weight) == (500, 50, 0.01, 10.0)
    assert (c.frozen_epochs, c.train_points, c.method, c.lift) == (50, 500, "rk4", "learned")
    assert (len(c.seeds), c.inflation, c.particles, c.momentum) == (10, 16, 15, "mean")


def test_direct_models_have_no_particles():
    """K would otherwise make two names for one training."""
    assert RegressionConfig(model="static_direct", particles=15).particles == 0
    assert RegressionConfig(model="static_particles", particles=15).particles == 15


def test_registry():
    assert EXPERIMENTS["regression"] is REGRESSION


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["fast", "", "QUICK", None])
def test_unknown_profile_is_refused(profile):
    for call in (check_profile, grid):
        with refused(repr(profile), "'quick'"):
            call(profile)


@pytest.mark.parametrize("name", ["function", "model", "momentum", "positions"])
def test_unknown_setting_is_refused(name):
    with refused("'other'"):
        replace(SMALL, **{name: "other"})


@pytest.mark.parametrize("batch", [0, -1, 501])
def test_batch_that_does_not_fit_is_refused(batch):
    with refused(str(batch), "batch"):
        replace(SMALL, batch=batch)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"inflation": 0}, "α"),
        ({"particles": 0}, "K"),
        ({"lift": "other"}, "lift"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_bad_model_setting_is_refused_when_the_model_is_made(change, text):
    with refused(text):
        make_model(replace(SMALL, **change))
