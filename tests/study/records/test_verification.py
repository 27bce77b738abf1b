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
from shooting.study.records.verification import check, committed, compare, sample, verify, widened

pytestmark = pytest.mark.usefixtures("folders")

CONFIG = TOY.grid("paper")[0]


@pytest.fixture
def record(folders):
    return records.compute(TOY, CONFIG, out=folders / "records")


def changed(record, **parts):
    """A copy with some parts replaced: dicts are merged."""
    merged = {
        k: {**getattr(record, k), **v} if isinstance(v, dict) else v for k, v in parts.items()
    }
    return dataclasses.replace(record, **merged)


def elsewhere(record):
    return changed(record, provenance={"processor": "another"})


def test_an_honest_record_is_equal(record):
    verdict = check(record)
    assert verdict.outcome == "equal"
    assert verdict.details == ()


def test_verification_touches_no_record_and_no_checkpoint(record, folders):
    before = {p: p.stat().st_mtime_ns for p in folders.rglob("*") if p.is_file()}
    check(record)
    assert {p: p.stat().st_mtime_ns for p in folders.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("part", ["metrics", "arrays", "early", "facts", "failed_at"])
def test_the_last_bit_counts_on_the_same_machine(record, part):
    value = getattr(record, part)
    if isinstance(value, dict):
        name = next(iter(value))
        value = {name: value[name] + 1 if part == "facts" else np.nextafter(value[name], np.inf)}
    else:
        value = value + 1 if part == "failed_at" else np.nextafter(value, np.inf)
    (problem, *_) = compare(record, changed(record, **{part: value}))
    assert "recorded" in problem
    assert "now" in problem
    assert "rule: equal" in problem


def test_other_shapes_and_names_count_on_the_same_machine(record):
    """Comparing only what both sides have, or what broadcasts, would find nothing."""
    other = changed(record, arrays={"history": record.arrays["history"][:1]})
    more = changed(record, metrics={"accuracy": record.metrics["loss"]})
    assert "shape recorded (20, 3), now (1, 3)" in compare(record, other)[0]
    for pair in [(record, more), (more, record)]:
        assert "metric accuracy is in one of the two only" in compare(*pair)[0]


@pytest.mark.parametrize(("factor", "same"), [(1 + 1e-12, True), (1 + 1e-6, False)])
def test_a_baseline_may_differ_in_last_bits(record, factor, same):
    """Its linear algebra may have been shared among another number of threads."""
    was = changed(record, facts={"baseline: ridge": 0.1})
    now = changed(record, facts={"baseline: ridge": 0.1 * factor})
    assert (compare(was, now) == []) == same


@pytest.mark.parametrize("key", verification.MACHINE)
def test_any_other_machine_or_version_gets_the_other_rules(record, key):
    other = changed(record, provenance={key: "another"})
    nudged = changed(other, metrics={"loss": record.metrics["loss"] * (1 + 1e-6)})
    assert compare(record, nudged) == []


def test_elsewhere_equal_bits_are_equal_and_others_agree(record):
    assert check(elsewhere(record)).outcome == "equal"
    nudged = {"loss": record.metrics["loss"] * (1 + 1e-6)}
    assert check(changed(elsewhere(record), metrics=nudged)).outcome == "agrees"


def test_early_losses_elsewhere_agree_to_four_digits(record):
    near = changed(elsewhere(record), early=record.early * (1 + 0.9e-4))
    far = changed(elsewhere(record), early=record.early * (1 + 1.1e-4))
    assert compare(record, near) == []
    assert "within 0.0001 relative" in compare(record, far)[0]


def test_other_numbers_of_steps_or_runs_elsewhere_are_a_difference(record):
    fewer = changed(elsewhere(record), early=record.early[:7])
    assert "rule: same shape" in compare(record, fewer)[0]
    assert "rule: same shape" in compare(record, changed(fewer, early=record.early[:, :1]))[0]


def test_the_last_training_loss_elsewhere_stays_in_the_widened_range(record):
    """Also of experiments whose metrics hold no ``loss``."""
    old = dataclasses.replace(record, metrics={})
    history = record.arrays["history"].copy()
    assert compare(old, elsewhere(old)) == []
    history[-1, 2] = 2 * history[-1].max()
    (problem,) = compare(old, changed(elsewhere(old), arrays={"history": history}))
    assert "last training loss of run 2" in problem


def test_counts_elsewhere_are_equal(record):
    (problem,) = compare(record, changed(elsewhere(record), facts={"parameters": 7}))
    assert problem == "parameters: recorded 6, now 7; rule: counts are equal"


def test_final_losses_elsewhere_stay_in_the_widened_range(record):
    low, high = widened(record.metrics["loss"])
    inside = changed(elsewhere(record), metrics={"loss": np.array([low, high, low])})
    outside = changed(elsewhere(record), metrics={"loss": np.array([low, high * 1.001, low])})
    assert compare(record, inside) == []
    (problem,) = compare(record, outside)
    assert "run 1" in problem
    assert "widened by 10%" in problem


def test_a_run_that_fails_elsewhere_only_is_a_difference(record):
    loss = np.array([np.nan, *record.metrics["loss"][1:]])
    failed = np.array([3, -1, -1])
    assert compare(record, changed(elsewhere(record), metrics={"loss": loss}, failed_at=failed))


def test_measured_facts_elsewhere_are_no_counts(record):
    """The error of a predictor without a network is a fact too, and moves in its last bits."""
    was = changed(record, facts={"error": 0.1, "parameters": 6})
    now = changed(elsewhere(was), facts={"error": 0.1 * (1 + 1e-12)})
    assert compare(was, now) == []
    assert compare(was, changed(now, facts={"parameters": 6.5}))  # control


def test_facts_elsewhere_are_all_there_and_baselines_close(record):
    was = changed(record, facts={"parameters": 6, "baseline: ridge": 0.1})
    now = elsewhere(was)
    gone = compare(was, dataclasses.replace(now, facts={"parameters": 6}))
    assert gone == ["baseline: ridge is in one of the two only; rule: same names"]
    (problem,) = compare(was, changed(now, facts={"baseline: ridge": 0.2}))
    assert problem.endswith("rule: close")


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


def test_range_of_one_run_is_widened_by_its_value():
    assert widened(np.array([2.0])) == pytest.approx((1.8, 2.2))
    assert widened(np.array([1.0, 2.0])) == pytest.approx((0.9, 2.1))


def test_failed_runs_do_not_widen_the_range(record):
    poisoned = records.compute(TOY, ToyConfig(poison=1))
    assert compare(poisoned, elsewhere(poisoned)) == []
    assert check(poisoned).outcome == "equal"


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
