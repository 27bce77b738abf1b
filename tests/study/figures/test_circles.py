"""Figures of the circles, from synthetic records."""

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
    assert [t.get_text() for t in ax.texts[:3]] == ["α = 5", "α = 10", "α = 20"]
    top = max(segment[1, 1] for segment in ax.collections[0].get_segments())
    assert top == pytest.approx(7.14, abs=0.01)  # 0 of 50: the upper end z²/(50 + z²)


def test_a_line_is_named_where_it_passes_a_half():
    """From 0 at weight 0.5 to 1 at weight 2: a half in the middle, on the logarithmic axis 1."""
    chosen = [CirclesConfig(classification=w) for w in (0.5, 2.0)]
    records = [circles_record(c, fits=f) for c, f in zip(chosen, (0.0, 1.0), strict=True)]
    (ax,) = circles.success_by_weight(records, published={5: 0.04}).axes
    shift = 1.03  # by which the first line is moved aside
    assert ax.texts[0].xy == pytest.approx((1 / shift, 50))
    assert "published, λ unknown" in {t.get_text() for t in ax.texts}
    (ax,) = circles.success_by_weight(records[:1]).axes  # control: no crossing, the last point
    assert ax.texts[0].xy == pytest.approx((0.5 / shift, 0))


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


def test_cost_has_a_named_line_per_weight():
    loud = [CirclesConfig(inflation=a, classification=w) for a in (5, 10, 20) for w in (5.0, 10.0)]
    fig = circles.cost_by_inflation([circles_record(c) for c in loud])
    assert len(fig.axes) == 3
    assert [t.get_text() for t in fig.axes[0].texts] == ["λ = 5", "λ = 10"]


def test_snapshots_have_a_row_per_run_and_four_depths():
    found = circles.recorded([circles_record(CirclesConfig(inflation=a)) for a in (5, 20)])
    axes = np.reshape(circles.snapshots(found).axes, (2, 4))
    assert [ax.get_title("left") for ax in axes[0]] == ["t = 0", "t = 0.3", "t = 0.7", "t = 1"]
    assert [row[0].get_ylabel() for row in axes] == ["α = 5", "α = 20"]
    assert not axes[0, 0].lines  # records hold no grid


def test_the_grid_travels_and_the_border_is_drawn_at_the_exit():
    depths = np.linspace(0, 1, 11)[:, None, None, None]
    axis = np.linspace(-2, 2, 41)
    plane = np.stack(np.meshgrid(axis, axis), -1)
    grid = plane[None] * (1 - depths / 2)  # shrinks to a half
    moving = circles.Journey("own", np.zeros((11, 120, 2)), grid, plane[..., 0].ravel())
    axes = circles.snapshots([moving]).axes
    widths = [max(np.ptp(line.get_xdata()) for line in ax.lines) for ax in axes]
    assert widths == pytest.approx([4, 3.4, 2.6, 2])
    lines = [[p for c in ax.collections for p in c.get_paths() if len(p) == 41] for ax in axes]
    assert [len(found) for found in lines] == [0, 0, 0, 1]
    assert lines[-1][0].vertices[:, 0] == pytest.approx(np.zeros(41))


def test_a_run_that_failed_leaves_an_empty_row():
    record = circles_record(CirclesConfig())
    record.arrays = {}
    assert circles.recorded([record]) == []
    circles.snapshots([]).canvas.draw()
