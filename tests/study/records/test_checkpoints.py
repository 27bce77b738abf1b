"""A checkpoint returns what was saved, or is refused: damaged, of other code, too old."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch

from shooting.study.records.checkpoints import FileCheckpoint, content_hash, read_checkpoint
from shooting.study.storage import CorruptFileError


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
