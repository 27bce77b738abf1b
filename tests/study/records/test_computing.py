"""What is in a record, when it is trained again, and that training is deterministic."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from toy import TOY

from shooting.study import records
from shooting.study.records import store
from tests.study.records.handling import CONFIG, age, interrupt, rewritten

pytestmark = pytest.mark.usefixtures("folders")


def test_a_record_holds_what_was_trained(record):
    outcome = TOY.train(CONFIG, None)
    assert record.config == CONFIG
    np.testing.assert_array_equal(record.metrics["loss"], outcome.metrics["loss"])
    np.testing.assert_array_equal(record.arrays["history"], outcome.fit.history)
    np.testing.assert_array_equal(record.early.astype(np.float32), outcome.fit.early)
    assert not record.failed.any()
    assert record.facts == {"parameters": 6}


def test_provenance_is_complete(record):
    expected = (
        "package commit dirty source python torch numpy platform processor device threads route "
        "wall_seconds resumed peak_memory_mb started ended status"
    )
    assert set(expected.split()) <= set(record.provenance)
    assert record.provenance["status"] == "done"
    assert record.provenance["threads"] == torch.get_num_threads()


def test_a_record_is_found_not_trained_again(record, monkeypatch):
    def refuse(config, checkpoint):
        raise AssertionError("trained again")

    again = records.compute(dataclasses.replace(TOY, train=refuse), CONFIG)
    assert again.path == record.path
    assert records.load("toy", CONFIG).id == record.id


def test_fresh_trains_again(record):
    age(record)
    records.compute(TOY, CONFIG)
    assert not rewritten(record)
    records.compute(TOY, CONFIG, fresh=True)
    assert rewritten(record)


def test_a_local_record_is_published_without_training(record, folders, monkeypatch):
    def refuse(config, checkpoint):
        raise AssertionError("trained again")

    published = records.compute(
        dataclasses.replace(TOY, train=refuse), CONFIG, out=folders / "records"
    )
    assert published.path == folders / "records" / "toy" / record.path.name
    assert published.path.read_bytes() == record.path.read_bytes()


def test_a_checkpoint_is_continued(monkeypatch):
    interrupt(monkeypatch)
    assert records.state_of(TOY, CONFIG) == "started"
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 1


def test_fresh_does_not_continue_a_checkpoint(monkeypatch):
    interrupt(monkeypatch)
    assert records.compute(TOY, CONFIG, fresh=True).provenance["resumed"] == 0


def test_a_checkpoint_of_other_code_is_not_continued(monkeypatch, caplog):
    """The first epochs of one code and the last of another are a run of neither."""
    interrupt(monkeypatch)
    monkeypatch.setattr(store.provenance, "source_hash", lambda: "0" * 64)
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 0
    assert "other code" in caplog.text


def test_the_checkpoint_goes_when_the_record_is_there(record):
    path = store.lock_path(TOY, CONFIG)
    assert not path.with_suffix(".safetensors").exists()


def test_the_default_precision_of_the_caller_does_not_matter(record):
    torch.set_default_dtype(torch.float64)
    try:
        again = records.compute(TOY, CONFIG, fresh=True)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(again.arrays["parameters"], record.arrays["parameters"])


def test_twice_the_same_bits(record):
    def comparable(path):
        document = json.loads(path.read_bytes())
        return {k: v for k, v in document.items() if k not in ("provenance", "sha256")}

    before = record.path.with_suffix(".npz").read_bytes(), comparable(record.path)
    records.compute(TOY, CONFIG, fresh=True)
    assert (record.path.with_suffix(".npz").read_bytes(), comparable(record.path)) == before
