"""Numbers in words: short, and true of failed and infinite values too."""

import numpy as np
import pytest

from shooting.study.claims import words
from shooting.study.claims.rule import compare


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.14463, "0.145"), (1234.5, "1,234"), (np.nan, "failed"), (np.inf, "infinite")],
)
def test_numbers(value, written):
    assert words.number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.4764, "0.48"), (0.0294, "0.029"), (1.0, "1.00"), (20.104, "20.1"), (np.inf, "infinite")],
)
def test_shares(value, written):
    assert words.share(value) == written


def test_ranges_and_lists():
    assert words.shares([0.94, 0.48, 0.7]) == "0.48 to 0.94"
    assert words.shares([0.501, 0.502]) == "0.50"
    assert words.listed([5, 10, 20]) == "5, 10 and 20"
    assert words.listed(["one"]) == "one"
    assert words.percent(0.267) == "26.7"
    assert words.percent(0.04) == "4"
    assert words.percent(-np.inf) == "infinite"


def test_runs_that_fit_leave_less_than_the_bound_and_did_not_fail():
    assert words.fitted([0.1, 0.3, np.nan, 0.2], 0.25) == 2


def test_the_side_claimed_lower_as_a_share_of_the_other_with_its_interval():
    low, high = np.full(10, 2.0), np.full(10, 8.0)
    assert words.with_interval(compare("", low, high)) == "0.25 (95 % interval 0.25 to 0.25)"
    assert words.lower_share(compare("", high, low)) == pytest.approx(4.0)
    assert words.inverse(0.0) == np.inf


def test_the_printed_interval_is_in_order_and_holds_the_share():
    rng = np.random.default_rng(0)
    part = compare("", rng.uniform(1, 2, 10), rng.uniform(4, 8, 10))
    ends = words.with_interval(part).partition("interval ")[2].rstrip(")").split(" to ")
    assert float(ends[0]) < words.lower_share(part) < float(ends[1])
