"""The figure of the kicks, from made-up runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study.claims.loading import Runs
from shooting.study.experiments.kicks import names, setting
from shooting.study.figures import kicks as draw


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made(level):
    metrics = {m: level * np.linspace(0.9, 1.1, 5) for m in draw.METRICS}
    return Runs(setting("smooth", "paper", 16), metrics, ("id",))


def test_each_run_stands_relative_to_the_smooth_median():
    by = {(n, "paper", 16): made(2.0) for n in names()}
    by["kicked", "paper", 16] = made(1.0)
    fig = draw.strips(by, 16)
    first, other = fig.axes[0], fig.axes[2]
    assert len(first.lines) == 1 + 2 * len(names())
    medians = [line.get_xdata()[0] for line in first.lines[2::2]]
    # halves and ones of one median: exact up to rounding
    assert np.allclose(medians, [0.5 if n == "kicked" else 1 for n in names()])
    assert not other.lines  # the other protocol has no records
    assert [t.get_text() for t in first.get_yticklabels()] == names()
    fig.canvas.draw()


def test_a_setting_without_a_record_leaves_its_row_empty():
    by = {("smooth", "released", 64): made(1.0)}
    fig = draw.strips(by, 64)
    assert [len(ax.lines) for ax in fig.axes] == [0, 0, 3, 3]
    assert not draw.strips(by, 16).axes[0].lines  # control: another alpha


class Threes:
    """A run with the same error at each angle."""

    def __init__(self, level):
        self.arrays = {"misses": np.full((1, 16), level)}


def test_each_run_of_the_threes_is_a_line_over_the_angles():
    fig = draw.by_angle({1: (Threes(0.2), Threes(0.1)), 2: (Threes(0.4), Threes(0.3))})
    _, *lines = fig.axes[0].lines  # the first marks the angle left out
    assert [line.get_ydata()[0] for line in lines] == [0.2, 0.1, 0.4, 0.3]
    assert lines[0].get_xdata()[[0, -1]].tolist() == [0, 360]
    assert len({line.get_color() for line in lines}) == 2
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == [
        "without kicks",
        "with kicks",
    ]
    fig.canvas.draw()
