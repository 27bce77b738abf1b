"""The regression, one change at a time and against other models at equal parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from shooting.study.claims.rule import median
from shooting.study.data.functions import BOUND, FUNCTIONS
from shooting.study.experiments.ablations import STUCK, stuck
from shooting.study.experiments.baselines import BASELINES
from shooting.study.experiments.models import MODELS
from shooting.study.figures.regression import LABELS, median_line
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours

NAMES = {**MODELS, **BASELINES}
COLOURS: Colours = {
    **MODEL_COLOURS,
    "node": PALETTE[3],
    "augmented_node": PALETTE[4],
    "galerkin": PALETTE[5],
    "resnet": PALETTE[9],
}
FRONTIER: Colours = {  # grey: without particles
    **dict.fromkeys(BASELINES, "0.5"),
    "static_direct": "0.25",
    "dynamic_direct": "0.25",
    "static_particles": PALETTE[1],
    "dynamic_particles": PALETTE[0],
}
APART = 0.115  # of a panel's height, between the names at its right edge
MARKERS = {"node": "v", "augmented_node": "^", "galerkin": "s", "resnet": "D"}  # others: o


class Sized(Protocol):
    """A record, or an outcome, that knows its number of parameters."""

    config: Any
    metrics: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, float]


# The reference, the others (a grey seen on white and on black), with the lift counted
STRIPS = (PALETTE[0], "0.5", PALETTE[1])


def ablation_strips(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    function: str,
    *,
    colours: Sequence[Any] = STRIPS,
) -> Figure:
    """Test error and complexity of each variant, every run a dot, the median a bar.

    Args:
        runs: Metrics of all runs by name of the variant, the first being the reference.
        function: Target, for the title and the line above which a run is stuck.
        colours: Of the reference, of the other variants, of complexities with the lift counted.

    Returns:
        The figure; row names count the stuck runs, those right of the dashed line. Open dots are
        complexities with the lift counted.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.1 + 0.27 * len(runs)), sharey=True)
    for row, metrics in enumerate(runs.values()):
        colour = colours[min(row, 1)]
        _strip(axes[0], row, metrics["mse"], colour)
        _strip(axes[1], row, metrics["complexity"], colour)
        _strip(axes[1], row + 0.25, metrics["complexity_with_lift"], colours[2], filled=False)
    axes[0].set_yticks(range(len(runs)), [_row_label(n, m, function) for n, m in runs.items()])
    axes[0].invert_yaxis()
    axes[0].axvline(STUCK[function], color=PALETTE[3], ls="--", lw=1)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("test MSE")
    axes[1].set_xlabel("∫ log₂ complexity")
    axes[0].set_title(LABELS[function])
    return fig


def _row_label(name: str, metrics: Mapping[str, Sequence[float]], function: str) -> str:
    found = stuck(function, metrics["mse"])
    return f"{name}  ({int(found.sum())}/{len(found)} stuck)"


def _strip(
    ax: Axes, row: float, values: Sequence[float], colour: Any, *, filled: bool = True
) -> None:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):  # every run failed: the label says so
        return
    jitter = 0.14 * np.sin(2.4 * np.arange(len(finite)))  # spread without chance
    face = colour if filled else "none"
    ax.scatter(
        finite, row + jitter, s=7, facecolor=face, edgecolor=colour, lw=0 if filled else 0.6,
        alpha=0.75 if filled else 1,
        rasterized=True, zorder=2,
    )  # fmt: skip
    middle = median(values)
    if np.isfinite(middle):  # else most runs failed
        ax.plot([middle, middle], [row - 0.3, row + 0.3], color=colour, lw=2, zorder=3)


