"""The page of verdicts says which code made the records, and lists those that are stale."""

from __future__ import annotations

import dataclasses

import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.claims import origins
from shooting.study.records.provenance import source_hash
from shooting.study.storage import CorruptFileError

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def made(folders):
    return [records.compute(TOY, c, out=folders / "records") for c in TOY.grid("quick")]


def told(record, **about):
    return dataclasses.replace(record, provenance={**record.provenance, "dirty": False, **about})


def test_records_of_the_present_code_are_told_from_older_ones(made):
    new, old = told(made[0], commit="a" * 40), told(made[1], commit="b" * 40, source="c" * 64)
    found = origins.origins([new, old])
    assert [(o.is_present, [r.id for r in o.records]) for o in found] == [
        (True, [new.id]),
        (False, [old.id]),
    ]
    rows = origins.origin_rows(found)
    assert all(len(row) == len(origins.HEAD) for row in rows)
    assert [row[2] for row in rows] == [origins.HERE, origins.EARLIER]
    assert rows[0][3] == f"<code>{source_hash()[:10]}</code>"
    assert (rows[1][3], rows[1][4]) == ("<code>cccccccccc</code>", "<code>bbbbbbbbbb</code>")


def test_the_remark_counts_records_and_versions(made):
    def say(*sources):
        return origins.remark(origins.origins([told(made[0], source=s) for s in sources]))

    here = source_hash()
    assert say(here, here).startswith("All 2 records that are used have the numerics of the code")
    assert say(here, here).endswith(
        "(version 1); one version of the code with these numerics made them."
    )
    assert "5 records" in say("1", "2", here, here, here)
    assert "; 3 versions of the code with" in say("1", "2", here, here, here)


def test_a_commit_with_changes_or_without_git_says_so(made):
    changed, bare = told(made[0], commit="a" * 40, dirty=True), told(made[0], commit=None)
    assert [o.commit for o in origins.origins([changed, bare])] == [
        "aaaaaaaaaa with changes",
        "no git",
    ]


def test_the_days_of_training_are_a_range(made):
    days = [told(made[0], ended=f"2026-11-{d}T10:00:00+00:00") for d in (25, 23, 24)]
    (one,) = origins.origins(days)
    assert one.days == "2026-11-23 to 2026-11-25"
    (one,) = origins.origins(days[:1])
    assert one.days == "2026-11-25"


def test_stale_records_are_listed_with_the_reason(made, folders, monkeypatch):
    assert origins.stale_rows() == []
    odd = records.compute(TOY, ToyConfig(label=77, epochs=6), out=folders / "records")
    assert origins.stale_rows() == [
        ("toy", f"<code>{odd.id}</code>", "no grid asks for its settings")
    ]
    monkeypatch.setattr("shooting.study.records.identity.NUMERICS", 10**6)
    monkeypatch.setattr(origins, "NUMERICS", 10**6)
    rows = origins.stale_rows()
    assert {row[1] for row in rows} == {f"<code>{r.id}</code>" for r in [*made, odd]}
    assert {row[2] for row in rows} == {"made under NUMERICS 1, now 1000000"}


def test_a_corrupt_stale_record_is_refused(folders):
    odd = records.compute(TOY, ToyConfig(label=77, epochs=6), out=folders / "records")
    odd.path.write_bytes(odd.path.read_bytes().replace(b'"label": 77', b'"label": 78'))
    with pytest.raises(CorruptFileError, match=odd.id):
        origins.stale_rows()
