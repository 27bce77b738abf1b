"""A record with a valid checksum and a wrong shape is refused by its file's name."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.cli import main
from shooting.study.records.checkpoints import content_hash, read_checkpoint
from shooting.study.records.files import pack
from shooting.study.records.identity import digest
from shooting.study.records.store import checkpoint_of
from shooting.study.storage import CorruptFileError
from tests.study.records.handling import CONFIG, interrupt

pytestmark = pytest.mark.usefixtures("folders")


def forge(record, change):
    """Change a document and compute its checksum anew, as the project does."""
    document = json.loads(record.path.read_bytes())
    change(document)
    document.pop("sha256", None)
    document["sha256"] = digest(document)
    record.path.write_text(json.dumps(document))


def put(key, value):
    return lambda d: d.__setitem__(key, value)


def forge_arrays(record, data):
    record.path.with_suffix(".npz").write_bytes(data)
    forge(record, lambda d: d["arrays"].__setitem__("sha256", hashlib.sha256(data).hexdigest()))


CHANGES = {
    "missing key": lambda d: d.pop("failed_at"),
    "no runs": put("failed_at", []),
    "words": lambda d: d["metrics"].__setitem__("loss", "abc"),
    "words in a list": lambda d: d["metrics"].__setitem__("loss", ["a", "b", "c"]),
    "seven numbers for three runs": lambda d: d["metrics"].__setitem__("loss", [1.0] * 7),
    "a void metric": lambda d: d["metrics"].__setitem__("loss", [None, 1.0, 1.0]),
    "no config": put("config", None),
    "another setting": lambda d: d["config"].__setitem__("unknown", 1),
    "no provenance": put("provenance", None),
    "provenance without threads": lambda d: d["provenance"].pop("threads"),
    "steps that are no numbers": put("failed_at", ["a", -1, -1]),
    "a short row of losses": lambda d: d["early"].__setitem__(0, [1.0]),
    "drift of one run": put("drift", [1.0]),
    "facts in words": put("facts", {"parameters": "six"}),
    "a list": lambda d: d["arrays"].__setitem__("shapes", []),
    "other shapes": lambda d: d["arrays"]["shapes"].__setitem__("history", [1, 1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_wrong_document_is_named(change):
    record = records.compute(TOY, CONFIG)
    forge(record, change)
    with pytest.raises(CorruptFileError, match=record.path.name.partition(".")[0]):
        records.load("toy", CONFIG)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", pack({}), pack({"history": np.array(["a"])})],
    ids=["empty", "no archive", "no arrays", "words"],
)
def test_wrong_arrays_are_named(data):
    record = records.compute(TOY, CONFIG)
    forge_arrays(record, data)
    with pytest.raises(CorruptFileError, match="npz"):
        records.load("toy", CONFIG)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"null", b"[]", b"\xff", b'{"a": NaN}'])
def test_what_is_no_document_is_named(data):
    record = records.compute(TOY, CONFIG)
    record.path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=record.id):
        records.load("toy", CONFIG)


def test_control_what_was_forged_without_a_change_is_read():
    record = records.compute(TOY, CONFIG)
    forge(record, lambda d: None)
    assert records.load("toy", CONFIG).id == record.id


def test_status_names_the_file_and_goes_on(capsys):
    ill = records.compute(TOY, ToyConfig(label=0))
    records.compute(TOY, ToyConfig(label=1))
    forge(ill, lambda d: d.pop("failed_at"))
    assert main(["status", "--experiment", "toy"]) == 1
    told = capsys.readouterr().out
    assert "done 1" in told
    assert "corrupt 1" in told
    assert str(ill.path) in told


@pytest.mark.parametrize("key", ["model.flat", "history", "adam.lr", "step"])
def test_a_checkpoint_that_lacks_a_key_is_set_aside_and_training_begins_anew(
    key, monkeypatch, caplog
):
    want = records.compute(TOY, CONFIG)
    want.path.unlink()
    interrupt(monkeypatch)
    path = checkpoint_of(TOY, CONFIG).path
    tensors, about = read_checkpoint(path)
    del tensors[key]
    about["sha256"] = content_hash(tensors, about)
    path.write_bytes(safetensors.torch.save(tensors, about))
    again = records.compute(TOY, CONFIG)
    assert f"lacks {key!r}: training starts afresh" in caplog.text
    assert again.provenance["resumed"] == 0
    assert all(np.array_equal(again.arrays[k], v) for k, v in want.arrays.items())
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_a_checkpoint_without_an_owner_is_corrupt(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors, about = {"a": torch.zeros(2)}, {"begun": "2026-01-01", "elapsed": "1", "resumed": "0"}
    about["sha256"] = content_hash(tensors, about)
    path.write_bytes(safetensors.torch.save(tensors, about))
    with pytest.raises(CorruptFileError, match=path.name):
        read_checkpoint(path)
