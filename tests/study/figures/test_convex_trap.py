"""Figures of the convex trap, from made-up records."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study.claims.convex_trap import level
from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import TRACED, TrapConfig, marks
from shooting.study.experiments.convexity import best_convex, named
from shooting.study.figures import convex_trap as draw

X = np.linspace(-BOUND, BOUND, 101)
TARGET = named("quadratic-like")(X)
BEST = best_convex(named("quadratic-like"), points=101).values


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made(stuck=(0,), **changes):
    """Runs that end on the best convex function or on the target itself."""
    config = TrapConfig(**{"film": True, **changes})
    runs = len(config.seeds)
    held = np.isin(np.arange(runs), stuck)
    mse = level("quadratic-like") * np.where(held, 1.05, 0.05)
    ends = np.where(held[:, None], BEST, TARGET).astype(np.float32)
    looks = len(marks(config))
    trace = np.ones((runs, looks, len(TRACED)))
    trace[..., 0] = mse[:, None]
    return SimpleNamespace(
        config=config,
        metrics={"mse": mse, "loss": 100 * mse + 0.2},
        arrays={
            "fit": ends,
            "film": np.repeat(ends[:, None], looks, 1),
            "trace": trace,
        },
    )


def bent(ax):
    """Number of points drawn as bending downwards."""
    line = ax.lines[-1]
    return int(np.isfinite(line.get_ydata()).sum())


def test_film_marks_where_a_curve_bends_downwards():
    record = made(seeds=(0, 3))
    fig = draw.film([("stuck", record, 0), ("free", record, 1)], [0, 50])
    grid = np.array(fig.axes).reshape(2, 3)
    assert [bent(ax) for ax in grid[0]] == [0, 0, 0]
    assert all(bent(ax) > 20 for ax in grid[1])
    assert [ax.get_title("left") for ax in grid[0]] == ["epoch 0", "epoch 50", "epoch 500"]
    fig.canvas.draw()


def test_film_shows_the_look_before_an_epoch():
    record = made(seeds=(0, 3))
    record.arrays["film"][0, 5] = 7.0
    fig = draw.film([("stuck", record, 0)], [49, 50, 59, 60])
    heights = [ax.lines[2].get_ydata()[0] for ax in fig.axes]
    assert [h == 7.0 for h in heights] == [False, True, True, False, False]


def test_random_fields_mark_what_bends_and_count_all():
    parabolas = np.arange(1, 5)[:, None] * X**2
    fig = draw.random_fields({"up": parabolas, "down": -parabolas}, most=3)
    up, down = fig.axes
    assert [ax.get_title("left").split("\n") for ax in fig.axes] == [
        ["up", "100 % convex"],
        ["down", "0 % convex"],
    ]
    assert [len(ax.lines) for ax in fig.axes] == [6, 6]
    assert (bent(up), bent(down)) == (0, len(X))
    fig.canvas.draw()


def test_a_single_kink_is_drawn_as_a_piece():
    fig = draw.random_fields({"kink": -np.abs(X)[None]})
    assert bent(fig.axes[0]) == 3


def test_over_epochs_tells_stuck_from_free():
    fig = draw.over_epochs(made(stuck=(0, 1, 2), seeds=tuple(range(10))))
    words = [t.get_text() for t in fig.axes[1].get_legend().get_texts()]
    assert words == ["7 free runs", "3 stuck runs"]
    assert len(fig.axes[1].lines) == 7 + 1 + 3 + 1
    fig.canvas.draw()


def test_strips_have_a_row_and_an_interval_per_setting():
    found = {"a": made(stuck=range(18)), "b": made(stuck=())}
    fig = draw.strips(found)
    left, right = fig.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in right.texts] == ["18/50", "0/50"]
    low, high = right.lines[0].get_xdata()
    assert 0.2 < low < 18 / 50 < high < 0.55
    dots = [len(c.get_offsets()) for c in left.collections]
    assert dots == [32, 18, 50, 0]
    fig.canvas.draw()


def test_ten_and_fifty_count_both():
    theirs = made(stuck=(2, 4, 7, 11, 12))
    fig = draw.ten_and_fifty({"ours": made(stuck=range(18)), "theirs": theirs})
    (ax,) = fig.axes
    counts = [t.get_text().split(", ")[1] for t in ax.texts]
    assert counts == [
        "10 of 10 stuck", "18 of 50 stuck", "3 of 10 stuck", "5 of 50 stuck"
    ]  # fmt: skip
    fig.canvas.draw()
