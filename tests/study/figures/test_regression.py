"""Figures of the regression, from synthetic records."""

from types import SimpleNamespace

import numpy as np

from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import grid as regression_grid
from shooting.study.figures import regression


def test_all_inflations_draw_median_and_quartiles_of_every_run():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])  # the last is no outlier here
    chosen = [c for c in regression_grid("paper") if len(c.seeds) == 10]
    metrics = {"loss": values, "complexity": -values}
    results = [SimpleNamespace(config=c, metrics=metrics, arrays={}) for c in chosen]
    fig = regression.all_inflations(results)
    assert len(fig.axes) == 4
    for ax in fig.axes:
        assert len(ax.containers) == len(MODELS)
        for line, _, (bars,) in ax.containers:
            assert len(line.get_xdata()) == len({c.inflation for c in chosen})
            assert set(np.abs(line.get_ydata())) == {3.0}
            assert {tuple(np.abs(s[:, 1])) for s in bars.get_segments()} <= {(2.0, 4.0), (4.0, 2.0)}
    fig.canvas.draw()


def test_a_weight_that_hardly_changes_looks_so():
    """Every axis of the weights contains zero: the axes of Matplotlib's own choice do not."""
    nearly = 0.5 + 1e-6 * np.arange(22.0).reshape(1, 11, 2)
    blocks = {
        f"theta/{n}": s * nearly
        for n, s in zip(("theta1", "b1", "theta2", "b2", "theta3"), (1, 1, -1, 1, -1), strict=True)
    }
    result = SimpleNamespace(config=SimpleNamespace(function="cubic", inflation=16), arrays=blocks)
    fig = regression.control_over_depth([result])
    for ax in fig.axes:
        low, high = ax.get_ylim()
        assert low <= 0 <= high
        assert high - low > 0.49  # the size of the weights, not of their change


def test_the_largest_entries_of_a_matrix_are_drawn():
    """Entries at even distances may all be dead ones: here every fourth is."""
    sizes = np.where(np.arange(128) % 4, 1.0 + np.arange(128), 1e-6)
    blocks = {f"theta/{n}": np.ones((1, 11, 1)) for n in ("theta1", "b1", "theta2", "b2")}
    blocks["theta/theta3"] = np.tile(sizes, (1, 11, 1))
    result = SimpleNamespace(config=SimpleNamespace(function="cubic", inflation=64), arrays=blocks)
    drawn = [line.get_ydata()[0] for line in regression.control_over_depth([result]).axes[-1].lines]
    assert sorted(drawn) == sorted(sizes)[-regression.MOST_LINES :]
