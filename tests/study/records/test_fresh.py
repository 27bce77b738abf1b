"""Under FRESH nothing counts that was begun before its moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from toy import TOY

from shooting.study import records
from shooting.study.records import store
from tests.study.records.handling import CONFIG, age, interrupt, present, rewritten

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def committed(folders):
    """Records of the paper's grid as the repository has them."""
    return [records.compute(TOY, c, out=folders / "records") for c in TOY.grid("paper")]


@pytest.fixture
def moment(monkeypatch, committed):
    """FRESH, after what is committed."""
    return present(monkeypatch)


def test_what_is_trained_since_a_moment_comes_before_what_is_committed(moment, committed):
    assert [records.load("toy", c.config).path for c in committed] == [c.path for c in committed]
    made = records.gather("toy", "paper")
    assert [r.config for r in made] == [c.config for c in committed]
    assert not {r.path for r in made} & {c.path for c in committed}
    assert all(r.provenance["started"] >= moment for r in made)


def test_only_what_is_trained_since_a_moment_is_done(moment, committed):
    def states():
        return {records.state_of(TOY, c.config) for c in committed}

    assert states() == {"missing"}
    records.gather("toy", "paper")
    assert states() == {"done"}


def test_without_a_moment_what_is_committed_comes_first(moment, committed, monkeypatch):
    records.gather("toy", "paper")
    monkeypatch.delenv("FRESH")
    assert [r.path for r in records.gather("toy", "paper")] == [c.path for c in committed]


def test_what_is_trained_since_a_moment_is_not_trained_again(moment):
    for record in records.gather("toy", "paper"):
        age(record)
    assert not any(map(rewritten, records.gather("toy", "paper")))


def test_a_local_record_from_before_does_not_count(record, monkeypatch):
    age(record)
    present(monkeypatch)
    assert rewritten(records.compute(TOY, CONFIG))


def test_what_is_not_needed_is_not_read(committed):
    """A damaged copy beside an intact committed record must not stop a page."""
    local = store.folders()[1] / "toy" / committed[0].path.name
    local.parent.mkdir(parents=True)
    local.write_bytes(b"half")
    assert records.load("toy", committed[0].config).path == committed[0].path


def test_a_local_record_since_then_is_published_without_training(folders, monkeypatch):
    present(monkeypatch)
    local = records.compute(TOY, CONFIG)
    monkeypatch.setattr(store, "_train", None)
    published = records.compute(TOY, CONFIG, out=folders / "records")
    assert published.path != local.path
    assert records.state_of(TOY, CONFIG) == "done"


def test_a_checkpoint_from_before_is_not_continued(monkeypatch, caplog):
    interrupt(monkeypatch)
    present(monkeypatch)
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 0
    assert "older than FRESH" in caplog.text


def test_a_checkpoint_of_no_use_is_not_called_started(monkeypatch):
    interrupt(monkeypatch)
    assert records.state_of(TOY, CONFIG) == "started"
    monkeypatch.setattr(store.provenance, "source_hash", lambda: "0" * 64)
    assert records.state_of(TOY, CONFIG) == "missing"


def test_a_checkpoint_since_then_is_continued_and_keeps_its_beginning(monkeypatch):
    monkeypatch.setenv("FRESH", datetime.now(UTC).isoformat(timespec="seconds"))
    interrupt(monkeypatch)
    time.sleep(1.1)
    again = datetime.now(UTC)
    about = records.compute(TOY, CONFIG).provenance
    assert about["resumed"] == 1
    assert datetime.fromisoformat(about["started"]) < again.replace(microsecond=0)


@pytest.mark.parametrize("wrong", ["1", "yes", "26.11.2026"])
def test_a_moment_that_is_none_is_one_sentence(monkeypatch, wrong):
    monkeypatch.setenv("FRESH", wrong)
    with pytest.raises(ValueError, match=f"expected FRESH to be a day or moment.*{wrong}.*; "):
        records.gather("toy", "paper")


def test_a_moment_ahead_is_refused(monkeypatch):
    """Local time taken for UTC: whatever was trained would be trained again, for ever."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setenv("FRESH", ahead.isoformat())
    with pytest.raises(ValueError, match="lies ahead; it is UTC, and now is 20"):
        records.gather("toy", "paper")


def test_what_begins_within_the_second_of_the_moment_counts(record, monkeypatch):
    started = datetime.fromisoformat(record.provenance["started"])
    monkeypatch.setenv("FRESH", started.replace(microsecond=999_999).isoformat())
    age(record)
    assert not rewritten(records.compute(TOY, CONFIG))


def test_a_moment_without_a_zone_is_utc(monkeypatch):
    for text in ("2026-11-26T18:00", "2026-11-26T18:00+00:00", "2026-11-26T19:00+01:00"):
        monkeypatch.setenv("FRESH", text)
        assert store.since() == datetime(2026, 11, 26, 18, tzinfo=UTC)
