import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Memory

from shooting.study.data import bouncing_balls as data
from shooting.study.experiments import EXPERIMENTS, bouncing_balls
from shooting.study.experiments.autoencoder import PRECISIONS
from shooting.study.experiments.bouncing_balls import (
    BOUNCING_BALLS,
    COMPARED,
    PREDICTED,
    BallsConfig,
    BallsTask,
    Chosen,
    LatentFlow,
    estimate,
    grid,
    measure,
    misses,
    quick,
    so_far,
    train,
)
from shooting.study.experiments.settings import from_dict
from shooting.study.paths import records_folder
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.identity import record_id

TINY = BallsConfig(
    latent=3,
    inflation=2,
    particles=4,
    filters=2,
    sequences=20,
    validation=6,
    test=6,
    epochs=2,
    batch=10,
)


@pytest.fixture(scope="module", autouse=True)
def few(tmp_path_factory):
    """A cache of its own, filled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOOTING_STATE", str(tmp_path_factory.mktemp("balls")))
        yield


# --- the model -----------------------------------------------------------------------------


def test_paper_sizes_counted_by_hand():
    model = LatentFlow(BallsConfig())
    flow, lift = 100 * 2 * 50 * 21, 50 * 1000 + 1000
    assert model.flow.count == flow + lift
    direct = LatentFlow(BallsConfig(model="static_direct")).flow
    assert direct.count == 50 * 1000 + 50 + 1000 * 50 + 1000 + 1000**2 + lift
    assert model.autoencoder.encoder[0].weight.shape == (16, 3, 5, 5)
    with torch.no_grad():
        assert model(torch.rand(2, 3, 28, 28)).shape == (2, 20, 28, 28)


def test_prediction_sees_the_first_three_frames_only():
    task, model = BallsTask(TINY), LatentFlow(TINY).eval()
    other = task.test.clone()
    other[:, 3:] = 255 - other[:, 3:]
    assert not torch.equal(misses(model, other)[:, 3:], misses(model, task.test)[:, 3:])
    assert torch.equal(misses(model, other)[:, :3], misses(model, task.test)[:, :3])
    assert (PREDICTED.start, PREDICTED.stop) == (3, 13)


def test_measurement_refuses_training_mode():
    with pytest.raises(ValueError, match="evaluation mode"):
        measure(BallsTask(TINY), LatentFlow(TINY).train())


def test_errors_are_means_of_squares():
    task, model = BallsTask(TINY), LatentFlow(TINY).eval()
    with torch.no_grad():
        drawn = model(task.test[:, :3] / 255)
    by_hand = ((drawn - task.test / 255) ** 2).mean((2, 3))
    # 1e-6: float32, and batches of another size
    np.testing.assert_allclose(misses(model, task.test), by_hand, rtol=1e-4, atol=1e-6)


# --- batches and loss ----------------------------------------------------------------------


def test_batches_are_a_function_of_seed_and_epoch():
    def first(seed, epoch):
        config = replace(TINY, seeds=(seed,), frames=5)
        return next(BallsTask(config).batches(epoch))

    one, again = first(0, 3), first(0, 3)
    assert torch.equal(one.frames, again.frames)
    assert torch.equal(one.kept, again.kept)
    for other in (first(0, 4), first(1, 3)):
        assert not torch.equal(one.kept, other.kept)


def test_all_frames_are_kept_by_default_and_drawn_evenly_otherwise():
    task = BallsTask(TINY)
    assert torch.equal(next(task.batches(0)).kept, torch.arange(20).expand(10, -1))
    few = BallsTask(replace(TINY, frames=5))
    kept = torch.cat([b.kept for epoch in range(40) for b in few.batches(epoch)])
    assert bool((kept[:, 1:] > kept[:, :-1]).all())
    counts = np.bincount(kept.flatten().numpy(), minlength=20)
    # 800 draws of 5 of 20: 200 each, standard deviation 12
    assert np.all(np.abs(counts - 200) < 60)


def test_loss_is_the_error_of_kept_frames_and_the_weighted_penalty():
    config = replace(TINY, frames=4, penalty=0.01)
    task, chosen = BallsTask(config), Chosen(LatentFlow(config), 2)
    batch = next(task.batches(0))
    rows = torch.arange(10).unsqueeze(1)
    hidden = torch.ones(10, 20, dtype=torch.bool)
    hidden[rows, batch.kept] = False
    hidden[:, :3] = False  # the encoder sees them
    frames = torch.where(hidden[..., None, None], torch.rand_like(batch.frames), batch.frames)
    loss = task.loss(chosen, batch)
    assert torch.equal(task.loss(chosen, replace(batch, frames=frames)), loss)
    free = BallsTask(replace(config, penalty=0.0)).loss(chosen, batch)
    # 1e-4: a small difference of float32 numbers
    assert torch.allclose(loss - free, 0.01 * chosen.model.flow.penalty(), rtol=1e-4)
    assert (loss - free).item() > 0


def test_training_and_evaluation_modes_are_set_where_they_belong():
    task, chosen = BallsTask(TINY), Chosen(LatentFlow(TINY), 2).eval()
    norm = chosen.model.autoencoder.decoder[3]
    before = norm.running_mean.clone()
    task.monitor(chosen)
    assert torch.equal(norm.running_mean, before)  # validation leaves the statistics alone
    task.loss(chosen, next(task.batches(0)))
    assert not torch.equal(norm.running_mean, before)
    assert not train(TINY).fit.history.requires_grad


# --- the choice of the epoch ---------------------------------------------------------------


def test_best_epoch_is_remembered_with_its_statistics():
    chosen = Chosen(LatentFlow(TINY), 3)
    states = []
    for error in (0.3, 0.1, 0.2):
        with torch.no_grad():
            for number in chosen._numbers():
                number.add_(1)
        states.append({k: v.clone() for k, v in chosen.model.state_dict().items()})
        chosen.remember(torch.tensor(error))
    chosen.restore()
    now = chosen.model.state_dict()
    assert all(torch.equal(now[k], states[1][k]) for k in now)
    assert not torch.equal(now["flow.p"], states[2]["flow.p"])  # control: the last epoch
    assert "autoencoder.decoder.3.running_mean" in now


def test_an_error_that_is_no_number_is_never_the_best():
    chosen = Chosen(LatentFlow(TINY), 3)
    for error in (torch.nan, 0.3, 0.2):
        chosen.remember(torch.tensor(error))
    assert (float(chosen.errors.min()), int(chosen.errors.argmin())) == (pytest.approx(0.2), 2)


def test_outcome_belongs_to_the_best_epoch():
    # a rate far too high makes later epochs worse than some earlier one
    outcome = train(replace(TINY, epochs=5, learning_rate=0.3))
    validation = outcome.arrays["validation"][0]
    assert outcome.metrics["validation_mse"][0] == pytest.approx(validation.min())
    assert outcome.metrics["best_epoch"][0] == validation.argmin() + 1


@pytest.mark.parametrize("name", COMPARED)
def test_each_model_trains_and_is_measured(name):
    outcome = train(replace(TINY, model=name))
    assert all(len(v) == 1 and np.isfinite(v).all() for v in outcome.metrics.values())
    per_frame = outcome.arrays["misses"][0]
    assert per_frame[3:13].mean() == pytest.approx(outcome.metrics["mse"][0], rel=1e-5)
    assert per_frame[3] == pytest.approx(outcome.metrics["mse_first"][0], rel=1e-5)
    assert per_frame[12] == pytest.approx(outcome.metrics["mse_last"][0], rel=1e-5)
    assert outcome.arrays["predicted"].shape == (1, 4, 20, 28, 28)


def test_training_reduces_the_error():
    config = replace(TINY, learning_rate=0.01, penalty=0.0)
    short, long = (train(replace(config, epochs=n)).metrics["mse"][0] for n in (1, 12))
    # from grey (near 0.2) towards the mean image (0.076); spread over seeds a few per cent
    assert long < 0.75 * short


# --- precision -----------------------------------------------------------------------------


def test_records_keep_their_names_and_the_other_precision_has_one_of_its_own():
    for path in sorted((records_folder() / "bouncing_balls").glob("*.json")):
        config = from_dict(BallsConfig, json.loads(path.read_text(encoding="utf-8"))["config"])
        assert record_id("bouncing_balls", config) == path.stem
        other = "bfloat16" if config.precision == "float32" else "float32"
        assert record_id("bouncing_balls", replace(config, precision=other)) != path.stem


def test_only_the_precision_tells_the_full_run_from_the_protocol():
    assert BallsConfig.paper() == BallsConfig(precision="bfloat16")
    assert BallsConfig.paper(model="static_direct").model == "static_direct"


def test_precision_reaches_the_convolutions_and_nothing_else():
    config = replace(TINY, precision="bfloat16")
    task, chosen = BallsTask(config), Chosen(LatentFlow(config), 2)
    seen = []
    chosen.model.flow.register_forward_pre_hook(
        lambda module, given: seen.append((torch.is_autocast_enabled("cpu"), given[0].dtype))
    )
    layer = chosen.model.autoencoder.encoder[0]
    layer.register_forward_hook(lambda module, given, found: seen.append(found.dtype))
    loss = task.loss(chosen, next(task.batches(0)))
    loss.backward()
    assert seen == [torch.bfloat16, (False, torch.float32)]
    assert {loss.dtype, *(w.grad.dtype for w in chosen.parameters())} == {torch.float32}
    plain = BallsTask(TINY).loss(Chosen(LatentFlow(TINY), 2), next(task.batches(0)))
    assert loss != plain
    assert loss.item() == pytest.approx(plain.item(), rel=2**-7)  # bfloat16 rounds to 2^-8


# --- how long it takes ---------------------------------------------------------------------


@pytest.mark.parametrize(("batches", "timed"), [(2, 2), (7, 3)])
def test_estimate_counts_steps_and_validations(monkeypatch, batches, timed):
    config = replace(TINY, sequences=10 * batches, validation=50, epochs=7)
    clock = itertools.count()  # each look at it is a second later
    monkeypatch.setattr(bouncing_balls.time, "perf_counter", lambda: float(next(clock)))
    # one second for the steps that are timed, one for a validation of 25 sequences
    assert estimate(config) == pytest.approx(7 * (batches / timed + 50 / 25))


def test_estimate_is_the_experiments_and_leaves_no_trace():
    assert BOUNCING_BALLS.estimate is estimate
    before = torch.random.get_rng_state()
    assert estimate(TINY) > 0
    assert torch.equal(torch.random.get_rng_state(), before)
    whole = train(TINY)
    estimate(TINY)
    assert train(TINY).metrics == whole.metrics


# --- resuming ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
def test_run_resumed_after_a_kill_is_bit_identical(precision):
    config = replace(TINY, epochs=4, frames=6, learning_rate=0.02, precision=precision)
    kept = Memory(dies_after=2)
    with pytest.raises(Interrupted):
        train(config, kept)
    assert int(kept.state["model.epoch"]) == 2
    kept.left = 10
    resumed, whole = train(config, kept), train(config)
    assert torch.equal(resumed.fit.history, whole.fit.history)
    assert resumed.metrics == whole.metrics
    assert all(np.array_equal(resumed.arrays[k], whole.arrays[k]) for k in whole.arrays)


def test_checkpoint_of_other_settings_is_refused_by_name(tmp_path, caplog):
    config = replace(TINY, precision="bfloat16")
    path = tmp_path / f"{record_id('bouncing_balls', config)}.safetensors"
    kept = {c: FileCheckpoint(path, owner=record_id("bouncing_balls", c)) for c in (TINY, config)}
    known, fresh = train(TINY, kept[TINY]), train(config)
    assert path.exists()
    found = train(config, kept[config])
    assert f"{path} belongs to other code or settings ({kept[TINY].owner})" in caplog.text
    assert "training starts afresh" in caplog.text
    assert found.metrics == fresh.metrics != known.metrics
    caplog.clear()
    train(config, kept[config])  # control: its own is taken
    assert not caplog.text


# --- so far --------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_checkpoint_tells_what_a_training_of_its_epochs_measures(epochs):
    config = replace(TINY, epochs=5, learning_rate=0.02)
    kept = Memory(dies_after=epochs)
    with pytest.raises(Interrupted):
        train(config, kept)
    metrics, arrays = so_far(config, kept.state)
    chosen, task = Chosen(LatentFlow(config), 5), BallsTask(config)
    fit = bouncing_balls.FitConfig(epochs, 0.02, schedule=bouncing_balls.Cosine(5, every=1))
    bouncing_balls.fit(chosen, task, fit)
    errors = chosen.errors[:epochs]
    assert np.array_equal(arrays["validation"][0], errors)
    assert metrics["best_epoch"] == [int(errors.argmin()) + 1]
    chosen.restore()
    wanted, drawn = measure(task, chosen.eval().model)
    assert {k: metrics[k] for k in wanted} == wanted
    assert np.array_equal(arrays["misses"], drawn["misses"])


def test_a_checkpoint_of_the_last_epoch_tells_what_the_record_will():
    kept = Memory(dies_after=10)
    whole = train(TINY, kept)
    metrics, arrays = so_far(TINY, kept.state)
    assert metrics == whole.metrics
    assert all(np.array_equal(arrays[k], whole.arrays[k]) for k in whole.arrays)


# --- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "mine"}, "expected a protocol among"),
        ({"model": "dynamic_direct"}, "expected a model among"),
        ({"seeds": (0, 1)}, "expected one seed"),
        ({"batch": 1}, "expected a batch of 2"),
        ({"frames": 21}, "1 to 20 frames"),
        ({"precision": "half"}, "expected a precision among"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        BallsConfig(**settings)


def test_protocols_and_labels():
    paper, released, reduced = BallsConfig(), BallsConfig.released(), BallsConfig.reduced()
    assert (paper.latent, paper.inflation, paper.particles) == (50, 20, 100)
    assert (paper.learning_rate, paper.penalty, paper.epochs) == (0.001, 0.0001, 100)
    assert (released.latent, released.theta3_weight) == (40, 0.1)
    assert (paper.label, released.label) == ("paper", "released")
    short = BallsConfig.short()
    assert replace(short, protocol="paper", epochs=100) == BallsConfig.paper()
    for small in (reduced, quick(), short, wide := BallsConfig.wide()):
        assert f"{small.sequences} sequences" in small.label  # a smaller run says so
    width = ("latent", "inflation", "particles", "filters", "sequences", "validation", "batch")
    assert all(getattr(wide, name) == getattr(paper, name) for name in width)
    assert (wide.epochs, wide.frames) == (16, 4)
    assert BallsConfig.reduced(model="static_direct").particles == 0


def test_grid_begins_with_the_full_runs():
    full = grid("paper")
    assert EXPERIMENTS["bouncing_balls"] is BOUNCING_BALLS
    assert len(full) == len(set(full))
    assert {c.model for c in full[:3]} == set(COMPARED)
    assert all((c.epochs, c.sequences, c.frames) == (100, 10_000, 20) for c in full[:4])
    assert [c.precision for c in full] == ["bfloat16"] * 7 + ["float32"] * 7
    # the others are never called the paper's
    assert [c.protocol for c in full[4:]] == ["short"] * 3 + ["reduced"] * 7
    assert [c.sequences for c in full[7:]] == [2000] * 3 + [10_000] * 4
    assert data.SPLITS["train"] == 10_000
