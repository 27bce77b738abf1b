"""The convex trap beyond its main setting: other targets, and the cure elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shooting.study.claims.convex_trap import stuck, tally_of
from shooting.study.experiments.convexity import ConvexFit, best_concave, best_convex, named
from shooting.study.figures.convex_trap import CONVEX, FREE, STUCK, X
from shooting.study.figures.style import PALETTE, WIDTH
from shooting.study.records import Record

CONCAVE = {**CONVEX, "color": PALETTE[4]}
FITS = {"best convex function": (best_convex, CONVEX), "best concave": (best_concave, CONCAVE)}
ROW, GAP = 0.42, 0.16  # inches a setting; half the distance of its two bars


def targets(found: Mapping[str, Record], *, columns: int = 3) -> Figure:
    """Every learned function of some targets over the best convex and the best concave one.

    Args:
        found: Records by name, one target each.
        columns: Panels a row.

    Returns:
        The figure; stuck runs orange.
    """
    rows = -(-len(found) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.6 + 2.2 * rows), sharex=True, squeeze=False
    )
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for ax, (name, record) in zip(axes.flat, found.items(), strict=False):
        _panel(ax, name, record)
    for ax in axes.flat[max(0, len(found) - columns) : len(found)]:  # the lowest of each column
        ax.set_xlabel("x")
        ax.tick_params(labelbottom=True)
    looks = {"target": {"color": "black", "ls": "--"}, **{n: f[1] for n, f in FITS.items()}}
    looks |= {"free": {"color": FREE}, "stuck": {"color": STUCK}}
    handles = [Line2D([], [], **look) for look in looks.values()]
    fig.legend(handles, list(looks), loc="outside lower center", ncols=len(looks))
    return fig


def _panel(ax: Axes, name: str, record: Record) -> None:
    target = named(record.config.function)
    held = stuck(record.config.function, record.metrics["mse"])
    curves = record.arrays["fit"]
    for choice, colour in ((~held, FREE), (held, STUCK)):
        if choice.any():
            ax.plot(X, curves[choice].T, color=colour, lw=0.5, alpha=0.6, rasterized=True)
    for fit, look in FITS.values():
        best: ConvexFit = fit(target)
        every = max(1, len(best.x) // 200)  # as fine as the eye sees
        ax.plot(best.x[::every], best.values[::every], **look)
    ax.plot(X, target(X), color="black", ls="--", lw=1)
    low, high = float(target(X).min()), float(target(X).max())
    ax.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
    ax.set_title(f"{name}\n{int(held.sum())} of {len(held)} stuck", fontsize=8.5)


def pairs(found: Mapping[str, tuple[Record, Record]]) -> Figure:
    """Share of stuck runs as published and with the cure, with Wilson's 95 % intervals.

    Args:
        found: Both records of each setting, by name.

    Returns:
        The figure.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 1.0 + ROW * len(found)))
    for row, both in enumerate(found.values()):
        for place, record, colour in zip((-GAP, GAP), both, (STUCK, FREE), strict=True):
            count = tally_of(record)
            ax.plot(count.interval, [row + place] * 2, color=colour, lw=1.6)
            ax.plot(count.share, row + place, "o", color=colour, ms=4.5)
            ax.annotate(
                f"{count.stuck} of {count.runs}",
                (1.02, row + place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=colour,
                annotation_clip=False,
            )
    names = {"as published": STUCK, "lift frozen for 50 epochs": FREE}
    handles = [Line2D([], [], color=c, marker="o", ms=4.5) for c in names.values()]
    fig.legend(handles, list(names), loc="outside lower center", ncols=2)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of stuck runs")
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.5, -0.5)
    return fig
