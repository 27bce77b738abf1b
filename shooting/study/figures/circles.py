"""The concentric circles: success rates, cost and flow. Records (or live outcomes) in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.experiments.circles import DEPTHS, DRAWN, EDGE, wilson
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import PALETTE, WIDTH, PlainLog

MARKERS = ("o", "s", "^", "D")
CLASSES = (PALETTE[1], PALETTE[0])  # disc, ring
SHOWN = (0, 3, 7, 10)  # of `DEPTHS`
STRIDE = 4  # of the grid's lines, one in so many is drawn
LEFT = 0.062  # edge of the axis of weights: room for what has no weight


def successes(result: Drawn, metric: str = "fits") -> tuple[int, int]:
    """Number of successful runs and of all runs; a failed run is no success."""
    values = np.asarray(result.metrics[metric], dtype=float)
    return int(np.nansum(values)), len(values)


def success_by_weight(
    results: Sequence[Drawn],
    *,
    published: Mapping[int, float] | None = None,
    colours: Sequence[Any] = PALETTE,
) -> Figure:
    """Success rate against the weight of the classification loss, one labelled line per alpha.

    Args:
        results: Ensembles of one protocol.
        published: Published rates by alpha, in [0, 1], drawn at the left edge: their weight is
            unknown.
        colours: Of the inflation factors, ascending.

    Returns:
        The figure; bars are 95 % Wilson intervals.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    ax.axvspan(LEFT, 1.0, color="0.5", alpha=0.12, lw=0)
    factors, crossings = _factors(results), {}
    for k, alpha in enumerate(factors):
        mine = sorted(
            (r for r in results if r.config.inflation == alpha),
            key=lambda r: r.config.classification,
        )
        place = [r.config.classification * 1.03 ** (k - 1) for r in mine]  # side by side
        rate, low, high = _rates(mine)
        ax.errorbar(
            place, rate, [rate - low, high - rate], color=colours[k], marker=MARKERS[k % 4], ms=5,
            lw=1.4, capsize=2,
        )  # fmt: skip
        crossings[alpha] = _crossing(place, rate)
        if published and alpha in published:
            ax.plot(1.12 * LEFT, 100 * published[alpha], marker=">", color=colours[k], ms=7)
    first = min(factors, key=lambda a: crossings[a])
    for k, alpha in enumerate(factors):
        _name(ax, f"α = {alpha}", crossings[alpha], colours[k], left=alpha == first)
    ax.set(xscale="log", xlim=(LEFT, 12), ylim=(-4, 112), yticks=range(0, 101, 25))
    ax.xaxis.set_major_formatter(PlainLog())
    ax.set_xlabel("weight λ of the classification loss")
    ax.set_ylabel("runs that fit all points [%]")
    ax.text(1.08 * LEFT, 109, "loss down-weighted", va="top", color="0.35", size=9)
    if published:
        ax.text(
            1.3 * LEFT,
            100 * max(published.values()),
            "published, λ unknown",
            va="center",
            color="0.35",
            size=9,
        )
    return fig


def _crossing(place: Sequence[float], rate: np.ndarray) -> tuple[float, float]:
    """Where a rising line passes 50 %; the last point of a line that does not."""
    above = np.flatnonzero(rate >= 50)
    if not len(above) or above[0] == 0:
        return place[-1], float(rate[-1])
    k = int(above[0])
    part = (50 - rate[k - 1]) / (rate[k] - rate[k - 1])
    return float(place[k - 1] * (place[k] / place[k - 1]) ** part), 50.0


