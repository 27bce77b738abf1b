"""Verification compares whatever claims, figures and pages read of records."""

from __future__ import annotations

import dataclasses

import pytest

from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import comparison, identities, verification
from tests.study.records.forging import moved
from tests.study.records.what_is_read import KINDS, Noted, evaluated, fields_named, named, noting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def read():
    with pytest.MonkeyPatch.context() as patch:
        return evaluated(patch)


@pytest.fixture(scope="module")
def known():
    return verification.committed(list(EXPERIMENTS.values()))[0]


def compared(known, rules):
    """Entries that rules look at, in one record of each kind that there is."""
    seen = set()
    kinds = {(r.experiment, *r.metrics, *r.arrays, *r.facts): r for r in known if r.metrics}
    for record in kinds.values():
        rules(moved(noting(seen)(record)), record)
    return seen


def elsewhere(old, new):
    identities.problems(old)
    assert comparison.compare(old, new) == []


def test_all_that_is_read_is_compared_on_another_machine_too(read, known):
    results = {entry for entry in read if entry[1] != "provenance"}
    assert len(results) > 70
    assert results - compared(known, elsewhere) == set()


def test_control_rules_that_leave_out_arrays_or_metrics_are_found(read, known):
    def few(old, new):
        comparison.compare_early(old, new.early)
        comparison.compare(dataclasses.replace(old, arrays={}), new)

    left = read - compared(known, few)
    assert ("regression", "array", "fit") in left
    assert ("regression", "metric", "mse") not in left


def test_whatever_way_an_entry_is_taken_it_is_noted():
    ways = [
        lambda d: d["a"],
        lambda d: d.get("a"),
        lambda d: dict(**d),
        lambda d: {**d},
        lambda d: list(d.items()),
        lambda d: list(d.values()),
    ]
    for take in ways:
        seen = set()
        take(Noted({"a": 1}, seen.add))
        assert seen == {"a"}
    seen = set()
    assert list(Noted({"a": 1}, seen.add)) == ["a"]
    assert "a" in Noted({"a": 1}, seen.add)
    assert seen == set()  # control: a name is no number
    assert set(KINDS.values()) == {"metric", "array", "fact", "provenance"}


def test_names_are_found_in_sources_with_parts_left_open():
    text = "r.metrics['mse'], f'variation/{k}', r.failed, f'{a}{b}'"
    pattern = named([text])
    assert [bool(pattern.fullmatch(n)) for n in ("mse", "variation/b1", "loss")] == [
        True,
        True,
        False,
    ]
    assert fields_named([text]) == {"failed_at"}
