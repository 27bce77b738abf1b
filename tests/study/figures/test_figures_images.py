from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study.data.rotating_mnist import ANGLES
from shooting.study.experiments.bouncing_balls import PREDICTED, BallsConfig
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.rotating_mnist import HELD_OUT, RotatingConfig
from shooting.study.figures import balls, images
from shooting.study.figures.style import MODEL_COLOURS


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def threes(config, *, mse=0.02, decoder=0.01, circularity=0.6):
    metrics = {"mse": mse, "decoder_mse": decoder, "circularity": circularity}
    path = np.stack([np.cos(ANGLES), 0.5 * np.sin(ANGLES), 0 * ANGLES], 1)
    return SimpleNamespace(
        config=config,
        metrics={k: np.array([v]) for k, v in metrics.items()},
        arrays={"misses": np.linspace(0.01, 0.03, 16)[None], "paths": np.stack([path] * 3)[None]},
    )


def test_error_by_dimension_joins_means_over_seeds_and_shows_each():
    seeds = [threes(RotatingConfig.reduced(seeds=(s,)), mse=m) for s, m in ((1, 0.01), (2, 0.03))]
    wider = threes(RotatingConfig.reduced(latent=40), mse=0.005, decoder=0.004)
    variant = threes(RotatingConfig.narrow(), mse=0.009)
    (ax,) = images.error_by_dimension([*seeds, wider], [variant], {20: 0.012, 40: 0.008}).axes
    lines = {line.get_label(): line for line in ax.lines}
    mean = lines[f"{MODELS['dynamic_particles']}: prediction"]
    assert list(mean.get_xdata()) == [20, 40]
    np.testing.assert_allclose(mean.get_ydata(), [0.02, 0.005])  # default: rounding of one mean
    shown = [tuple(xy) for line in ax.lines for xy in line.get_xydata()]
    assert {(20, 0.01), (20, 0.03), (20, 0.009)} <= set(shown)
    assert lines["narrow"].get_color() == MODEL_COLOURS["dynamic_particles"]
    assert list(lines["best linear map"].get_ydata()) == [0.012, 0.008]


def test_predictors_stand_at_the_left_out_angle():
    (ax,) = images.error_by_angle([threes(RotatingConfig())], {"mean": 0.04, "ridge": 0.001}).axes
    at = {line.get_label(): line.get_xydata()[0] for line in ax.lines}
    degrees = np.degrees(ANGLES[HELD_OUT])
    assert tuple(at["mean"]) == (degrees, 0.04)
    assert tuple(at["ridge"]) == (degrees, 0.001)


def test_each_model_has_its_panel_of_paths():
    models = {"static_direct": 0.6, "dynamic_particles": 0.9}
    runs = [threes(RotatingConfig(model=m), circularity=c) for m, c in models.items()]
    axes = images.latent_paths(runs, count=2).axes
    assert [len(ax.collections) for ax in axes] == [2] * len(runs)
    where = plt.rcParams["axes.titlelocation"]  # another test may have set the book's style
    assert "0.60" in axes[0].get_title(where)
    assert "0.90" in axes[1].get_title(where)


def test_a_plane_keeps_distances_and_starts_left():
    t = np.linspace(0, 1, 16)[:, None]
    path = np.hstack([1 - 2 * t, t**2, 0 * t]) @ np.linalg.qr(np.eye(3) + 0.3)[0]
    flat = images.plane(path)
    assert flat[0, 0] <= 0
    between = np.linalg.norm(path[:, None] - path, axis=-1)  # the path lies in a plane: no loss
    np.testing.assert_allclose(np.linalg.norm(flat[:, None] - flat, axis=-1), between, atol=1e-12)


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