def _name(
    ax: Axes, text: str, point: tuple[float, float], colour: Any, *, left: bool = False
) -> None:
    ax.annotate(
        text,
        point,
        (-8 if left else 5, -4),
        textcoords="offset points",
        ha="right" if left else "left",
        color=colour,
        weight="bold",
        size=9,
    )


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
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.8))
    factors = _factors(results)
    for ax, (metric, label) in zip(axes, names, strict=True):
        for k, weight in enumerate(sorted({r.config.classification for r in results})):
            mine = {r.config.inflation: r for r in results if r.config.classification == weight}
            values = [np.asarray(mine[a].metrics[metric], float) for a in factors if a in mine]
            low, mid, high = np.array([np.nanquantile(v, [0.25, 0.5, 0.75]) for v in values]).T
            place = [factors.index(a) for a in factors if a in mine]
            ax.errorbar(
                place, mid, [mid - low, high - mid], color=colours[k], marker=MARKERS[k % 4],
                ms=4, lw=1.4, capsize=2,
            )  # fmt: skip
            if ax is axes[0]:
                _name(ax, f"λ = {weight:g}", (place[-1], mid[-1]), colours[k])
        ax.set_xticks(range(len(factors)), [str(a) for a in factors])
        ax.set(xlabel="α", title=label)
    axes[0].set_xlim(-0.2, len(factors) - 0.1)
    axes[0].set_yscale("log")
    for setter in (axes[0].yaxis.set_major_formatter, axes[0].yaxis.set_minor_formatter):
        setter(PlainLog(minor_thresholds=(2, 0.5)))
    return fig


@dataclass(frozen=True)
class Journey:
    """What one run does to the plane between entrance and exit.

    Attributes:
        title: Its name, written beside its row.
        points: The data over `DEPTHS`, those of the disc first, ``(11, n, 2)``.
        grid: Grid points of the plane over `DEPTHS`, ``(11, g, g, 2)``, if they were followed.
        border: What the classifier reads at the exit on a square grid of the window,
            ``(n * n,)``, if it is known.
    """

    title: str
    points: np.ndarray
    grid: np.ndarray | None = None
    border: np.ndarray | None = None


def recorded(results: Sequence[Drawn]) -> list[Journey]:
    """The first run of each ensemble; one whose runs all failed is left out."""
    return [
        Journey(f"α = {r.config.inflation}", r.arrays["flow"][0])
        for r in results
        if "flow" in r.arrays
    ]


def snapshots(journeys: Sequence[Journey], *, colours: Sequence[Any] = CLASSES) -> Figure:
    """The plane at four depths, one row per run: the data, and the grid that travels with them.

    Args:
        journeys: Runs.
        colours: Of the disc and of the ring.

    Returns:
        The figure; the black line at the exit is where the classifier changes its answer.
    """
    rows, columns = max(1, len(journeys)), len(SHOWN)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.3 + 1.85 * rows), squeeze=False, sharex=True, sharey=True
    )
    for row, journey in zip(axes, journeys, strict=False):  # none: an empty row
        for ax, k in zip(row, SHOWN, strict=True):
            _snapshot(ax, journey, k, colours)
        row[0].set_ylabel(journey.title, weight="bold")
        if journey.border is not None:
            _border(row[-1], journey.border)
    for ax, k in zip(axes[0], SHOWN, strict=True):
        ax.set_title(f"t = {DEPTHS[k]:g}")
    return fig


def _snapshot(ax: Axes, journey: Journey, k: int, colours: Sequence[Any]) -> None:
    if journey.grid is not None:
        grid, half = journey.grid[k], STRIDE // 2
        for lines in (grid[::STRIDE, ::half].transpose(1, 0, 2), grid[::half, ::STRIDE]):
            ax.plot(lines[..., 0], lines[..., 1], color="0.6", lw=0.5, zorder=1)
    first = DRAWN[0]
    for part, colour in ((slice(first, None), colours[1]), (slice(first), colours[0])):
        x, y = journey.points[k, part].T
        ax.scatter(x, y, s=5, color=colour, lw=0, zorder=2, rasterized=True)
    ax.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=[-1, 1], yticks=[-1, 1])
    ax.grid(visible=False)


def _border(ax: Axes, logits: np.ndarray) -> None:
    count = round(len(logits) ** 0.5)
    axis = np.linspace(-EDGE, EDGE, count)
    ax.contour(axis, axis, logits.reshape(count, count), [0.0], colors="black", linewidths=1.4)


def _factors(results: Sequence[Drawn]) -> list[int]:
    return sorted({r.config.inflation for r in results})
