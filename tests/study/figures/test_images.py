"""Figures of the rotating threes, from synthetic records."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox

from shooting.study.data.rotating_mnist import ANGLES
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.rotating_mnist import HELD_OUT, RotatingConfig
from shooting.study.figures import images
from shooting.study.figures.style import MODEL_COLOURS


def threes(config, *, mse=0.02, decoder=0.01):
    metrics = {"mse": mse, "decoder_mse": decoder}
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


def test_each_predictor_has_a_dot_with_its_error_the_lowest_on_top():
    run = threes(RotatingConfig(), mse=0.02)
    run.metrics["mse_std"] = np.array([0.01])
    (ax,) = images.error_left_out([run], {"mean": 0.04, "ridge": 0.001}, digits=25).axes
    names = ["ridge", MODELS["dynamic_particles"], "mean"]
    assert [t.get_text() for t in ax.get_yticklabels()] == names
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [[0.001, 0], [0.02, 1], [0.04, 2]]
    assert [t.get_text() for t in ax.texts] == ["0.0010", "0.0200", "0.0400"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # downwards
    bars = [c.get_segments()[0][:, 0] for c in ax.collections]
    assert len(bars) == 1  # the others have no spread
    np.testing.assert_allclose(bars[0], [0.018, 0.022])  # 0.01 / 5; default: rounding


def test_one_path_has_all_its_drawings_on_equal_axes():
    run = threes(RotatingConfig())
    run.arrays["paths"] = np.linspace(0, 1, 16)[None, None, :, None] * [3.0, 4.0]
    frames = np.arange(2 * 16, dtype=np.uint8).reshape(1, 2, 16, 1, 1)
    run.arrays["predicted"] = np.broadcast_to(frames, (1, 2, 16, 28, 28))
    run.arrays["paths"] = np.repeat(run.arrays["paths"], 2, axis=1)
    left, right = images.one_path(run, digit=1).axes
    assert left.get_aspect() == right.get_aspect() == 1
    path = left.lines[0].get_xydata()
    assert np.ptp(path[:, 0]) == pytest.approx(5)  # default: rounding
    assert np.abs(path[:, 1]).max() < 1e-12  # rounding: a straight line in the plane
    pictures = [
        [int(a.offsetbox.get_data()[0, 0]) for a in ax.artists if isinstance(a, AnnotationBbox)]
        for ax in (left, right)
    ]
    assert pictures == [list(range(16, 32)), [16, 19, 22, 25, 28]]


def test_a_wall_has_truth_above_each_prediction_and_frames_the_angle():
    truth = np.full((3, 16, 28, 28), 0.9)
    rows = {"model": np.full((2, 16, 28, 28), 0.4), "map": np.full((5, 16, 28, 28), 0.1)}
    (ax,) = images.predictions(truth, rows).axes
    wall = ax.images[0].get_array()
    assert wall.shape == (6 * 28, 16 * 28)  # two digits: as many as every row has
    assert [float(wall[k * 28, 0]) for k in range(6)] == [0.9, 0.4, 0.1] * 2
    assert [t.get_text() for t in ax.get_yticklabels()] == ["truth", "model", "map"] * 2
    assert ax.figure.get_figwidth() == 7.4
    (frame,) = ax.patches
    assert frame.get_x() // 28 == HELD_OUT
    (single,) = images.predictions(truth[:1], {"prediction": rows["model"][:1]}).axes
    assert [t.get_text() for t in single.get_yticklabels()] == ["truth", "prediction"]


def test_the_recipe_looks_alike_whatever_the_size_and_equal_axes_do_not():
    """The finding itself: a bend a thousand times smaller gives the same upper panel."""
    line = np.linspace(0, 1, 16)
    sizes = {"static_particles": 1e-3, "dynamic_particles": 0.1}
    runs = [threes(RotatingConfig(model=m)) for m in sizes]
    for run, size in zip(runs, sizes.values(), strict=True):
        run.arrays["paths"] = np.stack([line, size * line**2], -1)[None, None]
    fig = images.latent_picture(runs, contrast=np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)[None])
    above, below = np.array(fig.axes[:6]).reshape(2, 3)
    assert [ax.get_title("left") for ax in above[:2]] == [MODELS[m] for m in sizes]
    drawn = [
        np.concatenate([p.vertices for p in ax.collections[0].get_paths()]) for ax in above[:2]
    ]
    shape = [(d - d.min(0)) / np.ptp(d, axis=0) for d in drawn]
    # the larger bend tilts the principal axes; the U stays the same to a few per cent
    np.testing.assert_allclose(*shape, atol=0.05)
    assert np.ptp(drawn[0][:, 1]) < 0.02 * np.ptp(drawn[1][:, 1])  # control: they are not alike
    assert all(ax.get_aspect() == "auto" for ax in above)
    assert all(ax.get_aspect() == 1 for ax in below)
    assert not any(len(ax.get_xticks()) + len(ax.get_yticks()) for ax in [*above, *below])
    assert "%" in above[0].get_xlabel()
    assert "circle" in above[2].get_title("left")


def test_shares_are_written_as_people_read_them():
    assert images._percent(0.47) == "47 %"
    assert images._percent(2.1e-7) == r"$2\cdot10^{-5}$ %"
