from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study.experiments.circles import CirclesConfig
from shooting.study.experiments.circles import grid as circles_grid
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import grid as regression_grid
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.experiments.spiral import grid as spiral_grid
from shooting.study.figures import circles, regression, spiral

SPIRAL_METRICS = ("short_loss", "long_loss", "complexity", "complexity_long")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def spiral_record(config, values=None):
    values = np.linspace(1, 2, len(config.seeds)) if values is None else values
    return SimpleNamespace(
        config=config,
        metrics=dict.fromkeys(SPIRAL_METRICS, values),
        arrays={"long": np.ones((3, 200, 2), np.float32)},
    )


def circles_record(config, fits=1.0):
    runs = len(config.seeds)
    cost = np.linspace(1, 2, runs) / config.inflation
    names = ("penalty", "complexity", "path_length")
    return SimpleNamespace(
        config=config,
        metrics={"fits": np.full(runs, fits), **dict.fromkeys(names, cost)},
        arrays={"flow": np.zeros((1, 11, 120, 2)), "decision": np.linspace(-1, 1, 41 * 41)[None]},
    )


def texts(ax):
    return {t.get_text() for t in ax.texts}


def test_figure_3_has_a_box_per_model_and_inflation():
    chosen = [c for c in spiral_grid("paper") if c.protocol == "paper"]
    fig = spiral.by_inflation([spiral_record(c) for c in chosen])
    assert len(fig.axes) == 4
    assert all(len(ax.patches) == 4 * 4 for ax in fig.axes)  # K = 25 and 50 are left out


@pytest.mark.parametrize(
    ("values", "count"), [([1.0, 1.1, 1.2, 1.3, 99.0], "1*"), ([np.nan] * 5, "5*")]
)
def test_removed_runs_are_counted(values, count):
    config = SpiralConfig(seeds=tuple(range(5)))
    fig = spiral.by_inflation([spiral_record(config, np.array(values))])
    assert texts(fig.axes[0]) == {count}
    fig.canvas.draw()


def test_predictions_leave_gaps_outside_the_window():
    records = [spiral_record(SpiralConfig(model=m)) for m in MODELS]
    records[0].arrays["long"][0, 50:] = 100.0
    fig = spiral.predictions(records)
    drawn = [line.get_xdata() for line in fig.axes[0].lines]
    assert np.isnan(drawn[0]).sum() == 150
    assert not np.isnan(drawn[1]).any()
    assert len(fig.axes) == 8


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
    titles = [ax.get_title() or ax.get_title(loc="left") for ax in fig.axes]
    assert titles == [f"α = {a}, λ = 10" for a in (5, 10, 20)]
    fig.canvas.draw()


def test_snippet_starts_are_drawn():
    fig = spiral.data(np.zeros((7, 2)))
    assert len(fig.axes[0].collections[0].get_offsets()) == 7


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
