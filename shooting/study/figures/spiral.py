"""Figure 3: the spiral. Records (or live outcomes) in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shooting.study.data.spiral import LENGTH, SAMPLES, trajectory
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.orbit import Course, lay_along, true_orbit
from shooting.study.figures.regression import Drawn, Rule, box, keep_inliers, legend
from shooting.study.figures.style import MODEL_COLOURS, PATHS, WIDTH, Colours, PlainLog

ROWS = (
    ("short range", "short_loss", "complexity"),
    ("long range, pasted", "long_loss", "complexity_long"),
)
WINDOW = 2.4  # half-width of the drawn plane
CLOCK = (2.5, 5.0, 7.5, 10.0)  # moments that are marked
SHADES = Normalize(0, LENGTH)  # of time


def by_inflation(
    results: Sequence[Drawn],
    particles: int = 15,
    *,
    colours: Colours = MODEL_COLOURS,
    rule: Rule = keep_inliers,
) -> Figure:
    """Fig. 3: loss and complexity against the inflation factor, short range above long range.

    Args:
        results: Ensembles of one protocol; particle models with other K are left out.
        particles: K of the particle models.
        colours: Of the models, in the order of their boxes.
        rule: Which runs are drawn; `numpy.isfinite` leaves out failed ones alone.

    Returns:
        The figure; ``n*`` above a box counts the runs left out of it.
    """
    chosen = [r for r in results if r.config.particles in (0, particles)]
    factors = sorted({r.config.inflation for r in chosen})
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.6), sharex=True)
    for row, (title, loss, cost) in zip(axes, ROWS, strict=True):
        for r in chosen:
            for ax, key in zip(row, (loss, cost), strict=True):
                box(ax, r, key, factors, colours=colours, rule=rule)
        row[0].set_yscale("log")
        if title == ROWS[0][0]:  # hardly more than a decade
            row[0].yaxis.set_major_formatter(PlainLog())
            row[0].yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
        row[0].set_title(title)
        row[0].set_ylabel("100·error + 0.01·penalty")
        row[1].set_ylabel("∫ log₂ complexity")
    for ax in axes[1]:
        ax.set_xticks(range(len(factors)), [str(a) for a in factors])
        ax.set_xlabel("inflation factor α")
    legend(fig, colours, width=5)
    return fig


def predictions(results: Sequence[Drawn], *, colours: Colours = MODEL_COLOURS) -> Figure:
    """Pasted long-range predictions over the true spiral, one panel per model.

    Args:
        results: One ensemble per model; all runs whose trajectory was kept are drawn.
        colours: Of the models.

    Returns:
        The figure; the upper row shows the plane, the lower row x1 over time.
    """
    fig, axes = plt.subplots(
        2, len(results), figsize=(WIDTH, 4.2), sharey="row", height_ratios=(1.5, 1), squeeze=False
    )
    truth, time = trajectory().numpy(), np.linspace(0, LENGTH, SAMPLES)
    for r, plane, line in zip(results, *axes, strict=True):
        colour = colours[r.config.model]
        for path in _inside(r.arrays["long"]) if "long" in r.arrays else ():  # else all runs failed
            plane.plot(*path.T, color=colour, lw=0.9, alpha=0.8)
            line.plot(time, path[:, 0], color=colour, lw=0.9, alpha=0.8)
        plane.plot(*truth.T, color="black", lw=1.0, ls="--")
        line.plot(time, truth[:, 0], color="black", lw=1.0, ls="--")
        plane.set_title(MODELS.get(r.config.model, r.config.model), fontsize=9)
        _frame(plane, line)
    axes[0, 0].set_ylabel("x₂")
    axes[1, 0].set_ylabel("x₁")
    return fig


def _inside(paths: np.ndarray) -> np.ndarray:
    """Paths with gaps where they are far outside the window."""
    return np.where(np.abs(paths).max(-1, keepdims=True) > 1.5 * WINDOW, np.nan, paths)


def _frame(plane: Axes, line: Axes) -> None:
    plane.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW), aspect="equal", xlabel="x₁")
    line.set(ylim=(-WINDOW, WINDOW), xlabel="time t", xticks=(0, 5, 10))


def along_orbit(results: Sequence[Drawn], runs: Sequence[int]) -> Figure:
    """Pasted predictions against the true orbit, and their phase error over time.

    Args:
        results: Ensembles; one panel each.
        runs: Which of its kept runs each panel shows; thin, the phase error of the others.

    Returns:
        The figure. Colour is time. At some moments a line joins the prediction (circle) to where
        the truth is then (square).
    """
    fig, axes = plt.subplots(
        2, len(results), figsize=(WIDTH, 4.6), sharey="row", height_ratios=(1.7, 1), squeeze=False
    )
    for r, run, plane, line in zip(results, runs, *axes, strict=True):
        for k, path in enumerate(r.arrays.get("long", ())):  # none if all runs failed
            course = lay_along(path, true_orbit())
            _phase(line, course, bold=k == run)
            if k == run:
                _against_truth(plane, path)
        plane.set_title(
            f"{r.config.protocol}, α = {r.config.inflation}, seed {r.config.seeds[run]}", fontsize=9
        )
        plane.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW), aspect="equal", xlabel="x₁")
        line.axhline(0, color="black", lw=0.8)
        line.set(xlabel="time t", xticks=(0, 5, 10))
    fig.colorbar(ScalarMappable(SHADES, PATHS), ax=axes[0], label="time t", shrink=0.8)
    axes[0, 0].set_ylabel("x₂")
    axes[1, 0].set_ylabel("periods ahead")
    return fig


def _against_truth(ax: Axes, path: np.ndarray) -> None:
    """The path coloured by time over the true curve, joined to it at some moments."""
    truth, time = trajectory().numpy(), np.linspace(0, LENGTH, SAMPLES)
    ax.plot(*truth.T, color="0.7", lw=3.0)
    pieces = list(np.stack([path[:-1], path[1:]], axis=1))
    ax.add_collection(LineCollection(pieces, array=time[:-1], norm=SHADES, cmap=PATHS, lw=1.4))
    marked = np.searchsorted(time, CLOCK)
    for k in marked:
        ax.plot(*np.stack([truth[k], path[k]]).T, color="black", lw=0.8, zorder=4)
    look: dict[str, Any] = {"norm": SHADES, "cmap": PATHS, "edgecolor": "black", "zorder": 5}
    for (x, y), marker in ((truth[marked].T, "s"), (path[marked].T, "o")):
        ax.scatter(x, y, c=time[marked], marker=marker, s=26, **look)


def _phase(ax: Axes, course: Course, *, bold: bool) -> None:
    time = np.linspace(0, LENGTH, len(course.turns))
    colour = MODEL_COLOURS["dynamic_particles"]
    ax.plot(time, course.turns, color=colour, lw=2.0 if bold else 0.9, alpha=1 if bold else 0.55)


def data(starts: np.ndarray, *, colour: Any = MODEL_COLOURS["dynamic_particles"]) -> Figure:
    """The spiral in the plane and over time, and where snippets start.

    Args:
        starts: Start points of snippets ``(n, 2)``.
        colour: Of the start points.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), width_ratios=(1, 1.7))
    truth, time = trajectory().numpy(), np.linspace(0, LENGTH, SAMPLES)
    axes[0].plot(*truth.T, color="0.4", lw=1.0)
    axes[0].scatter(starts[:, 0], starts[:, 1], s=9, color=colour, zorder=3)
    axes[0].set(aspect="equal", xlabel="x₁", ylabel="x₂")
    for k, style in ((0, "-"), (1, "--")):
        axes[1].plot(time, truth[:, k], color="0.2", ls=style, lw=1.2, label=f"x{'₁₂'[k]}")
    axes[1].set_xlabel("time t")
    axes[1].legend(loc="upper right")
    return fig
