"""The rule of verdicts: it can fail, failures are not hidden, undecided is said."""

import numpy as np
import pytest

from shooting.study.claims import Part, combine, compare, median_interval
from shooting.study.claims.rule import (
    NOT,
    PARTLY,
    REPRODUCED,
    alike,
    held,
    outcome,
    tally,
    threshold,
)

LOW, HIGH = np.linspace(0, 1, 10), np.linspace(3, 4, 10)


def test_the_three_verdicts_of_a_comparison():
    assert compare("clear", LOW, HIGH).status == REPRODUCED
    assert compare("hardly", LOW, LOW + 0.01).status == PARTLY
    assert compare("equal", LOW, LOW).status == NOT
    assert compare("wrong way", HIGH, LOW).status == NOT


def test_a_comparison_says_how_many_runs_it_has_and_whether_they_decide():
    hardly, against = compare("", LOW + 0.01, LOW), compare("", HIGH, LOW)
    assert (hardly.status, against.status) == (NOT, NOT)
    assert hardly.is_undecided  # the interval holds zero, only the sign is against the claim
    assert not against.is_undecided
    assert not compare("", LOW, LOW + 0.01).is_undecided  # partly says it already
    assert compare("", LOW, LOW[:4]).runs == (10, 4)
    assert threshold("", LOW, 2.0).runs == (10, 0)
    assert threshold("", LOW, 2.0, below=False).runs == (0, 10)
    assert not Part("single runs", (2.0, 2.0), (0.0, 0.0), NOT, (1, 1)).is_undecided


def test_a_rate_is_undecided_where_its_interval_holds_the_one_claimed():
    def judged(low, high):
        return Part("rate", (0.0, 0.08), (low, high), NOT, (50, 0), is_rate=True)

    assert not judged(0.0, 0.071).is_undecided  # 0 of 50 do decide against 8 %
    assert judged(0.02, 0.15).is_undecided
    assert not judged(0.2, 0.4).is_undecided


def test_the_interval_covers_the_difference_and_repeats():
    low, high = median_interval(LOW, HIGH)
    assert low < np.median(HIGH) - np.median(LOW) < high
    assert (low, high) == median_interval(LOW, HIGH)


def test_failed_runs_are_infinitely_bad():
    broken = np.where(np.arange(10) < 6, np.nan, LOW)
    assert compare("six of ten failed", broken, HIGH).status == NOT
    assert compare("the rival failed", LOW, np.full(10, np.nan)).status == REPRODUCED


@pytest.mark.parametrize("below", [True, False])
def test_failed_runs_count_against_a_bound(below):
    good = np.full(10, 1.0 if below else 3.0)
    assert threshold("met", good, 2.0, below=below).status == REPRODUCED
    failed = np.full(10, np.nan)
    assert threshold("failed", failed, 2.0, below=below).status == NOT
    assert threshold("missed", 4.0 - good, 2.0, below=below).status == NOT


def test_a_verdict_stands_behind_its_counts():
    yes, no = compare("", LOW, LOW + 3.0), compare("", LOW, LOW - 3.0)
    assert combine([yes, yes, no]).counted == "2 of 3 comparisons hold: partly"
    assert combine([yes, no]).counted == "1 of 2 comparisons holds: partly"
    assert combine([yes], found="Found.").line == "Found. (one comparison: reproduced)"
    almost = compare("", LOW, LOW + 0.01)
    assert combine([yes, almost]).reason == "1 of 2 comparisons holds, 1 partly"
    assert [combine([p]).counted for p in (yes, almost, no)] == [
        f"one comparison: {status}" for status in (REPRODUCED, PARTLY, NOT)
    ]


def test_what_became_of_comparisons_is_a_clause():
    yes, no = compare("", LOW, LOW + 3.0), compare("", LOW, LOW - 3.0)
    almost = compare("", LOW, LOW + 0.01)
    assert [held([p]) for p in (yes, almost, no)] == [
        "the comparison holds",
        "the comparison holds partly",
        "the comparison does not hold",
    ]
    assert held([yes, no]) == "1 of 2 comparisons holds"
    assert held([almost, no]) == "0 of 2 comparisons hold"
    assert tally([yes, yes]) == "2 of 2 comparisons"


def test_without_a_sentence_the_range_of_effects_is_said():
    two = [compare("", LOW + 1, LOW + 2), compare("", LOW + 1, 2 * (LOW + 1))]
    assert combine(two).found == (
        "The effects (1 at the criterion, more as claimed) are 1.67 to 2.00."  # 2.5 / 1.5, 3 / 1.5
    )


def test_no_sentence_about_two_failed_sides():
    failed = np.full(10, np.nan)
    part = compare("", failed, failed)
    assert combine([part], found="The loss is lower.").found == (
        "In 1 of 1 comparisons most runs of both sides failed."
    )
    half = compare("", LOW + 1, failed)
    assert combine([half], found="The loss is lower.").found == (
        "The loss is lower. In 1 of 1 comparisons most runs of one side failed."
    )
    told = combine([compare("", LOW + 1, HIGH), part]).found  # the other comparison is still told
    assert told == (
        "The effects (1 at the criterion, more as claimed) are 2.33 to 2.33. "  # 3.5 / 1.5
        "In 1 of 2 comparisons most runs of both sides failed."
    )


def test_the_effect_is_a_ratio_beside_the_verdict():
    part = compare("", LOW + 1, HIGH)
    assert part.effect.value == pytest.approx(3.5 / 1.5)
    assert threshold("", HIGH, 7.0).effect.value == pytest.approx(2.0)
    assert threshold("", HIGH, 7.0, below=False).effect.value == pytest.approx(0.5)
    logs = compare("", LOW, LOW + 3.0, logs=True)
    assert logs.effect.value == pytest.approx(8.0)
    assert logs.status == compare("", LOW, LOW + 3.0).status  # the verdict does not depend on it
    assert Part("one run each", (2.0, 3.0), (1.0, 1.0), REPRODUCED, (1, 1)).effect.interval is None
    rate = Part("rate", (0.1, 0.04), (0.04, 0.2), REPRODUCED, (50, 0), is_rate=True)
    assert (rate.effect.value, rate.effect.interval) == (0.1, (0.04, 0.2))


def test_a_claim_is_as_good_as_its_parts():
    yes, almost, no = (compare("", LOW, LOW + d) for d in (3.0, 0.01, -3.0))
    assert combine([yes, yes]).status == REPRODUCED
    assert combine([yes, almost]).status == PARTLY
    assert combine([yes, no]).status == PARTLY
    assert combine([no, no]).status == NOT


def test_two_sides_that_failed_are_not_alike():
    assert alike("", np.full(10, np.nan), np.full(10, np.nan)).status == NOT
    assert alike("", np.full(10, np.nan), LOW).status == NOT
    assert alike("", LOW, LOW).status == REPRODUCED  # control


def test_an_interval_that_ends_at_zero_holds_it():
    horizon = np.full(10, 30.0)  # all runs follow to the end
    assert alike("", horizon, horizon).status == REPRODUCED
    assert outcome(horizon, horizon) == "tie"
