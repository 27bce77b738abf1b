"""Verification finds what it must, by its rules and no others."""

from __future__ import annotations

import dataclasses
import time

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


@pytest.mark.parametrize("seconds", [np.inf, 0.0])
def test_trainings_run_in_single_precision_whatever_the_default(record, monkeypatch, seconds):
    """As they did when they were recorded."""
    seen = []

    def train(config, checkpoint):
        seen.append(torch.get_default_dtype())
        return TOY.train(config, checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    torch.set_default_dtype(torch.float64)
    try:
        assert check(record, seconds=seconds).outcome in ("equal", "agrees")
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == [torch.float32]


def test_code_that_computes_something_else_differs(record, monkeypatch):
    def train(config, checkpoint):
        return TOY.train(dataclasses.replace(config, rate=0.0501), checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    for seconds in (np.inf, 0.0):
        verdict = check(record, seconds=seconds)
        assert verdict.outcome == "differs"
        assert "recorded" in verdict.details[0]


def epochs_trained(monkeypatch, *, slow=0.0):
    """How many epochs each training asks its checkpoint about, each so many seconds longer."""
    counts = []

    def train(config, checkpoint):
        counts.append(0)
        asked = checkpoint.due

        def due():
            counts[-1] += 1
            time.sleep(slow)
            return asked()

        checkpoint.due = due
        return TOY.train(config, checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    return counts


def test_long_records_are_checked_over_their_first_steps(record, monkeypatch):
    counts = epochs_trained(monkeypatch)
    assert check(record, seconds=0.0).outcome == "agrees"
    slow = changed(record, provenance={"wall_seconds": 100.0})
    (verdict,) = verify([slow], minutes=1.0)
    assert verdict.outcome == "agrees"
    assert check(record).outcome == "equal"  # the control: all epochs
    assert counts[0] == counts[1] < counts[2]


def test_a_record_is_skipped_whose_epoch_is_longer_than_the_time_left(record, monkeypatch):
    """A training stops after an epoch, not within."""
    counts = epochs_trained(monkeypatch)
    slow = changed(record, provenance={"wall_seconds": 3600.0})
    (verdict,) = verify([slow], minutes=1.0)
    assert verdict.outcome == "skipped"
    seconds = round(1.5 * 3600 / record.config.epochs)
    assert f"an epoch may take {seconds} s, and 60 s are left; try --sample 1" in verdict.details
    assert counts == []


def test_a_training_that_turns_out_slow_stops_at_the_end_of_the_time(record, monkeypatch):
    """Recorded as quick; on this machine each epoch takes longer."""
    counts = epochs_trained(monkeypatch, slow=0.02)
    (verdict,) = verify([record], minutes=0.1 / 60)
    assert verdict.outcome == "agrees"
    assert counts[0] < record.config.epochs - 1


def test_runs_that_stop_now_and_did_not_are_a_difference(record, monkeypatch):
    def train(config, checkpoint):
        raise NonFiniteError("NaN in every run", [3] * len(record.failed))

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    verdict = check(record, seconds=0.0)
    assert verdict.outcome == "differs"
    assert "run 0: recorded ended well, now failed at step 3" in "".join(verdict.details)


def test_without_first_steps_and_time_there_is_nothing_to_compare(record):
    """As in a record all of whose runs stopped: it has no losses."""
    assert check(changed(record, early=record.early[:0]), seconds=0.0).outcome == "skipped"


def test_missing_data_are_skipped_with_the_reason(record, monkeypatch):
    def train(config, checkpoint):
        raise MissingDataError("no digits here; install them")

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
    verdict = check(record)
    assert verdict.outcome == "skipped"
    assert verdict.details == ("no digits here; install them",)


@pytest.mark.parametrize("seconds", [np.inf, 0.0])
@pytest.mark.parametrize(
    ("experiment", "config", "remedy"),
    [
        ("convex_trap", TrapConfig(source="authors-seeds"), "released code"),
        ("rotating_mnist", RotatingConfig(source="mnist-test"), "make data fetches them"),
    ],
)
def test_files_that_no_package_ships_are_skipped_with_the_remedy(
    record, monkeypatch, tmp_path, experiment, config, remedy, seconds
):
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    monkeypatch.setattr(verification.identities, "problems", lambda record: [])  # it is the toy's
    rotating_mnist.sequences.cache_clear()  # a test before this one may have found the files
    verdict = check(changed(record, experiment=experiment, config=config), seconds=seconds)
    assert verdict.outcome == "skipped"
    assert remedy in verdict.details[0]
    assert "$SHOOTING_DATA" in verdict.details[0]


def test_without_time_left_records_are_skipped_not_passed(record):
    (verdict,) = verify([record], minutes=0.0)
    assert verdict.outcome == "skipped"


def test_the_sample_fits_the_time(record):
    known = [changed(record, id=str(i), provenance={"wall_seconds": 40.0}) for i in range(20)]
    chosen = sample(known, seed=1, minutes=5.0)
    assert len(chosen) == 5  # 5 * 40 s, each half as much again, <= 300 s
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
