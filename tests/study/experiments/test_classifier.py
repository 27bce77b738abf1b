"""The classifier: equal sizes, runs that train as alone, one identity per run, a full grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from problems import refused
from torch import nn

from shooting.study.data.digits import CLASSES, digits
from shooting.study.experiments import EXPERIMENTS, classifier
from shooting.study.experiments.classifier import (
    CHOSEN,
    LATENT,
    NAMES,
    PARTICLES,
    RATES,
    TRIALS,
    ClassifierConfig,
    ClassifierTask,
    Layer,
    count,
    grid,
    make_model,
    measure,
    setting,
    steps,
    surprise,
    train,
)

pytestmark = pytest.mark.usefixtures("float64")


def test_all_models_with_a_block_have_about_equal_numbers():
    counts = {m: count(setting(m)) for m in NAMES}
    assert counts.pop("none") == 65 * LATENT + 21 * CLASSES
    assert max(counts.values()) / min(counts.values()) < 1.1, counts


def test_a_layer_is_a_linear_layer_for_each_run():
    layer, x = Layer((5, 3), (0, 1), "front"), torch.randn(2, 7, 5)
    for run in range(2):
        one = nn.functional.linear(x[run], layer.weight[run], layer.bias[run])
        torch.testing.assert_close(layer(x)[run], one)
    assert not torch.equal(layer.weight[0], layer.weight[1])  # control
    assert layer.weight.abs().max() <= 5**-0.5


def test_surprise_is_the_log_of_the_own_label_s_probability():
    logits, labels = torch.randn(2, 4, CLASSES), torch.randint(CLASSES, (2, 4))
    own = logits.softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(surprise(logits, labels), -own.log())


def test_an_epoch_has_every_image_once_with_its_label():
    task = ClassifierTask(setting("none", seeds=(0, 1)))
    batches = list(task.batches(0))
    assert len(batches) == steps(task.config) == 10
    pixels, labels = (torch.cat(parts, 1) for parts in zip(*batches, strict=True))
    known = {tuple(x): y for x, y in zip(*(part.tolist() for part in digits()), strict=True)}
    for run in range(2):
        seen = [tuple(x) for x in pixels[run].tolist()]
        assert len(set(seen)) == 1257
        assert [known[x] for x in seen] == labels[run].tolist()
    assert not torch.equal(labels, torch.cat([y for _, y in task.batches(1)], 1))
    assert steps(replace(task.config, validation=True)) == 7


@pytest.mark.parametrize("model", NAMES)
def test_every_model_learns_and_leaves_finite_numbers(model):
    outcome = train(setting(model, seeds=(0, 1), epochs=4, learning_rate=0.01))
    history = outcome.fit.history.mean(1)
    assert history[-1] < 0.7 * history[0]
    assert set(outcome.metrics) == {"accuracy", "cross_entropy", "train_loss"}
    assert min(outcome.metrics["accuracy"]) > 0.5  # by chance 0.1
    assert outcome.arrays["predicted"].shape == outcome.arrays["surprise"].shape == (2, 540)


@pytest.mark.parametrize("model", NAMES)
def test_a_run_in_an_ensemble_trains_as_alone(model):
    pair = train(setting(model, seeds=(4, 7), epochs=2))
    alone = train(setting(model, seeds=(7,), epochs=2))
    # matrix products of another shape round differently, 1e-16 a step and twenty steps
    torch.testing.assert_close(pair.fit.history[:, 1:], alone.fit.history, rtol=1e-9, atol=0)
    assert not torch.allclose(pair.fit.history[:, :1], alone.fit.history)  # control: seed 4


@pytest.mark.parametrize("model", NAMES)
def test_gradients_are_those_of_differences(model):
    config = setting(model, seeds=(0, 1))
    task, net = ClassifierTask(config), make_model(config)
    batch = next(iter(task.batches(0)))
    task.loss(net, batch).sum().backward()
    step = 1e-6
    for name, w in net.named_parameters():
        assert w.grad is not None, name
        way = torch.randn_like(w)
        with torch.no_grad():
            w += step * way
            above = task.loss(net, batch).sum()
            w -= 2 * step * way
            below = task.loss(net, batch).sum()
            w += step * way
        slope = (w.grad * way).sum()
        # central differences: step^2 of truncation, and 1e-16 / step of rounding, of losses near 5
        torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-7)


def test_the_penalty_counts_for_particles_alone():
    batch = next(iter(ClassifierTask(setting(PARTICLES, seeds=(0,))).batches(0)))
    for model in NAMES:
        config = setting(model, seeds=(0,))
        net = make_model(config)
        plain = surprise(net(batch[0]), batch[1]).mean(1)
        added = ClassifierTask(config).loss(net, batch) - plain
        assert bool(added > 0) == (model == PARTICLES)
        if model == PARTICLES:
            torch.testing.assert_close(added, config.penalty * net.penalty())


def test_trials_hold_out_validation_images_and_measure_on_them():
    config = setting("none", seeds=(0,), validation=True)
    task = ClassifierTask(config)
    values, drawn = measure(task, make_model(config))
    right = (drawn["predicted"] == task.held[1]).double().mean(1)
    assert values["accuracy"].tolist() == right.tolist()
    assert drawn["predicted"].shape == (1, 378)


def test_settings_that_play_no_part_do_not_make_another_run():
    for model in ("node", "mlp", "none"):
        made = [ClassifierConfig(model, particles=k, penalty=0.1 * k) for k in (3, 9)]
        assert made[0] == made[1]
    assert ClassifierConfig("none", size=3) == ClassifierConfig("none", size=9)
    assert ClassifierConfig(particles=3) != ClassifierConfig(particles=9)  # control


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"model": "ridge"}, "'ridge'"),
        ({"epochs": 0}, "0"),
        ({"batch": 0}, "0"),
        ({"seeds": ()}, "()"),
        ({"penalty": -1.0}, "-1"),
        ({"validation": 1}, "1"),
    ],
)
def test_wrong_settings_are_refused(changes, got):
    with refused(got):
        ClassifierConfig(**changes)


def test_grid_has_equal_trials_and_every_model():
    full = grid("paper")
    assert EXPERIMENTS["classifier"].config is ClassifierConfig
    assert len(full) == len(set(full)) == len(NAMES) * (len(RATES) + 1) + 1
    assert full[-1] == replace(setting(PARTICLES), penalty=0.0)
    tried = Counter(c.model for c in full if c.seeds == TRIALS)
    assert tried == dict.fromkeys(NAMES, len(RATES))
    assert all(c.validation == (c.seeds == TRIALS) for c in full)
    assert not set(TRIALS) & set(setting(PARTICLES).seeds)
    assert set(CHOSEN) == set(NAMES)
    assert len(grid("quick")) == len(NAMES)
    assert classifier.CLASSIFIER.train is train
