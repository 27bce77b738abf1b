"""Figures of the convex trap elsewhere, from made-up records."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study.claims.convex_trap import level
from shooting.study.experiments.convex_trap import TrapConfig
from shooting.study.experiments.convexity import best_convex, named
from shooting.study.figures import convex_elsewhere as draw

X = np.linspace(-1.5, 1.5, 101)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def made(stuck, function="off-centre bump", runs=10):
    held = np.arange(runs) < stuck
    ends = np.where(
        held[:, None], best_convex(named(function), points=101).values, named(function)(X)
    )
    mse = level(function) * np.where(held, 1.05, 0.05)
    config = TrapConfig(function=function, seeds=tuple(range(runs)))
    return SimpleNamespace(config=config, metrics={"mse": mse}, arrays={"fit": ends})


def test_a_panel_per_target_with_both_best_fits():
    found = {"bump": made(3), "sine": made(0, "hyperbolic sine"), "well": made(10)}
    fig = draw.targets(found, columns=2)
    shown = [ax for ax in fig.axes if ax.axison]
    assert len(fig.axes) == 4
    assert [ax.get_title("left") for ax in shown] == [
        "bump\n3 of 10 stuck", "sine\n0 of 10 stuck", "well\n10 of 10 stuck"
    ]  # fmt: skip
    assert [len(ax.lines) for ax in shown] == [10 + 3] * 3
    assert [ax.get_xlabel() for ax in shown] == ["", "x", "x"]
    fig.canvas.draw()


def test_the_cure_is_drawn_beside_the_published_setting():
    fig = draw.pairs({"main": (made(8), made(0)), "other": (made(5), made(5))})
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.texts] == [
        "8 of 10", "0 of 10", "5 of 10", "5 of 10"
    ]  # fmt: skip
    low, high = ax.lines[0].get_xdata()
    assert 0.4 < low < 0.8 < high < 1.0
    assert ax.get_ylim() == (1.5, -0.5)
    fig.canvas.draw()
