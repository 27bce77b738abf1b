"""Figures of the circles, from synthetic records."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.experiments.circles import CirclesConfig
from shooting.study.experiments.circles import grid as circles_grid
from shooting.study.figures import circles


def circles_record(config, fits=1.0):
    runs = len(config.seeds)
    cost = np.linspace(1, 2, runs) / config.inflation
    names = ("penalty", "complexity", "path_length")
    return SimpleNamespace(
        config=config,
        metrics={"fits": np.full(runs, fits), **dict.fromkeys(names, cost)},
        arrays={"flow": np.zeros((1, 11, 120, 2)), "decision": np.linspace(-1, 1, 41 * 41)[None]},
    )


def test_success_rates_have_a_line_per_inflation_and_wilson_bars():
    chosen = [c for c in circles_grid("paper") if c.protocol == "paper"]
    fig = circles.success_by_weight([circles_record(c, fits=0.0) for c in chosen])
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["α = 5", "α = 10", "α = 20"]
    top = max(segment[1, 1] for segment in ax.collections[0].get_segments())
    assert top == pytest.approx(7.14, abs=0.01)  # 0 of 50: the upper end z²/(50 + z²)


def test_a_bar_ends_at_the_rate_where_all_runs_succeed():
    """Wilson's upper end at 50 of 50 is 1 but for rounding: a bar of negative length is refused."""
    chosen = [c for c in circles_grid("paper") if c.protocol == "paper"]
    fig = circles.success_by_weight([circles_record(c, fits=1.0) for c in chosen])
    for bars in fig.axes[0].collections:
        assert all(segment[1, 1] == 100 for segment in bars.get_segments())


def test_a_failed_run_is_no_success():
    record = circles_record(CirclesConfig(seeds=(0, 1, 2)))
    record.metrics["fits"] = np.array([1.0, np.nan, 0.0])
    assert circles.successes(record) == (1, 3)


def test_cost_and_flow():
    loud = [CirclesConfig(inflation=a, classification=w) for a in (5, 10, 20) for w in (5.0, 10.0)]
    records = [circles_record(c) for c in loud]
    assert len(circles.cost_by_inflation(records).axes) == 3
    fig = circles.flows([circles_record(replace(c, classification=10.0)) for c in loud[::2]])
    titles = [ax.get_title("left") for ax in fig.axes]
    assert titles == [f"α = {a}, λ = 10" for a in (5, 10, 20)]
    fig.canvas.draw()
