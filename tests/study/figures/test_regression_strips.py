"""Strips of the regression: every run is drawn, stuck ones are marked and counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.experiments.ablations import STUCK
from shooting.study.experiments.models import MODELS
from shooting.study.figures import regression_strips as draw

FUNCTION = "quadratic-like"
RUNS = 50


def made(model="dynamic_particles", inflation=16, lost=0, function=FUNCTION):
    """Runs of which the first few are stuck."""
    held = np.arange(RUNS) < lost
    mse = STUCK[function] * np.where(held, 1.5, 0.1)
    metrics = {"mse": mse, "loss": 100 * mse + 0.1}
    metrics |= {f"variation/{b}": np.full(RUNS, 0.1 * k) for k, b in enumerate(draw.BLOCKS, 1)}
    config = SimpleNamespace(function=function, model=model, inflation=inflation)
    return SimpleNamespace(config=config, metrics=metrics)


def dots(ax) -> int:
    return sum(len(c.get_offsets()) for c in ax.collections)


def words(ax) -> list[str]:
    return [t.get_text() for t in ax.texts]


def test_every_run_is_drawn_and_stuck_ones_are_counted():
    results = [made(m, a) for m in MODELS for a in (16, 128)]
    results[-1] = made("dynamic_direct", 128, lost=18)
    fig = draw.losses([*results, made(function="cubic")], FUNCTION)
    (ax,) = fig.axes
    assert dots(ax) == RUNS * len(results)
    assert words(ax) == ["18/50"]
    crosses = [c for c in ax.collections[1::2] if len(c.get_offsets())]
    assert [len(c.get_offsets()) for c in crosses] == [18]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["16", "128"]
    fig.canvas.draw()


def test_names_stand_at_the_median_and_a_level_is_drawn():
    name = {("dynamic_particles", 16): "mine"}
    fig = draw.losses([made()], FUNCTION, names=name, level=("convex", 2.7))
    (ax,) = fig.axes
    assert words(ax) == ["mine", "convex"]
    middle = 100 * 0.1 * STUCK[FUNCTION] + 0.1
    # 1e-12: the median of equal numbers, computed twice
    assert ax.texts[0].xy[1] == pytest.approx(middle, rel=1e-12)
    assert [line.get_ydata()[0] for line in ax.lines if line.get_ls() == "--"] == [2.7]


def test_control_nothing_is_named_without_names():
    (ax,) = draw.losses([made()], FUNCTION).axes
    assert words(ax) == []


def test_a_failed_run_counts_as_stuck_and_as_an_infinite_loss():
    runs = made(lost=1)
    runs.metrics["mse"][:30] = runs.metrics["loss"][:30] = np.nan
    (ax,) = draw.losses([runs], FUNCTION).axes
    assert words(ax) == ["30/50"]
    middles = [line.get_ydata()[0] for line in ax.lines]
    assert middles == [np.inf]


def test_models_of_ones_own_have_their_colours():
    colours = {"mine": "#123456"}
    (ax,) = draw.losses([made("mine"), made()], FUNCTION, colours=colours).axes
    assert dots(ax) == RUNS  # the other model has no strip
    assert tuple(ax.collections[0].get_facecolor()[0][:3]) == pytest.approx(
        (18 / 255, 52 / 255, 86 / 255)
    )


def test_changes_have_a_row_per_block_with_its_median():
    fig = draw.changes({"a": made(), "b": made(), "c": made()})
    drawn = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title("left") for ax in drawn] == ["a", "b", "c"]
    for ax in drawn:
        assert dots(ax) == RUNS * len(draw.BLOCKS)
        assert words(ax) == ["10", "20", "30", "40", "50"]
    fig.canvas.draw()
