"""The convex trap: a stuck and a free run over epochs, fifty-seed strips, and what frees a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shooting.study.claims.convex_trap import level, stuck, tally_of
from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import TRACED, marks
from shooting.study.experiments.convexity import (
    best_convex,
    is_convex,
    named,
    second_differences,
    tolerance,
)
from shooting.study.figures.style import PALETTE, WIDTH, PlainLog
from shooting.study.records import Record

FREE, STUCK, BENT = PALETTE[0], PALETTE[1], PALETTE[3]
CONVEX: dict[str, Any] = {"color": PALETTE[2], "lw": 1.2}  # the best convex function and its level
X = np.linspace(-BOUND, BOUND, 101)
Row = tuple[str, Record, int]  # a name, a filmed record, and which of its runs


def film(rows: Sequence[Row], epochs: Sequence[int]) -> Figure:
    """Learned functions during training, with the places marked where they bend downwards.

    Args:
        rows: Runs of filmed records.
        epochs: Columns: the nearest look before each of these, and the end last.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(
        len(rows),
        len(epochs) + 1,
        figsize=(WIDTH, 0.6 + 1.35 * len(rows)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for line, (name, record, run) in zip(axes, rows, strict=True):
        looks = np.asarray(marks(record.config))
        for ax, epoch in zip(line, epochs, strict=False):
            look = int(np.searchsorted(looks, epoch, side="right")) - 1
            _panel(ax, record, record.arrays["film"][run, look])
        _panel(line[-1], record, record.arrays["fit"][run])
        line[0].set_ylabel(name)
    for ax, epoch in zip(axes[0], [*epochs, rows[0][1].config.epochs], strict=True):
        ax.set_title(f"epoch {epoch}", fontsize=9)
    low, high = (f(named(rows[0][1].config.function)(X)) for f in (np.min, np.max))
    axes[0, 0].set_ylim(low - 0.25 * (high - low), high + 0.25 * (high - low))
    for ax in axes[-1]:
        ax.set_xlabel("x")
    looks_like: list[tuple[dict[str, Any], str]] = [
        ({"color": "black", "ls": "--", "lw": 1}, "target"),
        (CONVEX, "best convex function"),
        ({"color": FREE}, "learned"),
        ({"color": BENT, "lw": 3}, "… bending downwards"),
    ]
    handles = [Line2D([], [], **look) for look, _ in looks_like]
    fig.legend(handles, [n for _, n in looks_like], loc="outside lower center", ncols=4)
    return fig


def _panel(ax: Axes, record: Record, curve: np.ndarray) -> None:
    target = named(record.config.function)
    best = best_convex(target)
    ax.plot(best.x, best.values, **CONVEX)
    ax.plot(X, target(X), color="black", ls="--", lw=1)
    ax.plot(X, curve, color=FREE, lw=1.3)
    ax.plot(X, np.where(_down(curve), curve, np.nan), color=BENT, lw=3, solid_capstyle="butt")


def random_fields(found: Mapping[str, np.ndarray], *, most: int = 14) -> Figure:
    """Outputs of random networks, with the places marked where they bend downwards.

    Args:
        found: Curves ``(runs, n)`` by name, a panel each.
        most: Curves drawn a panel, each scaled to height one; titles count all.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(
        1, len(found), figsize=(WIDTH, 2.5), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, curves) in zip(axes[0], found.items(), strict=True):
        for curve in curves[:most]:
            scaled = (curve - curve.min()) / max(float(np.ptp(curve)), 1e-12)
            x = np.linspace(-BOUND, BOUND, len(curve))
            ax.plot(x, scaled, color=FREE, lw=0.8, alpha=0.8)
            ax.plot(x, np.where(_down(scaled), scaled, np.nan), color=BENT, lw=2.5)
        ax.set_title(f"{name}\n{100 * is_convex(curves).mean():.0f} % convex")
        ax.set_xlabel("x")
        ax.set_yticks([])
    axes[0, 0].set_ylabel("output, scaled")
    return fig


def _down(curve: np.ndarray) -> np.ndarray:
    """Where a curve bends downwards, with a point on either side, so that a kink has a length."""
    bent = np.pad(second_differences(curve) < -tolerance(curve), 1)
    wider: np.ndarray = bent | np.append(bent[1:], False) | np.append(False, bent[:-1])
    return wider


def over_epochs(record: Record) -> Figure:
    """Error and negative share of theta1 of every run during training, coloured by how it ends.

    Args:
        record: As published, or any other of the experiment.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9), sharex=True)
    function = record.config.function
    held, epochs = stuck(function, record.metrics["mse"]), list(marks(record.config))
    panels = (
        ("mse", 100.0, "100·MSE"),
        ("theta1_negative", 100.0, "negative part of θ₁, per cent"),
    )
    for ax, (name, factor, label) in zip(axes, panels, strict=True):
        lines = factor * record.arrays["trace"][..., TRACED.index(name)]
        for choice, colour in ((~held, FREE), (held, STUCK)):
            if choice.any():
                ax.plot(epochs, lines[choice].T, color=colour, lw=0.5, alpha=0.6)
                ax.plot(epochs, np.median(lines[choice], axis=0), color=colour, lw=2.2)
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter(PlainLog())
    axes[0].set_ylim(top=3 * 100 * level(function))
    axes[0].axhline(100 * level(function), **CONVEX)
    axes[0].annotate(
        "best convex",
        (1, 100 * level(function)),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -11),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    names = {f"{int((~held).sum())} free runs": FREE, f"{int(held.sum())} stuck runs": STUCK}
    handles = [Line2D([], [], color=c, lw=2.2) for c in names.values()]
    axes[1].legend(handles, list(names))
    return fig


