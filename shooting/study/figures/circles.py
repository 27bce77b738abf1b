"""The concentric circles: success rates, cost and flow. Records (or live outcomes) in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.experiments.circles import DRAWN, EDGE, wilson
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import PALETTE

MARKERS = ("o", "s", "^", "D")
CLASSES = (PALETTE[1], PALETTE[0])  # disc, ring


def successes(result: Drawn, metric: str = "fits") -> tuple[int, int]:
    """Number of successful runs and of all runs; a failed run is no success."""
    values = np.asarray(result.metrics[metric], dtype=float)
    return int(np.nansum(values)), len(values)


def success_by_weight(results: Sequence[Drawn], *, colours: Sequence[Any] = PALETTE) -> Figure:
    """Success rate against the weight of the classification loss, one line per alpha.

    Args:
        results: Ensembles of one protocol.
        colours: Of the inflation factors, ascending.

    Returns:
        The figure; bars are 95 % Wilson intervals.
    """
    fig, ax = plt.subplots(figsize=(7.0, 3.2))
    for k, alpha in enumerate(_factors(results)):
        mine = sorted(
            (r for r in results if r.config.inflation == alpha),
            key=lambda r: r.config.classification,
        )
        place = [r.config.classification * 1.03 ** (k - 1) for r in mine]  # side by side
        rate, low, high = _rates(mine)
        ax.errorbar(
            place, rate, [rate - low, high - rate], color=colours[k], marker=MARKERS[k % 4], ms=5,
            lw=1.2, capsize=2, label=f"α = {alpha}",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlabel("weight λ of the classification loss")
    ax.set_ylabel("runs that fit all points [%]")
    ax.set_ylim(-4, 104)
    ax.legend(title="inflation factor")
    return fig


def _rates(results: Sequence[Drawn]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = [successes(r) for r in results]
    ends = np.array([wilson(*c) for c in counts])
    rate = np.array([good / runs for good, runs in counts])
    # at 0 or all successes an end is the rate itself, but for rounding to the wrong side of it
    low, high = np.minimum(ends[:, 0], rate), np.maximum(ends[:, 1], rate)
    return 100 * rate, 100 * low, 100 * high


def cost_by_inflation(results: Sequence[Drawn], *, colours: Sequence[Any] = PALETTE) -> Figure:
    """What separating costs: R, complexity and path length against alpha, one line per weight.

    Args:
        results: Ensembles of one protocol; best those in which all runs succeed.
        colours: Of the weights, ascending.

    Returns:
        The figure; medians and quartiles over runs.
    """
    names = (("penalty", "R"), ("complexity", "∫ log₂ complexity"), ("path_length", "path length"))
    fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.8))
    factors = _factors(results)
    for ax, (metric, label) in zip(axes, names, strict=True):
        for k, weight in enumerate(sorted({r.config.classification for r in results})):
            mine = {r.config.inflation: r for r in results if r.config.classification == weight}
            values = [np.asarray(mine[a].metrics[metric], float) for a in factors if a in mine]
            low, mid, high = np.array([np.nanquantile(v, [0.25, 0.5, 0.75]) for v in values]).T
            place = [factors.index(a) for a in factors if a in mine]
            ax.errorbar(
                place, mid, [mid - low, high - mid], color=colours[k], marker=MARKERS[k % 4],
                ms=4, lw=1.2, capsize=2, label=f"λ = {weight:g}",
            )  # fmt: skip
        ax.set_xticks(range(len(factors)), [str(a) for a in factors])
        ax.set(xlabel="α", title=label)
    axes[0].set_yscale("log")
    axes[0].legend()
    return fig


def flows(results: Sequence[Drawn], *, colours: Sequence[Any] = CLASSES) -> Figure:
    """Paths of both classes through depth over the decision, first run, one panel per result.

    Args:
        results: Ensembles.
        colours: Of the disc and of the ring.

    Returns:
        The figure; a path ends in a dot, the shading is the class assigned to a start point.
    """
    fig, axes = plt.subplots(1, len(results), figsize=(7.4, 3.0), squeeze=False, sharey=True)
    for ax, r in zip(axes[0], results, strict=True):
        if "flow" in r.arrays:  # else every run failed
            _flow(ax, r.arrays["flow"][0], r.arrays["decision"][0], colours)
        ax.set_title(f"α = {r.config.inflation}, λ = {r.config.classification:g}")
        ax.set_xlabel("x₁")
    axes[0, 0].set_ylabel("x₂")
    return fig


def _flow(ax: Axes, paths: np.ndarray, logits: np.ndarray, colours: Sequence[Any]) -> None:
    count = round(len(logits) ** 0.5)
    axis = np.linspace(-EDGE, EDGE, count)
    decision = (logits.reshape(count, count) > 0).astype(float)
    ax.contourf(axis, axis, decision, levels=[-0.5, 0.5, 1.5], colors=colours, alpha=0.18)
    for first, last, colour in ((0, DRAWN[0], colours[0]), (DRAWN[0], sum(DRAWN), colours[1])):
        ax.plot(paths[:, first:last, 0], paths[:, first:last, 1], color=colour, lw=0.6, alpha=0.8)
        ax.scatter(paths[-1, first:last, 0], paths[-1, first:last, 1], s=7, color=colour, zorder=3)
    ax.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")


def _factors(results: Sequence[Drawn]) -> list[int]:
    return sorted({r.config.inflation for r in results})
