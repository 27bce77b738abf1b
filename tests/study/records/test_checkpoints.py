"""Killed at any moment, also in the middle of a write: the same bits at the end."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from toy import STEPS, TOY, ToyConfig

from shooting.study import paths, records, storage
from shooting.study.records.checkpoints import FileCheckpoint, content_hash, read_checkpoint
from shooting.study.storage import CorruptFileError

SCRIPT = Path(toy.__file__)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("FRESH", raising=False)


@pytest.fixture
def state():
    return {
        "weights": torch.arange(6.0).reshape(2, 3),
        "step": torch.tensor(7),
        "ok": torch.ones(2),
    }


@pytest.fixture
def checkpoint(tmp_path, state):
    made = FileCheckpoint(tmp_path / "run.safetensors", owner="me", seconds=0)
    made.save(state)
    return made


def test_load_returns_what_was_saved(checkpoint, state):
    loaded = FileCheckpoint(checkpoint.path, owner="me").load()
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert FileCheckpoint(tmp_path / "none.safetensors").load() is None


def test_due_counts_from_the_last_save(checkpoint):
    assert checkpoint.due()
    patient = FileCheckpoint(checkpoint.path, seconds=3600)
    assert not patient.due()


def test_state_of_other_code_is_not_loaded(checkpoint, caplog):
    assert FileCheckpoint(checkpoint.path, owner="other").load() is None
    assert "other code" in caplog.text


def test_state_from_before_a_moment_is_not_loaded(checkpoint, caplog):
    later = checkpoint.begun + timedelta(microseconds=1)
    assert FileCheckpoint(checkpoint.path, owner="me", since=later).load() is None
    assert "older than FRESH" in caplog.text


def test_usable_is_what_load_would_go_on_from(checkpoint):
    assert checkpoint.usable()
    later = checkpoint.begun + timedelta(microseconds=1)
    assert not FileCheckpoint(checkpoint.path, owner="me", since=later).usable()
    assert not FileCheckpoint(checkpoint.path, owner="other").usable()
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    assert not checkpoint.usable()
    checkpoint.discard()
    assert not checkpoint.usable()


def test_a_training_begins_once(checkpoint, state):
    second = FileCheckpoint(checkpoint.path, owner="me", since=checkpoint.begun)
    assert second.begun > checkpoint.begun
    second.load()
    assert second.begun == checkpoint.begun


def test_time_and_resumptions_add_up(checkpoint, state):
    second = FileCheckpoint(checkpoint.path, owner="me")
    second.load()
    second.save(state)
    third = FileCheckpoint(checkpoint.path, owner="me")
    third.load()
    assert (second.resumed, third.resumed) == (1, 2)
    assert third.elapsed >= second.earlier >= 0


def test_seconds_of_earlier_processes_count(checkpoint, state):
    """A verification plans its time by them, and the tables of costs add them up."""
    checkpoint.earlier = 1000.0
    checkpoint.save(state)
    again = FileCheckpoint(checkpoint.path, owner="me")
    again.load()
    assert 1000.0 <= again.elapsed < 2000.0


def test_every_truncation_is_found(checkpoint):
    data = checkpoint.path.read_bytes()
    for length in range(0, len(data), 7):
        checkpoint.path.write_bytes(data[:length])
        with pytest.raises(CorruptFileError):
            read_checkpoint(checkpoint.path)


def test_a_flipped_bit_is_found_in_every_byte(checkpoint):
    data = checkpoint.path.read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        checkpoint.path.write_bytes(flipped)
        with pytest.raises(CorruptFileError):
            read_checkpoint(checkpoint.path)


def test_control_safetensors_alone_accepts_a_flipped_bit(checkpoint):
    """The format has no checksum: without ours the last bytes could be anything."""
    from safetensors.torch import load

    data = bytearray(checkpoint.path.read_bytes())
    data[-1] ^= 1
    assert load(bytes(data)).keys() == load(checkpoint.path.read_bytes()).keys()


def test_a_corrupt_checkpoint_is_named_and_set_aside(checkpoint, caplog):
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    assert FileCheckpoint(checkpoint.path, owner="me").load() is None
    assert not checkpoint.path.exists()
    assert list(checkpoint.path.parent.glob("run.safetensors.corrupt-*"))
    assert "run.safetensors" in caplog.text


def test_content_hash_sees_names_types_and_shapes():
    base = {"a": torch.zeros(4)}
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(2, dtype=torch.float64)},
        {"a": torch.tensor([0.0, 0.0, 0.0, -0.0])},
    ]
    found = {content_hash(t, {}) for t in [base, *others]}
    assert len(found) == 5


# --- killed --------------------------------------------------------------------------------


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


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path, monkeypatch
):
    """File, rename, folder: in any other order a power cut could leave an empty file."""
    steps = []

    def fsync(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    def replace(*names, original=os.replace):
        steps.append("rename")
        original(*names)

    monkeypatch.setattr(storage.os, "fsync", fsync)
    monkeypatch.setattr(storage.os, "replace", replace)
    storage.atomic_write(tmp_path / "x", b"content")
    assert steps == ["file", "rename", "folder"]


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


def test_litter_of_killed_writers_goes_after_an_hour(tmp_path):
    old, young = tmp_path / ".x.json.11.tmp", tmp_path / ".x.json.12.tmp"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    storage.atomic_write(tmp_path / "x.json", b"whole")
    assert not old.exists()
    assert young.exists()


def test_threads_may_write_the_same_file(tmp_path):
    contents = [bytes([k]) * 10_000 for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(storage.atomic_write, tmp_path / "f", c) for c in contents * 8]
    assert all(d.exception() is None for d in done)
    assert (tmp_path / "f").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_without_a_home_the_variable_is_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SHOOTING_STATE")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RuntimeError, match="set SHOOTING_STATE"):
        paths.state_folder()
