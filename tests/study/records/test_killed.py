"""Killed at any moment, also in the middle of a write: the same bits at the end."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from toy import STEPS, TOY, ToyConfig

from shooting.study import records, storage
from shooting.study.records.checkpoints import FileCheckpoint

pytestmark = pytest.mark.usefixtures("folders")

SCRIPT = Path(toy.__file__)


@pytest.fixture
def state():
    return {
        "weights": torch.arange(6.0).reshape(2, 3),
        "step": torch.tensor(7),
        "ok": torch.ones(2),
    }


def toy_process(tmp_path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "SHOOTING_STATE": str(tmp_path / "killed"), **variables}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def the_record(folder: Path, config: ToyConfig, monkeypatch) -> records.Record:
    monkeypatch.setenv("SHOOTING_STATE", str(folder))
    record = records.load(TOY, config)
    assert record is not None
    return record


def assert_same(one: records.Record, two: records.Record) -> None:
    assert one.path.with_suffix(".npz").read_bytes() == two.path.with_suffix(".npz").read_bytes()
    assert one.metrics.keys() == two.metrics.keys()
    for name in one.metrics:
        np.testing.assert_array_equal(one.metrics[name], two.metrics[name])
    np.testing.assert_array_equal(one.early, two.early)


def test_twenty_kills_leave_no_trace(tmp_path, monkeypatch):
    """SIGKILL in a random step, twenty times: final tensors equal those of one process."""
    config = ToyConfig(epochs=60)
    draw = random.Random(5)
    # a kill after n steps keeps floor(n / STEPS) epochs: 20 kills fit in 60 epochs
    kills = [draw.randint(1, 3 * STEPS - 1) for _ in range(20)]
    run = toy_process(tmp_path, "kill-often", *map(str, kills))
    assert run.returncode == 0, run.stderr
    ends = [line.split()[1] for line in run.stdout.splitlines()]
    assert ends == ["9"] * 20 + ["0"]

    killed = the_record(tmp_path / "killed", config, monkeypatch)
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "whole"))
    whole = records.compute(TOY, config)
    assert killed.provenance["resumed"] >= 10, "kills before the first save resume nothing"
    assert whole.provenance["resumed"] == 0
    assert_same(killed, whole)


def test_control_a_forgotten_moment_changes_the_result(tmp_path, monkeypatch):
    """A checkpoint without Adam's moments would resume to other numbers."""

    class Forgetful(FileCheckpoint):
        def load(self):
            state = super().load()
            return state and {
                k: torch.zeros_like(v) if k.startswith("adam.mean") else v for k, v in state.items()
            }

    class Interrupt(Exception):
        pass

    class Stopping(FileCheckpoint):
        def save(self, state):
            super().save(state)
            if len(state["history"]) == 10:
                raise Interrupt

    config, results = ToyConfig(), {}
    for kind in (FileCheckpoint, Forgetful):
        path = tmp_path / f"{kind.__name__}.safetensors"
        with pytest.raises(Interrupt):
            TOY.train(config, Stopping(path, seconds=0))
        results[kind] = TOY.train(config, kind(path)).arrays["parameters"]
    whole = TOY.train(config, None).arrays["parameters"]
    np.testing.assert_array_equal(results[FileCheckpoint], whole)
    assert not np.array_equal(results[Forgetful], whole)


class Dead(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


def die_at(patch, moment: str) -> None:
    def dead(*_):
        raise Dead

    if moment == "open":
        patch.setattr(storage.Path, "open", dead)
    elif moment == "write":
        original = Path.open

        def torn(self, mode="r"):
            with original(self, mode) as file:
                file.write(b"half of a ")
            raise Dead

        patch.setattr(storage.Path, "open", torn)
    else:
        patch.setattr(storage.os, moment, dead)


@pytest.mark.parametrize("moment", ["open", "write", "fsync", "replace"])
def test_death_in_the_middle_of_a_write(tmp_path, monkeypatch, state, moment):
    """Whatever the moment, the previous state is intact and the next save succeeds."""
    checkpoint = FileCheckpoint(tmp_path / "run.safetensors", owner="me", seconds=0)
    checkpoint.save(state)
    newer = {**state, "step": torch.tensor(8)}
    with monkeypatch.context() as patch:
        die_at(patch, moment)
        with pytest.raises(Dead):
            checkpoint.save(newer)
    assert int(FileCheckpoint(checkpoint.path, owner="me").load()["step"]) == 7
    checkpoint.save(newer)
    assert int(FileCheckpoint(checkpoint.path, owner="me").load()["step"]) == 8
