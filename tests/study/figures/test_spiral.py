"""Figures of the spiral, from synthetic records."""

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.data.spiral import trajectory
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.experiments.spiral import grid as spiral_grid
from shooting.study.figures import spiral

SPIRAL_METRICS = ("short_loss", "long_loss", "complexity", "complexity_long")


def spiral_record(config, values=None):
    values = np.linspace(1, 2, len(config.seeds)) if values is None else values
    return SimpleNamespace(
        config=config,
        metrics=dict.fromkeys(SPIRAL_METRICS, values),
        arrays={"long": np.ones((3, 200, 2), np.float32)},
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


def test_snippet_starts_are_drawn():
    fig = spiral.data(np.zeros((7, 2)))
    assert len(fig.axes[0].collections[0].get_offsets()) == 7


def test_predictions_lie_along_the_orbit_with_their_phase():
    whole, failed = (spiral_record(SpiralConfig(inflation=a)) for a in (16, 32))
    whole.arrays["long"] = np.stack([trajectory().numpy()] * 2)
    failed.arrays = {}
    fig = spiral.along_orbit([whole, failed], [1, 0])
    titles = [ax.get_title(loc="left") for ax in fig.axes[:2]]
    assert titles == ["paper, α = 16, seed 1", "paper, α = 32, seed 0"]
    plane, empty, line, no_line = fig.axes[:4]
    assert len(plane.lines) == 1 + len(spiral.CLOCK)  # the truth, and what joins it to the path
    assert not empty.lines
    *phases, zero = line.lines
    assert len(phases) == 2
    assert all(np.abs(p.get_ydata()).max() < 1e-9 for p in phases)  # the truth is in phase
    assert len(no_line.lines) == 1
    fig.canvas.draw()
