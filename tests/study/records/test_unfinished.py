"""Trainings that are not finished: what their checkpoints say, kept and read back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from interrupted import Interrupted

from shooting.study.cli import main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.bouncing_balls import BOUNCING_BALLS, BallsConfig, train
from shooting.study.paths import records_folder
from shooting.study.records import compute, store, unfinished
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.identity import record_id
from shooting.study.storage import CorruptFileError

TINY = BallsConfig(
    latent=3,
    inflation=2,
    particles=4,
    filters=2,
    sequences=20,
    validation=6,
    test=6,
    epochs=3,
    batch=10,
)
OTHER = replace(TINY, model="static_particles")
UNTRAINED = replace(TINY, model="static_direct", particles=0)


def interrupted(config, checkpoint):
    """A training that dies after two epochs."""
    save, done = checkpoint.save, []

    def save_or_die(state):
        save(state)
        done.append(1)
        if len(done) == 2:
            raise Interrupted

    checkpoint.save = save_or_die
    return train(config, checkpoint)


@pytest.fixture
def balls(monkeypatch, tmp_path):
    """The experiment with a grid of three tiny configs, and folders of its own."""
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    small = replace(BOUNCING_BALLS, grid=lambda profile: [TINY, OTHER, UNTRAINED])
    monkeypatch.setitem(EXPERIMENTS, "bouncing_balls", small)
    return small


@pytest.fixture
def begun(balls):
    """Two trainings that died."""
    for config in (TINY, OTHER):
        with pytest.raises(Interrupted):
            compute(replace(balls, train=interrupted), config, seconds=0)
    return balls


def test_a_training_that_died_is_measured(begun):
    found = unfinished.measure(begun, TINY)
    assert (found.epochs, found.id) == (2, record_id("bouncing_balls", TINY))
    assert found.arrays["validation"].shape == (1, 2)
    assert found.arrays["misses"].shape == (1, 20)
    assert found.line().startswith("epoch 2 of 3, least validation error 0.")
    assert unfinished.measure(begun, UNTRAINED) is None


def test_a_finished_training_has_no_checkpoint_left(begun):
    compute(begun, TINY, seconds=0)
    assert unfinished.measure(begun, TINY) is None


def test_what_is_written_is_read_back(begun, tmp_path):
    path = tmp_path / "unfinished.json"
    found = [unfinished.measure(begun, c) for c in (TINY, OTHER)]
    unfinished.write(reversed(found), path)
    back = unfinished.load(path)
    assert [u.config for u in back] == [TINY, OTHER]  # the grid's order
    for one, two in zip(found, back, strict=True):
        assert (one.metrics, one.seconds, one.source) == (two.metrics, two.seconds, two.source)
        for name in unfinished.DRAWN:
            # six digits are kept
            np.testing.assert_allclose(one.arrays[name], two.arrays[name], rtol=1e-5)


def test_writing_one_keeps_the_others(begun, tmp_path):
    path = tmp_path / "unfinished.json"
    one, two = (unfinished.measure(begun, c) for c in (TINY, OTHER))
    unfinished.write([one], path)
    unfinished.write([two], path)
    unfinished.write([replace(one, seconds=7.0)], path)
    assert [(u.id, u.seconds) for u in unfinished.load(path)] == [
        (one.id, 7.0),
        (two.id, two.seconds),
    ]


def test_a_recorded_training_is_not_unfinished(begun, tmp_path):
    path = tmp_path / "unfinished.json"
    unfinished.write([unfinished.measure(begun, c) for c in (TINY, OTHER)], path)
    compute(begun, TINY, seconds=0)
    assert [u.config for u in unfinished.load(path)] == [OTHER]


def test_no_file_is_nothing_unfinished(tmp_path):
    assert unfinished.load(tmp_path / "none.json") == []


def spoil_text(document):
    return "{"


def spoil_config(document):
    next(iter(document.values()))["config"]["latent"] = 4
    return json.dumps(document)


def spoil_epochs(document):
    next(iter(document.values()))["epochs"] = 3
    return json.dumps(document)


def spoil_metrics(document):
    del next(iter(document.values()))["metrics"]["mse"]
    return json.dumps(document)


def spoil_experiment(document):
    next(iter(document.values()))["experiment"] = "none"
    return json.dumps(document)


@pytest.mark.parametrize(
    "spoil", [spoil_text, spoil_config, spoil_epochs, spoil_metrics, spoil_experiment]
)
def test_a_spoilt_file_is_refused_by_name(begun, tmp_path, spoil):
    path = tmp_path / "unfinished.json"
    unfinished.write([unfinished.measure(begun, TINY)], path)
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(CorruptFileError, match=rf"expected unfinished runs in {path}, got"):
        unfinished.load(path)


def test_a_checkpoint_of_another_model_is_refused_by_name(begun):
    path = store.lock_path(begun, TINY).with_suffix(".safetensors")
    with pytest.raises(Interrupted):
        interrupted(replace(TINY, latent=4), FileCheckpoint(path, seconds=0))
    with pytest.raises(CorruptFileError, match="finish it with the sources that began it"):
        unfinished.measure(begun, TINY)


# --- the command ---------------------------------------------------------------------------


def test_the_command_prints_and_writes(begun, tmp_path, capsys):
    path = tmp_path / "unfinished.json"
    assert main(["unfinished", "--out", str(path)]) == 0
    told = capsys.readouterr().out
    assert told.count("epoch 2 of 3") == 2
    assert [u.config for u in unfinished.load(path)] == [TINY, OTHER]


def test_the_command_names_a_corrupt_checkpoint_and_goes_on(begun, capsys):
    path = store.lock_path(begun, TINY).with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["unfinished"]) == 1
    told = capsys.readouterr().out
    assert f"corrupt: expected a whole checkpoint in {path.name}" in told
    assert told.count("epoch 2 of 3") == 1


def test_the_command_refuses_a_spoilt_file_by_name(begun, tmp_path):
    path = tmp_path / "unfinished.json"
    path.write_text("{")
    with pytest.raises(SystemExit, match=f"expected unfinished runs in {path}"):
        main(["unfinished", "--out", str(path)])
    assert path.read_text() == "{"


def test_the_command_says_that_nothing_has_begun(balls, tmp_path, capsys):
    assert main(["unfinished", "--out", str(tmp_path / "none.json")]) == 0
    assert "no long training has begun here" in capsys.readouterr().out
    assert not (tmp_path / "none.json").exists()


# --- what is committed ---------------------------------------------------------------------


def test_committed_file_has_full_runs_alone_and_none_that_is_recorded():
    path = records_folder() / unfinished.NAME
    if not path.exists():  # all runs are recorded
        return
    found = unfinished.load()
    assert {u.id for u in found} == set(json.loads(path.read_text()))
    assert {u.config.protocol for u in found} <= {"paper", "released"}
    assert all(u.epochs < u.config.epochs for u in found)