def frontier(results: Sequence[Sized], function: str, *, colours: Colours = FRONTIER) -> Figure:
    """Test error, loss and complexity against the number of parameters: a wide panel each.

    Args:
        results: Ensembles; the other function is left out.
        function: Which target.
        colours: Of the models that are drawn, the last ones on top.

    Returns:
        The figure: medians with quartiles, each line named at the right edge; complexities of the
        two NODEs drawn dotted, since their matrices enter the field in another way.
    """
    fig, axes = plt.subplots(3, 1, figsize=(WIDTH, 7.6), sharex=True)
    panels = (("mse", "test MSE"), ("loss", "100·MSE + R"), ("complexity", "∫ log₂ complexity"))
    for ax, (key, label) in zip(axes, panels, strict=True):
        ends = {}
        for model, colour in colours.items():
            mine = [r for r in results if (r.config.function, r.config.model) == (function, model)]
            if mine:
                mine.sort(key=lambda r: r.facts["parameters"])
                ends[model] = _line(ax, mine, key, model, colour)
        ax.set(
            xscale="log",
            xlim=_room(ax),
            yscale="linear" if key == "complexity" else "log",
            title=label,
        )
        _name_ends(ax, ends, colours)
    axes[-1].set_xlabel("parameters")
    fig.suptitle(LABELS[function], size=10, x=0.01, ha="left")
    return fig


def _room(ax: Axes) -> tuple[float, float]:
    sizes = [x for line in ax.lines for x in np.ravel(line.get_xdata())]
    return min(sizes, default=1) / 1.3, max(sizes, default=1) * 1.3


def _line(
    ax: Axes, results: Sequence[Sized], key: str, model: str, colour: Any
) -> tuple[float, float]:
    """Draw the line of a model and return its right end."""
    other = key == "complexity" and model in ("node", "augmented_node")
    place = [r.facts["parameters"] for r in results]
    median_line(
        ax,
        place,
        results,
        key,
        marker=MARKERS.get(model, "o"),
        ms=4,
        lw=1.8 if "particles" in model else 1,
        elinewidth=0.7,
        ls=":" if other else "--" if model in BASELINES else "-",
        color=colour,
    )
    return place[-1], median(results[-1].metrics[key])


def _name_ends(ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Colours) -> None:
    """The name of each line in the margin, led to from its end, one above the other."""
    ax.autoscale_view(scalex=False)
    to_panel = ax.transScale + ax.transLimits
    heights = [float(to_panel.transform(end)[1]) for end in ends.values()]
    for (model, end), height in zip(ends.items(), spread(heights, APART), strict=True):
        ax.annotate(
            NAMES.get(model, model),
            end,
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            size=9,
            color=colours[model],
            weight="bold" if "particles" in model else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": colours[model],
                "lw": 0.5,
                "ls": ":",
                "relpos": (0, 0.5),
            },  # fmt: skip
            annotation_clip=False,
        )


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Heights moved as little as their order and a least distance allow, around their middle.

    Args:
        heights: Where each would stand.
        apart: Least distance of two.

    Returns:
        Where each stands, in the order given.
    """
    order = np.argsort(heights, kind="stable")
    steps = apart * np.arange(len(order))
    found = np.empty(len(order))
    found[order] = isotonic_regression(np.asarray(heights, dtype=float)[order] - steps).x + steps
    return [float(x) for x in found]


def learned(results: Sequence[Sized], *, colours: Colours = COLOURS) -> Figure:
    """Learned functions of all runs over the target, one panel per ensemble, two in a row.

    Args:
        results: Ensembles.
        colours: Of the models.

    Returns:
        The figure.
    """
    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.5 + 2.0 * rows), sharex=True, sharey=True, squeeze=False
    )
    x = np.linspace(-BOUND, BOUND, 101)
    for ax, r in zip(axes.flat, results, strict=False):
        target = FUNCTIONS[r.config.function](torch.as_tensor(x)).numpy()
        ax.plot(x, r.arrays["fit"].T, color=colours[r.config.model], lw=0.9, alpha=0.8)
        ax.plot(x, target, color="black", lw=1.2, ls="--")
        name = NAMES.get(r.config.model, r.config.model)
        ax.set_title(f"{name}, {int(r.facts['parameters'])} parameters")
    for ax in axes[-1]:
        ax.set_xlabel("x")
    return fig
