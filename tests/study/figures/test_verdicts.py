"""The picture of all verdicts: effects where they belong, what lies beyond the axis as arrows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shooting.study.claims.registry import Claim
from shooting.study.claims.rule import NOT_RUN, Part, Verdict, combine, compare
from shooting.study.figures import verdicts
from shooting.study.figures.verdicts import REACH, forest, median_effect

LOW = np.linspace(1, 1.1, 10)
RATE = Part("rate at α = 5", (0.1, 0.04), (0.04, 0.2), "reproduced", (50, 0), is_rate=True)


def claim(name, page="13_circles", short="short"):
    return Claim(name, "Fig. 2", "It is low.", page=f"notebooks/{page}", short=short)


def ratios(*values):
    return combine([compare(f"{v}", LOW, v * LOW) for v in values])


def drawn(fig, size):
    """Places of the markers of one size, and their shapes, from the panel of effects."""
    return [
        (float(line.get_xdata()[0]), line.get_marker())
        for line in fig.axes[0].get_lines()
        if line.get_marker() != "None" and line.get_markersize() == size
    ]


def test_a_row_shows_each_comparison_and_their_median_by_the_verdict():
    judged = [(claim("K1"), ratios(2.0, 4.0, 8.0)), (claim("K2"), ratios(0.5, 0.25))]
    fig = forest([*judged, (claim("K3"), combine([RATE]))])
    assert [x for x, _ in drawn(fig, 2.6)] == pytest.approx([2, 4, 8, 0.5, 0.25])
    bold = drawn(fig, 8)
    assert [x for x, _ in bold] == pytest.approx([4.0, 8**-0.5])
    assert [shape for _, shape in bold] == ["o", "X"]
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert labels == ["Concentric circles", "short  K1  3/3", "short  K2  0/2"]
    (label,) = (t.get_text() for t in fig.axes[1].get_yticklabels())
    assert label == "rate at α = 5  K3"


def test_what_lies_beyond_the_axis_is_an_arrow_at_its_end():
    failed = compare("", LOW, np.full(10, np.nan))
    fig = forest([(claim("K1"), combine([failed])), (claim("K2"), ratios(0.001))])
    places = drawn(fig, 2.6)
    assert {p for p in places if p[1] == ">"} == {(REACH, ">")}
    assert {p for p in places if p[1] == "<"} == {(1 / REACH, "<")}
    assert not [p for p in places if p[1] == "o"]
    fig.canvas.draw()


def test_single_runs_are_hollow():
    one = Part("one", (1.0, 2.0), (1.0, 1.0), "reproduced", (1, 1))
    fig = forest([(claim("K1"), combine([one])), (claim("K2"), ratios(2.0))])
    small = [ln for ln in fig.axes[0].get_lines() if ln.get_markersize() == 2.6]
    assert [ln.get_markerfacecolor() == "white" for ln in small] == [True, False]


def test_a_claim_that_was_not_run_is_grey_and_says_so():
    fig = forest([(claim("K1"), ratios(2.0)), (claim("K2"), Verdict(NOT_RUN, "missing"))])
    last = fig.axes[0].get_yticklabels()[-1]
    assert last.get_text() == "short  K2  not run"
    assert last.get_color() == verdicts.PALE


def test_the_median_is_taken_on_the_logarithmic_axis():
    assert median_effect(ratios(2.0, 8.0).parts) == pytest.approx(4.0)
    assert median_effect(ratios(1e9, 1e9).parts) == pytest.approx(REACH)


def test_a_dagger_marks_what_was_added_later():
    late = replace(claim("K9b"), added=True)
    fig = forest([(late, ratios(2.0)), (claim("K1"), ratios(2.0))])
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert labels[1:] == ["short  K9b†  1/1", "short  K1  1/1"]


def test_the_star_and_other_colours():
    red = dict.fromkeys(verdicts.SHAPES, "red")
    fig = forest([(claim("K5-released", short=""), ratios(2.0))], colours=red)
    assert fig.axes[0].get_yticklabels()[-1].get_text() == "K5*  1/1"
    assert {ln.get_color() for ln in fig.axes[0].get_lines() if ln.get_markersize() == 8} == {"red"}
