"""Figure 3: the spiral. Records (or live outcomes) in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.data.spiral import LENGTH, SAMPLES, trajectory
from shooting.study.experiments.models import MODELS
from shooting.study.figures.regression import Drawn, Rule, box, keep_inliers, legend
from shooting.study.figures.style import MODEL_COLOURS, Colours

ROWS = (
    ("short range", "short_loss", "complexity"),
    ("long range, pasted", "long_loss", "complexity_long"),
)
WINDOW = 2.4  # half-width of the drawn plane


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
    fig, axes = plt.subplots(2, 2, figsize=(7.4, 5.6), sharex=True)
    for row, (title, loss, cost) in zip(axes, ROWS, strict=True):
        for r in chosen:
            for ax, key in zip(row, (loss, cost), strict=True):
                box(ax, r, key, factors, colours=colours, rule=rule)
        row[0].set_yscale("log")
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
        2, len(results), figsize=(7.4, 4.2), sharey="row", height_ratios=(1.5, 1), squeeze=False
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


def data(starts: np.ndarray, *, colour: Any = MODEL_COLOURS["dynamic_particles"]) -> Figure:
    """The spiral in the plane and over time, and where snippets start.

    Args:
        starts: Start points of snippets ``(n, 2)``.
        colour: Of the start points.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), width_ratios=(1, 1.7))
    truth, time = trajectory().numpy(), np.linspace(0, LENGTH, SAMPLES)
    axes[0].plot(*truth.T, color="0.4", lw=1.0)
    axes[0].scatter(starts[:, 0], starts[:, 1], s=9, color=colour, zorder=3)
    axes[0].set(aspect="equal", xlabel="x₁", ylabel="x₂")
    for k, style in ((0, "-"), (1, "--")):
        axes[1].plot(time, truth[:, k], color="0.2", ls=style, lw=1.2, label=f"x{'₁₂'[k]}")
    axes[1].set_xlabel("time t")
    axes[1].legend(loc="upper right")
    return fig
