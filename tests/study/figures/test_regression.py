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