def strips(found: Mapping[str, Record]) -> Figure:
    """Error of every run beside the share of stuck ones, a row per setting.

    Args:
        found: Records of one target or of several, by name.

    Returns:
        The figure: errors relative to the best convex function's; stuck runs orange; bars are
        Wilson's 95 % intervals.
    """
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 0.9 + 0.24 * len(found)), sharey=True, width_ratios=(1.6, 1)
    )
    for row, record in enumerate(found.values()):
        factor = 1 / level(record.config.function)
        strip(left, row, record, "mse", factor, rasterized=True)
        count = tally_of(record)
        low, high = count.interval
        colour = FREE if row else "black"
        right.plot([low, high], [row, row], color=colour, lw=1.4)
        right.plot(count.share, row, "o", color=colour, ms=4)
        right.annotate(
            f"{count.stuck}/{count.runs}",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    left.axvline(1.0, **CONVEX)
    left.set_xscale("log")
    left.xaxis.set_major_formatter(PlainLog())
    left.set_xlabel("test MSE / best convex function's")
    right.set_xlim(0, 1)
    right.set_xlabel("share of stuck runs")
    left.set_yticks(range(len(found)), list(found))
    left.invert_yaxis()
    return fig


def strip(ax: Axes, row: float, record: Record, metric: str, factor: float, **look: Any) -> None:
    """One dot per run, stuck ones orange; failed runs are left out."""
    values = factor * np.asarray(record.metrics[metric], dtype=float)
    held = stuck(record.config.function, record.metrics["mse"])
    place = row + 0.22 * np.sin(2.4 * np.arange(len(values)))  # spread without chance
    for choice, colour in ((~held, FREE), (held, STUCK)):
        ax.scatter(values[choice], place[choice], s=9, color=colour, alpha=0.75, lw=0, **look)


def ten_and_fifty(starts: Mapping[str, Record]) -> Figure:
    """Losses of the first ten seeds and of all fifty, for several sources of starts.

    Args:
        starts: Published runs by the name of who drew their initial states.

    Returns:
        The figure; bars are medians, words count the stuck runs.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.8 * len(starts)))
    names, place = [], 0
    for name, record in starts.items():
        for count in (10, len(record.config.seeds)):
            _first(ax, place, record, count)
            names.append(f"{name}: seeds 0-{count - 1}")
            place += 1
    ax.set_yticks(range(place), names)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(PlainLog())
    ax.xaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
    ax.set_xlabel("100·MSE + R")
    return fig


def _first(ax: Axes, row: int, record: Record, count: int) -> None:
    loss = np.asarray(record.metrics["loss"])[:count]
    held = stuck(record.config.function, record.metrics["mse"])[:count]
    place = row + 0.22 * np.sin(2.4 * np.arange(count))
    for choice, colour in ((~held, FREE), (held, STUCK)):
        ax.scatter(loss[choice], place[choice], s=12, color=colour, alpha=0.8, lw=0)
    middle = float(np.median(loss))
    ax.plot([middle, middle], [row - 0.33, row + 0.33], color="black", lw=2)
    ax.annotate(
        f"median {middle:.2g}, {int(held.sum())} of {count} stuck",
        (1.02, row),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8.5,
        annotation_clip=False,
    )
