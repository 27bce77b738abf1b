"""Effects: ratios of medians on the claimed side above 1, failed runs infinitely bad."""

import numpy as np
import pytest

from shooting.study.claims.effects import log_ratio, middle, ratio, resampled

LOW, HIGH = np.linspace(1, 2, 10), np.linspace(3, 4, 10)


def test_a_ratio_is_other_by_lower():
    np.testing.assert_array_equal(ratio(np.array([2.0, 4.0]), np.array([4.0, 2.0])), [2.0, 0.5])


@pytest.mark.parametrize(
    ("lower", "other", "expected"),
    [
        (1.0, np.inf, np.inf),  # the other side failed
        (np.inf, 1.0, 0.0),  # the side claimed lower failed
        (np.inf, np.inf, 1.0),
        (0.0, 0.0, 1.0),
        (0.0, 2.0, np.inf),
        (2.0, -np.inf, 0.0),  # failed runs below a bound
        (-1.0, 2.0, np.nan),  # no ratio of what can be negative
    ],
)
def test_failed_sides_and_zeros_have_a_ratio(lower, other, expected):
    np.testing.assert_equal(float(ratio(lower, other)), expected)


def test_a_ratio_of_logarithms_to_base_two():
    assert float(log_ratio(-2.0, 1.0)) == 8.0
    assert float(log_ratio(np.inf, np.inf)) == 1.0
    assert float(log_ratio(np.inf, 1.0)) == 0.0


def test_intervals_of_ratio_and_difference_come_from_the_same_resamples():
    first, second = resampled(LOW, HIGH)
    assert first.shape == second.shape == (10_000,)
    np.testing.assert_array_equal(first, resampled(LOW, HIGH)[0])  # a function of the runs alone
    low, high = middle(ratio(first, second))
    assert low < np.median(HIGH) / np.median(LOW) < high
    # independent: quantiles of the sorted ratios, 250th from either end of 10,000
    ordered = np.sort(second / first)
    assert (low, high) == (ordered[249], ordered[9749])


def test_control_the_interval_of_equal_sides_holds_one():
    low, high = middle(ratio(*resampled(LOW, LOW)))
    assert low < 1 < high
