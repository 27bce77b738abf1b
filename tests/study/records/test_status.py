"""What has become of a config, from missing to done, and which records nobody asks for."""

from __future__ import annotations

import dataclasses

import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.experiments import EXPERIMENTS
from tests.study.records.handling import CONFIG, interrupt, truncate_json

pytestmark = pytest.mark.usefixtures("folders")


def test_a_config_is_missing_then_started_then_done_until_it_is_damaged(monkeypatch):
    states = [records.state_of(TOY, CONFIG)]
    interrupt(monkeypatch)
    states.append(records.state_of(TOY, CONFIG))
    record = records.compute(TOY, CONFIG)
    states.append(records.state_of(TOY, CONFIG))
    truncate_json(record)
    states.append(records.state_of(TOY, CONFIG))
    assert states == ["missing", "started", "done", "corrupt"]
    assert set(states) < set(records.STATES)


def test_a_failed_run_makes_its_ensemble_failed():
    poisoned = dataclasses.replace(CONFIG, poison=1)
    records.compute(TOY, poisoned)
    assert records.state_of(TOY, poisoned) == "failed"


def test_stale_records_of_all_experiments_are_listed_unless_one_is_named(folders, monkeypatch):
    other = dataclasses.replace(TOY, name="other")
    monkeypatch.setitem(EXPERIMENTS, "other", other)
    out = folders / "records"
    paths = [records.compute(e, ToyConfig(label=77, epochs=6), out=out).path for e in (TOY, other)]
    assert sorted(records.stale()) == sorted(paths)
    assert records.stale("other") == records.stale(other) == paths[1:]
    assert records.stale(folder=folders / "elsewhere") == []


def test_stale_records_are_listed(folders, monkeypatch):
    config, out = TOY.grid("quick")[0], folders / "records"
    fresh = records.compute(TOY, config, out=out)
    assert records.stale("toy") == []
    other = records.compute(TOY, ToyConfig(label=77, epochs=6), out=out)
    assert records.stale("toy") == [other.path]
    monkeypatch.setattr("shooting.study.records.identity.NUMERICS", 10**6)
    assert set(records.stale("toy")) == {fresh.path, other.path}
    assert records.load("toy", config) is None, "a stale record must not be used"
