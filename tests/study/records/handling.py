"""What the tests of records do to them: age, break off, damage."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import UTC, datetime

import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.records.checkpoints import FileCheckpoint

CONFIG = ToyConfig(epochs=6)


def changed(record, **parts):
    """A copy with some parts replaced: dicts are merged."""
    merged = {
        k: {**getattr(record, k), **v} if isinstance(v, dict) else v for k, v in parts.items()
    }
    return dataclasses.replace(record, **merged)


def elsewhere(record):
    return changed(record, provenance={"processor": "another"})


def age(record):
    """Date a record back, so that a rewrite shows however coarse the clock of the disk is."""
    os.utime(record.path, (0, 0))


def rewritten(record) -> bool:
    return record.path.stat().st_mtime_ns > 0


class Interrupted(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


def interrupt(monkeypatch):
    """Train CONFIG until its checkpoint holds three epochs, and die."""
    original = FileCheckpoint.save

    def save(self, state):
        original(self, state)
        if len(state["history"]) == 3:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(FileCheckpoint, "save", save)
        with pytest.raises(Interrupted):
            records.compute(TOY, CONFIG, seconds=0)


def present(monkeypatch):
    """Set FRESH to a second of its own."""
    time.sleep(1.1)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    monkeypatch.setenv("FRESH", now)
    return now


def edit(path, change):
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def truncate_json(record):
    record.path.write_bytes(record.path.read_bytes()[:-20])


def edit_a_metric(record):
    edit(record.path, lambda d: d["metrics"]["loss"].__setitem__(0, 0.001))


def flip_arrays(record):
    path = record.path.with_suffix(".npz")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
