"""The long range: pasted paths over a true orbit, and for how long each model follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.data.systems import orbit, system
from shooting.study.experiments.long_range import NAMES, RIDGE
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours

LOOKS: Colours = {
    **MODEL_COLOURS,
    "node": PALETTE[3],
    "augmented_node": PALETTE[4],
    RIDGE: PALETTE[5],
}
WINDOW = 3.0  # half-width of the drawn plane, in deviations of the orbit


def paths(results: Sequence[Drawn], *, columns: int = 4) -> Figure:
    """The pasted path of each model's median run over the true orbit of one system.

    Args:
        results: One ensemble per model, of one system.
        columns: Panels a row.

    Returns:
        The figure; grey is the truth, the dot its start.
    """
    rows = -(-len(results) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.4 + 1.95 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(results) :]:
        ax.set_axis_off()
    for ax, r in zip(axes.flat, results, strict=False):
        truth = orbit(r.config.system).numpy()
        path = np.array(r.arrays["path"][0])
        path[np.abs(path).max(-1) > 1.2 * WINDOW] = np.nan
        ax.plot(*truth.T[:2], color="0.8", lw=3.5)
        ax.plot(*path.T[:2], color=LOOKS[r.config.model], lw=0.9)
        ax.plot(*truth[0, :2], "o", color="black", ms=4)
        ax.set(xlim=(-WINDOW, WINDOW), ylim=(-WINDOW, WINDOW), aspect="equal")
        ax.set_title(NAMES[r.config.model], loc="left", fontsize=8)
    fig.supxlabel("first coordinate, scaled", size=8)
    fig.supylabel("second coordinate, scaled", size=8)
    return fig


def strips(found: Mapping[str, Sequence[Drawn]], *, columns: int = 3) -> Figure:
    """For how much of the horizon each run of each model follows.

    Args:
        found: Ensembles by system, one per model.
        columns: Panels a row.

    Returns:
        The figure; a dot is a run, a bar the median.
    """
    rows = -(-len(found) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.5 + 2.0 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, (place, results) in zip(axes.flat, found.items(), strict=False):
        _panel(ax, place, results)
    for ax in axes[-1]:
        ax.set_xlabel("share of the horizon")
    return fig


def _panel(ax: Axes, place: str, results: Sequence[Drawn]) -> None:
    for row, r in enumerate(results):
        share = np.asarray(r.metrics["followed"], dtype=float) / system(place).horizon
        colour = LOOKS[r.config.model]
        ax.plot(share, np.full(len(share), row), "o", color=colour, ms=4, alpha=0.5, mew=0)
        middle = np.median(np.nan_to_num(share))  # a failed run follows for no time
        ax.plot([middle] * 2, [row - 0.35, row + 0.35], color=colour, lw=2.2)
    ax.set_yticks(range(len(results)), [NAMES[r.config.model] for r in results], fontsize=7)
    ax.set(xlim=(-0.03, 1.03), ylim=(len(results) - 0.4, -0.6))
    ax.set_title(system(place).words, loc="left")
