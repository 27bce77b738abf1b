"""The regression with every run in sight: losses as strips, and how much each weight changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shooting.study.claims.rule import median
from shooting.study.experiments.ablations import stuck
from shooting.study.experiments.models import MODELS
from shooting.study.figures.regression import LABELS
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours, PlainLog

LEVEL: dict[str, Any] = {"color": "0.35", "lw": 1, "ls": "--"}
BLOCKS = {"theta1": "θ₁", "b1": "b₁", "theta2": "θ₂", "b2": "b₂", "theta3": "θ₃"}
Key = tuple[str, int]  # model, inflation factor


class Runs(Protocol):
    """All runs of one setting."""

    @property
    def config(self) -> Any:
        """The setting."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Final numbers by name, one per run."""


def losses(
    results: Sequence[Runs],
    function: str,
    *,
    names: Mapping[Key, str] | None = None,
    level: tuple[str, float] | None = None,
    colours: Colours = MODEL_COLOURS,
) -> Figure:
    """Loss of every run against the inflation factor, a strip per model, none left out.

    Args:
        results: Settings; those of the other function and of no listed model are left out.
        function: Which target.
        names: What is written at the right edge, at the median of a model at a factor.
        level: Name and height of a line.
        colours: Of the models, in the order of their strips.

    Returns:
        The figure; stuck runs are crosses, counted above their strip; bars are medians.
    """
    chosen = [r for r in results if r.config.function == function and r.config.model in colours]
    factors = sorted({r.config.inflation for r in chosen})
    fig, ax = plt.subplots(figsize=(WIDTH, 3.7))
    for r in chosen:
        order = list(colours).index(r.config.model) - (len(colours) - 1) / 2
        place = factors.index(r.config.inflation) + 0.9 / len(colours) * order
        held = stuck(function, r.metrics["mse"])
        middle = _strip(ax, place, r.metrics["loss"], held, colours[r.config.model])
        if name := (names or {}).get((r.config.model, r.config.inflation)):
            _at_the_edge(ax, middle, name, colours[r.config.model])
    for k in range(1, len(factors)):
        ax.axvline(k - 0.5, color="0.8", lw=0.8)
    if level is not None:
        ax.axhline(level[1], **LEVEL)
        _note(ax, level[0], (len(factors) - 0.52, level[1]), (0, -11), ha="right", color="0.35")
    _dress(ax, factors, function)
    _legend(fig, colours)
    return fig


def _strip(ax: Axes, place: float, values: Any, held: np.ndarray, colour: Any) -> float:
    """Draw the runs of one setting; returns the median, failed runs counting as infinite."""
    loss = np.asarray(values, dtype=float)
    jitter = place + 0.16 * _spread(len(loss))
    ax.scatter(jitter[~held], loss[~held], s=8, color=colour, alpha=0.6, lw=0)
    ax.scatter(jitter[held], loss[held], s=14, color=colour, marker="x", lw=0.8)
    middle = median(loss)
    ax.plot([place - 0.1, place + 0.1], [middle, middle], color="black", lw=2)
    if held.any():
        top = np.nanmax(loss) if np.isfinite(loss).any() else 1.0
        _note(ax, f"{int(held.sum())}/{len(held)}", (place, top), (0, 5), color=colour)
    return middle


def _spread(count: int) -> np.ndarray:
    """Evenly spread numbers from -1/2 to 1/2, without chance."""
    return 0.618 * np.arange(count) % 1 - 0.5


def _note(
    ax: Axes, text: str, point: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    style = {"ha": "center", "fontsize": 8, **look}
    ax.annotate(text, point, offset, textcoords="offset points", **style)


def _at_the_edge(ax: Axes, height: float, text: str, colour: Any) -> None:
    ax.annotate(
        text,
        (1.01, height),
        xycoords=("axes fraction", "data"),
        va="center",
        color=colour,
        fontsize=9,
        annotation_clip=False,
    )


def _dress(ax: Axes, factors: Sequence[int], function: str) -> None:
    ax.set_title(LABELS.get(function, function))
    ax.set_xticks(range(len(factors)), [str(a) for a in factors])
    ax.set_xlim(-0.5, len(factors) - 0.5)
    ax.set_xlabel("inflation factor α")
    ax.set_ylabel("loss, 100·MSE + R")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(PlainLog())
    ax.yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
    ax.margins(y=0.08)
    ax.grid(visible=False, axis="x")


def _legend(fig: Figure, colours: Colours) -> None:
    handles = [Line2D([], [], color=c, marker="o", ms=4, lw=0) for c in colours.values()]
    handles += [Line2D([], [], color="0.35", marker="x", ms=5, lw=0)]
    names = [*(MODELS.get(model, model) for model in colours), "stuck run"]
    fig.legend(handles, names, loc="outside lower center", ncols=len(names), handletextpad=0.2)


def changes(results: Mapping[str, Runs]) -> Figure:
    """How much each block of weights changes over depth, relative to its size; every run a dot.

    Args:
        results: Settings by name, a panel each.

    Returns:
        The figure; the metric is the rms distance from the mean over depth, over the rms.
    """
    columns = 2
    rows = -(-len(results) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.6 + 1.5 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(results) :]:
        ax.set_axis_off()
    for ax, (name, r) in zip(axes.flat, results.items(), strict=False):
        for place, block in enumerate(BLOCKS):
            _change(ax, place, 100 * np.asarray(r.metrics[f"variation/{block}"], dtype=float))
        ax.set_title(name)
    axes[0, 0].set_yticks(range(len(BLOCKS)), list(BLOCKS.values()))
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlim(-3, 115)
    for ax in axes[-1]:
        ax.set_xlabel("change over depth, per cent of the size")
    return fig


def _change(ax: Axes, place: int, values: np.ndarray) -> None:
    jitter = place + 0.45 * _spread(len(values))
    ax.scatter(values, jitter, s=7, color=PALETTE[0], alpha=0.5, lw=0)
    middle = median(values)
    ax.plot([middle, middle], [place - 0.35, place + 0.35], color="black", lw=2)
    ax.annotate(
        f"{middle:.1f}" if middle < 10 else f"{middle:.0f}",
        (1, place),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        fontsize=8.5,
    )
