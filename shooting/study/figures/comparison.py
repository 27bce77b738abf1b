"""The regression, one change at a time and against other models at equal parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.data.functions import BOUND, FUNCTIONS
from shooting.study.experiments.ablations import STUCK, stuck
from shooting.study.experiments.baselines import BASELINES
from shooting.study.experiments.models import MODELS
from shooting.study.figures.regression import LABELS, median_line
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, Colours

NAMES = {**MODELS, **BASELINES}
COLOURS: Colours = {
    **MODEL_COLOURS,
    "node": PALETTE[3],
    "augmented_node": PALETTE[4],
    "galerkin": PALETTE[5],
    "resnet": PALETTE[9],
}
MARKERS = {"node": "v", "augmented_node": "^", "galerkin": "s", "resnet": "D"}  # others: o


class Sized(Protocol):
    """A record, or an outcome, that knows its number of parameters."""

    config: Any
    metrics: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, float]


STRIPS = (PALETTE[0], "0.35", PALETTE[1])  # the reference, the others, with the lift counted


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
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 1.1 + 0.27 * len(runs)), sharey=True)
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
        finite, row + jitter, s=9, facecolor=face, edgecolor=colour, linewidth=0.5, alpha=0.6
    )
    middle = float(np.median(finite))
    ax.plot([middle, middle], [row - 0.3, row + 0.3], color=colour, lw=2)


def frontier(results: Sequence[Sized], function: str, *, colours: Colours = COLOURS) -> Figure:
    """Test error, loss and complexity against the number of parameters, one line per model.

    Args:
        results: Ensembles; the other function is left out.
        function: Which target.
        colours: Of the models that are drawn.

    Returns:
        The figure: medians with quartiles; complexities of the two NODEs drawn dotted, since
        their matrices enter the field in another way.
    """
    fig, axes = plt.subplots(1, 3, figsize=(7.4, 3.6), sharex=True)
    panels = (("mse", "test MSE"), ("loss", "100·MSE + R"), ("complexity", "∫ log₂ complexity"))
    for model, colour in colours.items():
        mine = [r for r in results if (r.config.function, r.config.model) == (function, model)]
        mine.sort(key=lambda r: r.facts["parameters"])
        for ax, (key, label) in zip(axes, panels, strict=True):
            ax.set_ylabel(label)
            if mine:
                _line(ax, mine, key, model, colour)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlabel("parameters")
    axes[0].set_yscale("log")
    axes[1].set_yscale("log")
    axes[0].set_title(LABELS[function])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _line(ax: Axes, results: Sequence[Sized], key: str, model: str, colour: Any) -> None:
    other = key == "complexity" and model in ("node", "augmented_node")
    median_line(
        ax,
        [r.facts["parameters"] for r in results],
        results,
        key,
        marker=MARKERS.get(model, "o"),
        ms=4,
        lw=1,
        elinewidth=0.7,
        ls=":" if other else "--" if model in BASELINES else "-",
        color=colour,
        label=NAMES.get(model, model),
    )


def learned(results: Sequence[Sized], *, colours: Colours = COLOURS) -> Figure:
    """Learned functions of all runs over the target, one panel per ensemble.

    Args:
        results: Ensembles.
        colours: Of the models.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(
        1, len(results), figsize=(7.4, 2.3), sharex=True, sharey=True, squeeze=False
    )
    x = np.linspace(-BOUND, BOUND, 101)
    for ax, r in zip(axes[0], results, strict=True):
        target = FUNCTIONS[r.config.function](torch.as_tensor(x)).numpy()
        ax.plot(x, r.arrays["fit"].T, color=colours[r.config.model], lw=0.9, alpha=0.8)
        ax.plot(x, target, color="black", lw=1.2, ls="--")
        name = NAMES.get(r.config.model, r.config.model)
        ax.set_title(f"{name}\n{int(r.facts['parameters'])} parameters", size=8)
        ax.set_xlabel("x")
    return fig
