"""Figures 2 and 6-11: the 1-D regression. Records (or live outcomes) in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shooting.study.data.functions import BOUND, FUNCTIONS
from shooting.study.experiments.models import MODELS
from shooting.study.figures.style import MODEL_COLOURS, PATHS, WIDTH, Colours, PlainLog

LABELS = {
    "quadratic-like": "quadratic-like: $x^2 + 3/(1+x^2)$",
    "cubic": "cubic: $x^3$",
}


MOST_LINES = 16  # of the entries of a matrix, the largest: more only blacken the panel


class Drawn(Protocol):
    """What can be drawn: a record, or the outcome of a training just done."""

    @property
    def config(self) -> Any:
        """Settings of the ensemble."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Final numbers by name, one per run."""

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Curves, fits and controls by name, first axis the run."""


def keep_inliers(values: np.ndarray) -> np.ndarray:
    """The paper's rule (caption of Fig. 6): drop what lies 1.5 IQR or more outside the quartiles.

    Args:
        values: One number per run; non-finite ones (failed runs) count as outliers.

    Returns:
        Boolean mask of the values that stay.
    """
    finite = np.isfinite(values)
    low, high = np.quantile(values[finite], [0.25, 0.75]) if finite.any() else (0.0, 0.0)
    reach = 1.5 * (high - low)
    with np.errstate(invalid="ignore"):
        return finite & (values >= low - reach) & (values <= high + reach)


# Which runs of an ensemble a box shows: one number per run in, a mask out.
Rule = Callable[[np.ndarray], np.ndarray]


def by_inflation(
    results: Sequence[Drawn],
    function: str,
    particles: int = 15,
    *,
    colours: Colours = MODEL_COLOURS,
    rule: Rule = keep_inliers,
) -> Figure:
    """Figs. 2 and 6: loss and complexity against the inflation factor, one box per model.

    Args:
        results: Ensembles of all models; particle models with other K are left out.
        function: Which of the two functions.
        particles: K of the particle models.
        colours: Of the models, in the order of their boxes.
        rule: Which runs are drawn; `numpy.isfinite` leaves out failed ones alone.

    Returns:
        The figure; ``n*`` above a box counts the runs left out of it.
    """
    chosen = [
        r for r in results if r.config.function == function and r.config.particles in (0, particles)
    ]
    factors = sorted({r.config.inflation for r in chosen})
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    for ax, key, label in zip(
        axes, ("loss", "complexity"), ("100·MSE + R", "∫ log₂ complexity"), strict=True
    ):
        for r in chosen:
            box(ax, r, key, factors, colours=colours, rule=rule)
        ax.set_xticks(range(len(factors)), [str(a) for a in factors])
        ax.set_xlabel("inflation factor α")
        ax.set_ylabel(label)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter(PlainLog())
    axes[0].yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
    axes[0].set_title(LABELS[function])
    legend(fig, colours, width=5)
    return fig


def legend(fig: Figure, colours: Colours, *, width: float) -> None:
    """The models' colours below a figure; a model of one's own is called by its key."""
    handles = [Line2D([], [], color=c, lw=width) for c in colours.values()]
    names = [MODELS.get(model, model) for model in colours]
    fig.legend(handles, names, loc="outside lower center", ncols=4)


def box(
    ax: Axes,
    result: Drawn,
    key: str,
    factors: Sequence[int],
    *,
    colours: Colours = MODEL_COLOURS,
    rule: Rule = keep_inliers,
) -> None:
    """Box of one ensemble at its inflation factor, outliers left out and counted as ``n*``."""
    values = np.asarray(result.metrics[key], dtype=float)
    kept = values[rule(values)]
    count, order = len(colours), list(colours).index(result.config.model)
    place = factors.index(result.config.inflation) + 0.8 / count * (order - (count - 1) / 2)
    colour = colours[result.config.model]
    ax.boxplot(
        kept,
        positions=[place],
        widths=0.64 / count,
        patch_artist=True,
        manage_ticks=False,
        whis=(0, 100),
        boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.75},
        medianprops={"color": "black"},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )
    if len(kept) < len(values):
        text = f"{len(values) - len(kept)}*"
        # without any run left the count stands at the lower edge
        point, frame = ((place, kept.max()), "data") if len(kept) else ((place, 0), None)
        ax.annotate(
            text,
            point,
            (0, 2),
            xycoords=frame or ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def fits(results: Sequence[Drawn], *, columns: str, colours: Colours = MODEL_COLOURS) -> Figure:
    """Learned functions of all runs over the target; Figs. 7 and 8 with ``columns="particles"``.

    Args:
        results: Ensembles; rows are functions.
        columns: Config field that tells the columns apart (``model`` or ``particles``).
        colours: Of the models.

    Returns:
        The figure; short vertical lines are particle positions after training (first run).
    """
    rows = [f for f in FUNCTIONS if any(r.config.function == f for r in results)]
    keys = list(dict.fromkeys(getattr(r.config, columns) for r in results))
    fig, axes = plt.subplots(
        len(rows),
        len(keys),
        figsize=(WIDTH, 0.4 + 2.0 * len(rows)),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    x = np.linspace(-BOUND, BOUND, 101)
    for r in results:
        column = keys.index(getattr(r.config, columns))
        ax = axes[rows.index(r.config.function), column]
        target = FUNCTIONS[r.config.function](torch.as_tensor(x)).numpy()
        if "fit" in r.arrays:  # else every run failed; every second point is as fine as the eye
            curves = r.arrays["fit"][:, ::2].T
            ax.plot(x[::2], curves, color=colours[r.config.model], lw=0.8, alpha=0.7)
        ax.plot(x, target, color="black", lw=1.2, ls="--")
        if "particles" in r.arrays:
            _mark_particles(ax, r.arrays["particles"][0])
        if ax in list(axes[0]):
            key = keys[column]
            title = MODELS.get(key, key) if columns == "model" else f"K = {key}"
            ax.set_title(title, fontsize=8.5)
        if column == 0:
            ax.set_ylabel(r.config.function)
    for ax in axes[-1]:
        ax.set_xlabel("x")
    return fig


def _mark_particles(ax: Axes, positions: np.ndarray) -> None:
    inside = positions[np.abs(positions) <= 1.2 * BOUND]
    for position in inside:
        ax.axvline(position, ymax=0.07, color="0.25", lw=0.9)


def mapping_over_depth(results: Sequence[Drawn]) -> Figure:
    """Fig. 9: how inputs travel through depth, first run of each result."""
    fig, axes = plt.subplots(1, len(results), figsize=(WIDTH, 3.2), squeeze=False)
    depth = np.linspace(0, 1, 11)
    for ax, r in zip(axes[0], results, strict=True):
        ax.set_title(LABELS[r.config.function])
        ax.set_xlabel("depth t")
        if "depth" not in r.arrays:  # every run failed
            continue
        paths = r.arrays["depth"][0]
        colours = PATHS(np.linspace(0, 1, paths.shape[1]))
        for path, colour in zip(paths.T, colours, strict=True):
            ax.plot(depth, path, color=colour, lw=1.0)
    axes[0, 0].set_ylabel("x(t)")
    return fig


def control_over_depth(results: Sequence[Drawn]) -> Figure:
    """Figs. 10 and 11: entries of theta1, b1, theta2, b2, theta3 over depth, one row per result.

    Args:
        results: Ensembles; the first run of each is drawn.

    Returns:
        The figure; every axis contains zero, so that what hardly changes looks so.
    """
    names = ("theta1", "b1", "theta2", "b2", "theta3")
    titles = ("θ₁", "b₁", "θ₂", "b₂", "θ₃")
    fig, axes = plt.subplots(
        len(results),
        len(names),
        figsize=(WIDTH, 0.5 + 1.7 * len(results)),
        sharex=True,
        squeeze=False,
    )
    for row, r in zip(axes, results, strict=True):
        row[0].set_ylabel(f"{r.config.function}, α = {r.config.inflation}", fontsize=8.5)
        if "theta/b1" not in r.arrays:  # every run failed
            continue
        depth = np.linspace(0, 1, r.arrays["theta/b1"].shape[1])
        for ax, name in zip(row, names, strict=True):
            entries = r.arrays[f"theta/{name}"][0]
            largest = np.argsort(-np.abs(entries).max(axis=0))[:MOST_LINES]
            ax.plot(depth, entries[:, largest], lw=0.8)
            low, high = min(0.0, entries.min()), max(0.0, entries.max())
            ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
            ax.tick_params(labelsize=8)
    for top, bottom, title in zip(axes[0], axes[-1], titles, strict=True):
        top.set_title(title)
        bottom.set_xlabel("depth t")
        bottom.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    return fig


def median_line(
    ax: Axes, place: Sequence[float], results: Sequence[Any], key: str, **look: Any
) -> None:
    """Medians of ensembles joined by a line, with quartile bars; failed runs are NaN.

    Args:
        ax: Where to draw.
        place: Horizontal position of each ensemble.
        results: The ensembles, in order; nothing is drawn without any.
        key: Name of the number.
        **look: How `errorbar` draws it.
    """
    if not results:
        return
    values = (np.asarray(r.metrics[key], dtype=float) for r in results)
    low, middle, high = np.array([np.nanquantile(v, [0.25, 0.5, 0.75]) for v in values]).T
    ax.errorbar(place, middle, [middle - low, high - middle], **look)


def all_inflations(
    results: Sequence[Drawn], particles: int = 15, *, colours: Colours = MODEL_COLOURS
) -> Figure:
    """Loss and complexity over all inflation factors: median and quartiles, no run left out.

    Args:
        results: Ensembles of all models; particle models with other K are left out.
        particles: K of the particle models.
        colours: Of the models that are drawn.

    Returns:
        The figure: a row per function. Failed runs are NaN and not drawn.
    """
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2), sharex=True)
    keys = {"loss": "100·MSE + R", "complexity": "∫ log₂ complexity"}
    for row, function in zip(axes, FUNCTIONS, strict=True):
        for ax, (key, label) in zip(row, keys.items(), strict=True):
            for shift, (model, colour) in enumerate(colours.items()):
                mine = [
                    r
                    for r in sorted(results, key=lambda r: r.config.inflation)
                    if (r.config.function, r.config.model) == (function, model)
                    and r.config.particles in (0, particles)
                ]
                beside = 1.06 ** (shift - (len(colours) - 1) / 2)
                place = [r.config.inflation * beside for r in mine]
                look = {"fmt": "o-", "ms": 3, "lw": 1.1, "color": colour}
                median_line(ax, place, mine, key, **look)
            ax.set_xscale("log", base=2)
            ax.set_ylabel(label)
        row[0].set_yscale("log")
        row[0].yaxis.set_major_formatter(PlainLog())
        row[0].yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
        row[0].set_title(LABELS[function])
    factors = sorted({r.config.inflation for r in results})
    for ax in axes[-1]:
        ax.set_xticks(factors, [str(a) for a in factors])
        ax.set_xlabel("inflation factor α")
    legend(fig, colours, width=3)
    return fig
