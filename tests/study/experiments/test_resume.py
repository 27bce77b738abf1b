"""Every experiment, through the checkpoint file that real runs use: interrupted is uninterrupted.

Model, optimiser, schedules, order of the data and frozen parts are all in play; what an experiment
keeps outside its checkpoint would show here.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.base import float32
from shooting.study.records.checkpoints import FileCheckpoint

EPOCHS = 3
IMAGES = ("rotating_mnist", "bouncing_balls")  # the same with small networks, in their own tests


class Interrupted(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


class Dying(FileCheckpoint):
    """The process dies after its second epoch was saved."""

    def save(self, state):
        super().save(state)
        if len(state["history"]) == EPOCHS - 1:
            raise Interrupted


class Forgetful(FileCheckpoint):
    """Resumes without Adam's second moments."""

    def load(self):
        state = super().load()
        assert state is not None
        return {
            k: torch.zeros_like(v) if k.startswith("adam.square") else v for k, v in state.items()
        }


def cases():
    """One config per experiment and model of the quick grid: two runs, three epochs."""
    return {
        f"{name} {getattr(config, 'model', '')}".strip(): (name, short(config))
        for name, experiment in EXPERIMENTS.items()
        if name not in IMAGES
        for config in reversed(experiment.grid("quick"))
        if config.epochs  # what has a closed form trains in one go
    }


def short(config):
    return dataclasses.replace(config, seeds=config.seeds[:2], epochs=EPOCHS)


def train(name, config, checkpoint):
    """All that a record would keep, as bytes and numbers."""
    with float32():
        outcome = EXPERIMENTS[name].train(config, checkpoint)
    kept = {**outcome.arrays, "history": outcome.fit.history.numpy()}
    arrays = {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in kept.items()}
    return arrays, repr(outcome.metrics), outcome.fit.early.tolist(), outcome.fit.failed.tolist()


def resumed(path, name, config, kind):
    with pytest.raises(Interrupted):
        train(name, config, Dying(path, seconds=0))
    return train(name, config, kind(path, seconds=0))


@pytest.mark.parametrize("case", sorted(cases()))
def test_resuming_from_the_file_changes_no_bit(case, tmp_path):
    name, config = cases()[case]
    whole = train(name, config, None)
    assert whole == train(name, config, None), "not even two runs in one go agree"
    assert whole == resumed(tmp_path / "run.safetensors", name, config, FileCheckpoint)


def test_control_a_forgotten_moment_is_noticed(tmp_path):
    name, config = cases()["regression dynamic_particles"]
    whole = train(name, config, None)
    assert whole != resumed(tmp_path / "run.safetensors", name, config, Forgetful)
