"""A checkpoint returns what was saved, or is refused: damaged, of other code, too old."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import torch
from problems import refused

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


DTYPES = sorted({v for v in vars(torch).values() if isinstance(v, torch.dtype)}, key=str)
SURE = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.complex64,
    torch.complex32, torch.bool, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
}  # fmt: skip


def of_type(dtype, shape=(2, 3)):
    """A tensor whose bytes are all different, NaN and denormal numbers among them."""
    size = torch.empty((), dtype=dtype).element_size()
    count = torch.Size(shape).numel() * size
    values = torch.arange(count, dtype=torch.uint8) * 37 + 1
    return (values % 2 if dtype is torch.bool else values).view(dtype).reshape(shape)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype):
    """Over all types that PyTorch has; a model in bfloat16 could not be saved."""
    try:
        given = {"a": of_type(dtype), "none": of_type(dtype, (0,)), "one": of_type(dtype, ())}
    except (RuntimeError, NotImplementedError):
        assert dtype not in SURE  # quantised or a collection of bits: no tensor to be had
        return
    try:
        FileCheckpoint(tmp_path / "run").save(given)
    except ValueError as error:
        told = str(error)
        assert dtype not in SURE
        assert re.match(r"expected .*, got 'a' of type .*; keep", told)
        return
    found = FileCheckpoint(tmp_path / "run").load()
    for name, value in given.items():
        assert (found[name].dtype, found[name].shape) == (dtype, value.shape)
        bits = [t.reshape(-1).view(torch.uint8) for t in (found[name], value)]
        assert torch.equal(*bits)


def test_a_conjugate_a_view_and_a_shared_tensor_come_back(tmp_path):
    z = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex128)
    given = {"c": z.conj(), "i": z.conj().imag, "n": torch._neg_view(z.real), "t": z[::2], "u": z}
    FileCheckpoint(tmp_path / "run").save(given)
    found = FileCheckpoint(tmp_path / "run").load()
    assert all(torch.equal(found[k], v) for k, v in given.items())


def test_what_has_no_bytes_is_refused(tmp_path):
    for value in (
        torch.eye(2).to_sparse(),
        torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    ):
        with refused("'a'"):
            FileCheckpoint(tmp_path / "run").save({"a": value})


def test_a_flipped_type_of_bytes_is_found(tmp_path):
    FileCheckpoint(tmp_path / "run").save({"a": of_type(torch.complex128)})
    data = (tmp_path / "run").read_bytes()
    assert b"complex128" in data  # control: it stands in the header
    (tmp_path / "run").write_bytes(data.replace(b"complex128", b"complex 28"))
    with pytest.raises(CorruptFileError):
        read_checkpoint(tmp_path / "run")
