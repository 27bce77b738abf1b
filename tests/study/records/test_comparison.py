"""Two trainings may differ by the rules, and by no others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy import TOY, ToyConfig

from shooting.fit import EARLY_STEPS
from shooting.study import records
from shooting.study.records import comparison
from shooting.study.records.comparison import compare, drift, widened
from shooting.study.records.verification import check
from tests.study.records.handling import changed, elsewhere

pytestmark = pytest.mark.usefixtures("folders")

CONFIG = TOY.grid("paper")[0]


@pytest.fixture
def record(folders):
    return records.compute(TOY, CONFIG, out=folders / "records")


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
    assert "of shape (20, 3), now float32 of shape (1, 3)" in compare(record, other)[0]
    for pair in [(record, more), (more, record)]:
        assert "metric accuracy is in one of the two only" in compare(*pair)[0]


@pytest.mark.parametrize("processor", ["AMD EPYC", "another"])
def test_an_array_measured_later_may_be_missing_from_the_old_record_only(record, processor):
    about = {**record.provenance, "processor": processor}
    more = {**record.arrays, "errors": record.arrays["history"][-1:]}
    longer = changed(record, arrays=more, provenance=about)
    assert compare(record, longer) == []
    assert "array errors is in one of the two only" in compare(longer, record)[0]
    shifted = {**more, "errors": more["errors"] + 1}  # control: where both have it, it is compared
    assert "array errors" in compare(longer, changed(longer, arrays=shifted))[0]


@pytest.mark.parametrize(("factor", "same"), [(1 + 1e-12, True), (1 + 1e-6, False)])
def test_a_baseline_may_differ_in_last_bits(record, factor, same):
    """Its linear algebra may have been shared among another number of threads."""
    was = changed(record, facts={"baseline: ridge": 0.1})
    now = changed(record, facts={"baseline: ridge": 0.1 * factor})
    assert (compare(was, now) == []) == same


@pytest.mark.parametrize("key", comparison.MACHINE)
def test_any_other_machine_or_version_gets_the_other_rules(record, key):
    other = changed(record, provenance={key: "another"})
    nudged = changed(other, metrics={"loss": record.metrics["loss"] * (1 + 1e-6)})
    assert compare(record, nudged) == []


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
    (problem, *_) = compare(old, changed(elsewhere(old), arrays={"history": history}))
    assert "last training loss of run 2" in problem


def test_counts_elsewhere_are_equal(record):
    (problem,) = compare(record, changed(elsewhere(record), facts={"parameters": 7}))
    assert problem == "parameters: recorded 6, now 7; rule: counts are equal"


def test_final_losses_elsewhere_stay_in_the_widened_range(record):
    """Of few runs, where all have parted; in an ensemble the medians count."""
    low, high = widened(record.metrics["loss"])
    parted = changed(elsewhere(record), arrays={"history": 1.02 * record.arrays["history"]})
    inside = changed(parted, metrics={"loss": np.array([low, high, low])})
    outside = changed(parted, metrics={"loss": np.array([low, high * 1.001, low])})
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


def test_range_of_one_run_is_widened_by_its_value():
    assert widened(np.array([2.0])) == pytest.approx((1.8, 2.2))
    assert widened(np.array([1.0, 2.0])) == pytest.approx((0.9, 2.1))


def test_failed_runs_do_not_widen_the_range(record):
    poisoned = records.compute(TOY, ToyConfig(poison=1))
    assert compare(poisoned, elsewhere(poisoned)) == []
    assert check(poisoned).outcome == "equal"


# --- on another machine: every number, by how far its run has drifted -----------------------


def drifted(record, far):
    """The same training elsewhere, whose losses have drifted so far in run 0."""
    history = record.arrays["history"].astype(np.float64)
    history[:, 0] *= 1 + far
    return changed(elsewhere(record), arrays={"history": history.astype(np.float32)})


def moved(record, part, name, by):
    """Run 0 of a metric or array moved by a part of its spread over seeds."""
    values = getattr(record, part)[name].copy()
    values[0] += by * np.ptp(values, axis=0)
    return changed(record, **{part: {name: values}})


@pytest.mark.parametrize(("part", "name"), [("metrics", "loss"), ("arrays", "parameters")])
@pytest.mark.parametrize(
    ("far", "by", "fine"),
    [(0.0, 0.01, True), (0.0, 0.05, False), (1e-4, 0.05, True), (1e-4, 0.3, False)],
)
def test_a_number_may_be_off_as_far_as_its_run_has_drifted(record, part, name, far, by, fine):
    """A fiftieth of its spread without drift, an eighth after a drift of one in ten thousand."""
    now = moved(drifted(record, far), part, name, by)
    told = [p for p in compare(record, now) if f"{name} of run 0" in p and "its spread" in p]
    assert (told == []) == fine


def test_a_forgery_of_a_tenth_of_the_spread_is_found_whichever_record_it_is_in(record):
    for name, part in (("loss", "metrics"), ("parameters", "arrays")):
        forged = moved(elsewhere(record), part, name, 0.1)
        assert compare(forged, record)
        assert compare(record, forged)
        assert compare(elsewhere(record), record) == []  # control


def test_the_drift_is_that_of_each_run_by_itself(record):
    # up to the rounding of float32, 6e-8
    assert drift(record, drifted(record, 1e-3)) == pytest.approx([1e-3, 0, 0], abs=1e-6)
    without = dataclasses.replace(record, arrays={})
    assert np.isinf(drift(record, without)).all()


def test_names_types_and_shapes_count_elsewhere(record):
    wide = record.arrays["parameters"].astype(np.float64)
    others = [{"parameters": wide}, {"parameters": wide[:2]}, {"more": wide}]
    for arrays in others:
        assert "rule: same" in compare(record, changed(elsewhere(record), arrays=arrays))[0]


@pytest.mark.parametrize(("far", "fine"), [(0.0, False), (0.01, True)])
def test_a_run_may_fail_elsewhere_only_if_it_had_drifted(record, far, fine):
    loss = np.array([np.nan, *record.metrics["loss"][1:]])
    now = changed(drifted(record, far), metrics={"loss": loss}, failed_at=np.array([70, -1, -1]))
    told = [p for p in compare(record, now) if p.startswith("run 0: recorded ended well")]
    assert (told == []) == fine


def test_medians_count_where_all_runs_have_parted():
    was = np.linspace(1.0, 2.0, 10)
    far, near = was + 1.2, was[::-1] + 0.1
    assert list(comparison._medians("metric mse", was, near)) == []
    assert "median recorded 1.5, now 2.7" in next(comparison._medians("metric mse", was, far))
    assert list(comparison._medians("metric mse", was[:4], far[:4])) == []  # too few to say


def test_first_losses_may_be_off_further_where_batches_are_normalised(record):
    near = changed(elsewhere(record), early=record.early * (1 + 4e-2))
    assert comparison.compare_early(record, near.early)
    assert comparison.compare_early(changed(record, experiment="circles"), near.early) == []
    far = record.early * (1 + 6e-2)
    assert comparison.compare_early(changed(record, experiment="circles"), far)


def test_the_page_of_verdicts_states_the_rules(root):
    page = (root / "notebooks" / "40_claims.ipynb").read_text(encoding="utf-8")
    c = comparison
    for said in (
        f"first {EARLY_STEPS} steps are within {c.EARLY_TOLERANCE:.4f} relative",
        f"with BatchNorm within {c.EARLY_OF_NORMALISED:g}",
        f"drifted by more than {c.PARTED:.4f} before",
        f"within {c.CLOSE:g} + {c.GROWTH:g} × drift of its spread",
        f"widened by {c.WIDENING:g} of its span",
        f"fewer than {c.FEW} runs",
    ):
        assert said in page


def test_medians_are_held_to_both_ranges():
    was, now = np.linspace(1.0, 1.1, 10), np.array([0.9] + [5.0] * 9)
    assert list(comparison._medians("metric mse", was, now))
    assert list(comparison._medians("metric mse", now, was))
    assert not list(comparison._medians("metric mse", was, was))  # control


def test_variations_that_are_zero_up_to_rounding_have_room():
    nearly = np.full(3, 1e-9)
    assert comparison.spread("variation/b1", "metric", nearly, np.zeros(3, bool))[()] > 1e-5
