"""Verification finds what it must, by its rules and no others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy import TOY, ToyConfig

from shooting.errors import MissingDataError, NonFiniteError
from shooting.study import records
from shooting.study.data import rotating_mnist
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.convex_trap import TrapConfig
from shooting.study.experiments.rotating_mnist import RotatingConfig
from shooting.study.records import verification
from shooting.study.records.verification import check, committed, sample, verify
from tests.study.records.handling import changed, elsewhere

pytestmark = pytest.mark.usefixtures("folders")

CONFIG = TOY.grid("paper")[0]


@pytest.fixture
def record(folders):
    return records.compute(TOY, CONFIG, out=folders / "records")


def test_an_honest_record_is_equal(record):
    verdict = check(record)
    assert verdict.outcome == "equal"
    assert verdict.details == ()


def test_verification_touches_no_record_and_no_checkpoint(record, folders):
    before = {p: p.stat().st_mtime_ns for p in folders.rglob("*") if p.is_file()}
    check(record)
    assert {p: p.stat().st_mtime_ns for p in folders.rglob("*") if p.is_file()} == before


def test_elsewhere_equal_bits_are_equal_and_others_agree(record):
    assert check(elsewhere(record)).outcome == "equal"
    nudged = {"loss": record.metrics["loss"] * (1 + 1e-6)}
    assert check(changed(elsewhere(record), metrics=nudged)).outcome == "agrees"


def test_first_steps_are_taken_in_single_precision_whatever_the_default(record):
    """As they were when they were recorded."""
    seen = []

    def train(config, checkpoint):
        seen.append(torch.get_default_dtype())
        return TOY.train(config, checkpoint)

    experiment = dataclasses.replace(TOY, train=train)
    torch.set_default_dtype(torch.float64)
    try:
        verification._first_steps(experiment, record)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == [torch.float32]


def test_code_that_computes_something_else_differs(record, monkeypatch):
    def train(config, checkpoint):
        return TOY.train(dataclasses.replace(config, rate=0.0501), checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    for whole in (True, False):
        verdict = check(record, whole=whole)
        assert verdict.outcome == "differs"
        assert "recorded" in verdict.details[0]


def test_long_records_are_checked_over_their_first_steps(record, monkeypatch):
    assert check(record, whole=False).outcome == "agrees"
    slow = changed(record, provenance={"wall_seconds": 3600.0})
    (verdict,) = verify([slow], minutes=1.0)
    assert verdict.outcome == "agrees"


def test_first_steps_in_which_all_runs_stop_are_a_difference_unless_recorded(record, monkeypatch):
    def train(config, checkpoint):
        raise NonFiniteError("NaN in every run", [3] * len(record.failed))

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    verdict = check(record, whole=False)
    assert verdict.outcome == "differs"
    assert "NaN in every run" in verdict.details[0]
    stopped = changed(record, early=record.early[:0])
    assert check(stopped, whole=False).outcome == "skipped"


def test_missing_data_are_skipped_with_the_reason(record, monkeypatch):
    def train(config, checkpoint):
        raise MissingDataError("no digits here; install them")

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    verdict = check(record)
    assert verdict.outcome == "skipped"
    assert verdict.details == ("no digits here; install them",)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("experiment", "config", "remedy"),
    [
        ("convex_trap", TrapConfig(source="authors-seeds"), "released code"),
        ("rotating_mnist", RotatingConfig(source="mnist-test"), "make data fetches them"),
    ],
)
def test_files_that_no_package_ships_are_skipped_with_the_remedy(
    record, monkeypatch, tmp_path, experiment, config, remedy, whole
):
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    monkeypatch.setattr(verification.identities, "problems", lambda record: [])  # it is the toy's
    rotating_mnist.sequences.cache_clear()  # a test before this one may have found the files
    verdict = check(changed(record, experiment=experiment, config=config), whole=whole)
    assert verdict.outcome == "skipped"
    assert remedy in verdict.details[0]
    assert "$SHOOTING_DATA" in verdict.details[0]


def test_without_time_left_records_are_skipped_not_passed(record):
    (verdict,) = verify([record], minutes=0.0)
    assert verdict.outcome == "skipped"


def test_the_sample_fits_the_time(record):
    known = [changed(record, id=str(i), provenance={"wall_seconds": 40.0}) for i in range(20)]
    chosen = sample(known, seed=1, minutes=5.0)
    assert len(chosen) == 7  # 7 * 40 s <= 300 s
    assert [r.id for r in chosen] == [r.id for r in sample(known, seed=1, minutes=5.0)]
    assert [r.id for r in chosen] != [r.id for r in sample(known, seed=2, minutes=5.0)]
    assert len(sample(known, seed=1, minutes=np.inf)) == 20
    assert len(sample(known, seed=1, minutes=0.1)) == 1


def test_only_records_of_a_grid_are_verified(record, folders):
    records.compute(TOY, ToyConfig(label=99), out=folders / "records")
    found, corrupt = committed([TOY])
    assert [r.id for r in found] == [record.id]
    assert corrupt == []


def test_other_data_differ_before_anything_is_trained(record, monkeypatch):
    said = ["data of seed 0 (toy): recorded 1, now 2; rule: equal everywhere"]
    monkeypatch.setattr(verification.data_checksums, "differences", lambda config, known: said)
    monkeypatch.setattr(records, "recompute", None)  # would fail if it were called
    assert (check(record).outcome, *check(record).details) == ("differs", *said)


def test_a_record_that_contradicts_itself_differs_before_anything_is_trained(record, monkeypatch):
    monkeypatch.setattr(records, "recompute", None)  # would fail if it were called
    forged = changed(record, provenance={"status": "failed: 1 of 3 runs"})
    assert verification.contradictions([record]) == []
    (verdict,) = verification.contradictions([record, forged])
    assert verdict == check(forged)
    assert verdict.outcome == "differs"
    assert verdict.details == ("status: recorded 'failed: 1 of 3 runs', by failed_at 'done'",)
