"""Kicks on the spiral and on the rotating threes beside their rivals. Runs in, figure out."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.claims.kicks import Key
from shooting.study.claims.kicks_digits import Pair
from shooting.study.claims.loading import Runs
from shooting.study.claims.rule import median
from shooting.study.data.rotating_mnist import ANGLES
from shooting.study.experiments.kicks import KICKED, SMOOTH, names
from shooting.study.experiments.rotating_mnist import HELD_OUT
from shooting.study.experiments.spiral import PROTOCOLS
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, PlainLog

METRICS = {"short_loss": "objective", "long_mse": "long-range error"}
ROW = 0.27  # inches a setting


def strips(by: Mapping[Key, Runs], inflation: int) -> Figure:
    """Every run of every setting, relative to the median of the smooth ensemble of K = 15.

    Args:
        by: Runs by setting, protocol and alpha.
        inflation: alpha.

    Returns:
        The figure: a row of panels for each protocol, objective and long range side by side.
    """
    size = (WIDTH, 0.9 + 2 * ROW * (1 + len(names())))
    fig, axes = plt.subplots(2, 2, figsize=size, sharey=True, sharex="col")
    for row, protocol in zip(axes, PROTOCOLS, strict=True):
        for ax, (metric, title) in zip(row, METRICS.items(), strict=True):
            _panel(ax, by, protocol, inflation, metric)
            ax.set_title(f"{title}, {protocol}")
    for ax in axes[1]:
        ax.set_xlabel("relative to smooth")
    return fig


def by_angle(pairs: Mapping[int, Pair]) -> Figure:
    """Test error at each angle of the rotating threes, without and with kicks.

    Args:
        pairs: Records without and with, by seed.

    Returns:
        The figure: a line for each run; at the marked angle no loss was ever measured.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 2.8))
    degrees = np.degrees(ANGLES)
    ax.axvline(degrees[HELD_OUT], color="0.8", lw=6, zorder=0)
    colours = (MODEL_COLOURS["dynamic_particles"], PALETTE[3])
    for number, pair in enumerate(pairs.values()):
        for run, colour, name in zip(pair, colours, ("without kicks", "with kicks"), strict=True):
            label = None if number else name
            ax.plot(degrees, run.arrays["misses"][0], "o-", color=colour, ms=3, lw=0.9, label=label)
    ax.set(xlabel="angle, degrees", ylabel="test error", ylim=(0, None))
    ax.set_xticks(degrees[::5].round())
    ax.legend(loc="lower left")
    return fig


def _panel(ax: Axes, by: Mapping[Key, Runs], protocol: str, inflation: int, metric: str) -> None:
    base = by.get((SMOOTH, protocol, inflation))
    ax.set_yticks(range(len(names())), names())
    ax.set_ylim(len(names()) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(PlainLog())
    ax.xaxis.set_minor_formatter(PlainLog(minor_thresholds=(1, 0.4)))
    if base is None:
        return
    level = median(base.metrics[metric])
    ax.axvline(1, color="0.6", lw=0.8)
    for place, name in enumerate(names()):
        runs = by.get((name, protocol, inflation))
        if runs is None:
            continue
        values = np.asarray(runs.metrics[metric]) / level
        colour = _colour(name)
        ax.plot(values, np.full(len(values), place), "o", ms=3, color=colour, alpha=0.6)
        ax.plot([median(values)] * 2, [place - 0.3, place + 0.3], color=colour, lw=2)


def _colour(name: str) -> object:
    if name == KICKED:
        return PALETTE[3]
    kind = "dynamic_direct" if name.startswith("direct") else "dynamic_particles"
    return MODEL_COLOURS[kind]
