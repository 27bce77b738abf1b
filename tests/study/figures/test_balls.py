"""Figures of the bouncing balls, from synthetic records."""

from types import SimpleNamespace

import numpy as np

from shooting.study.experiments.bouncing_balls import PREDICTED, BallsConfig
from shooting.study.experiments.models import MODELS
from shooting.study.figures import balls


def test_balls_are_drawn_from_the_first_step_ahead():
    misses = np.arange(20.0)[None]
    run = SimpleNamespace(config=BallsConfig(), arrays={"misses": misses})
    (ax,) = balls.error_by_step([run], {"copy": np.full(10, 0.5)}).axes
    lines = {line.get_label(): line for line in ax.lines}
    drawn = lines[MODELS["dynamic_particles"]]
    assert list(drawn.get_xdata()) == list(range(1, 11))
    assert list(drawn.get_ydata()) == list(misses[0, PREDICTED])
    assert list(lines["copy"].get_ydata()) == [0.5] * 10


def test_runs_of_one_model_share_its_colour_and_not_their_style():
    runs = [
        SimpleNamespace(config=c, arrays={"misses": np.full((1, 20), 1.0)})
        for c in (BallsConfig.reduced(), BallsConfig.wide(), BallsConfig(model="static_direct"))
    ]
    (ax,) = balls.error_by_step(runs, {}, names=["small", "wide", "other"]).axes
    small, wide, other = ax.lines
    assert [line.get_label() for line in ax.lines] == ["small", "wide", "other"]
    assert small.get_color() == wide.get_color() != other.get_color()
    assert small.get_marker() == other.get_marker() != wide.get_marker()


def test_wall_of_balls_has_truth_above_each_model():
    truth = np.full((2, 20, 28, 28), 9, np.uint8)
    first, second = (np.full((2, 20, 28, 28), v, np.uint8) for v in (100, 200))
    (ax,) = balls.sequences(truth, [first, second], ["one", "two"]).axes
    wall = ax.images[0].get_array()
    assert wall.shape == (6 * 28, PREDICTED.stop * 28)
    assert [int(wall[k * 28, 0]) for k in range(6)] == [9, 100, 200] * 2
    assert [t.get_text() for t in ax.get_yticklabels()] == ["truth", "one", "two"] * 2


def test_recorded_runs_are_drawn_below_the_truth_of_their_scenes():
    truth = np.stack([np.full((20, 28, 28), k, np.uint8) for k in (1, 2, 3)])
    runs = [
        SimpleNamespace(config=c, arrays={"predicted": (truth + shift)[None]})
        for c, shift in ((BallsConfig.paper(), 50), (BallsConfig.released(), 100))
    ]
    (ax,) = balls.recorded(truth, runs).axes
    wall = ax.images[0].get_array()
    assert [int(wall[k * 28, 0]) for k in range(6)] == [1, 51, 101, 2, 52, 102]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    model = MODELS["dynamic_particles"]
    assert labels == ["truth", f"{model}, paper", f"{model}, released"] * 2
    (named,) = balls.recorded(truth, runs, ["one", "two"], count=1).axes
    assert [t.get_text() for t in named.get_yticklabels()] == ["truth", "one", "two"]


def test_an_unfinished_run_ends_where_it_is():
    arrays = {"misses": np.arange(20.0)[None], "validation": np.array([[0.4, 0.2, 0.3]])}
    done = {"misses": np.ones((1, 20)), "validation": np.full((1, 100), 0.1)}
    runs = [
        SimpleNamespace(config=BallsConfig(), arrays=arrays),
        SimpleNamespace(config=BallsConfig(model="static_direct"), arrays=done),
    ]
    others = {"copy": np.full(10, 0.5)}
    upper, lower = balls.at_length(runs, ["begun", "ended"], {"level": 0.5}, others).axes
    lines = {line.get_label(): line for line in upper.lines}
    assert list(lines["begun"].get_xdata()) == [1, 2, 3]
    assert list(lines["begun"].get_ydata()) == [0.4, 0.2, 0.3]
    assert lines["ended"].get_xdata()[-1] == 100 < upper.get_xlim()[1]
    assert set(lines["level"].get_ydata()) == {0.5}
    lines = {line.get_label(): line for line in lower.lines}
    assert list(lines["begun"].get_ydata()) == list(arrays["misses"][0, PREDICTED])
    assert set(lines) == {"begun", "ended", "copy"}
