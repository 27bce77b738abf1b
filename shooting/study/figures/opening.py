"""The figures of the opening chapter: the idea, and three kinds of control for one field."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from torch import Tensor

from shooting.parametrizations import DynamicParticles, Parametrization
from shooting.study.data.functions import BOUND, grid_points
from shooting.study.figures.regression_strips import BLOCKS
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours

TITLES = {
    "static_direct": "one constant θ",
    "dynamic_direct": "five free blocks",
    "dynamic_particles": "shot from particles",
}
RIDERS = 7  # data whose paths are drawn

Target = Callable[[Tensor], Tensor]


@torch.no_grad()
def idea(model: DynamicParticles, target: Target, *, run: int = 0) -> Figure:
    """Figure 1 of the paper for a real network: learned numbers, weights over depth, moving data.

    Args:
        model: An UpDown model with d = 1 and a learned lift.
        target: The function that it should compute, of values ``(n, 1)``.
        run: Which of its runs.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.9), width_ratios=(1, 1.1, 1.1))
    if isinstance(engine := fig.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(wspace=0.4)  # room for the arrows
    depth = torch.linspace(0, 1, 41)
    _draw_numbers(axes[0], numbers(model, run))
    _draw_weights(axes[1], model, run, depth)
    _draw_riders(axes[2], model, run, depth)
    wanted = target(grid_points(RIDERS))
    axes[2].plot(torch.ones(RIDERS), wanted, "x", color=PALETTE[3], mew=1.6, label="wanted")
    for ax in axes[1:]:
        _below(ax)
    _draw_arrow(axes[0], axes[1], "Hamilton's\nequations")
    _draw_arrow(axes[1], axes[2], "ẋ = f(x, θ)")
    return fig


def numbers(model: DynamicParticles, run: int) -> dict[str, np.ndarray]:
    """The learned numbers of one run, row by row: particles ``(x | v)``, then the lift to v.

    Returns:
        Rows by their label, in the order in which they are drawn; a lift has no entry for x.
    """
    q, p = (part[run].numpy() for part in model.start())
    rows: dict[str, np.ndarray] = {}
    for j in range(len(q)):
        rows |= {f"$q_{j + 1}$": q[j], f"$p_{j + 1}$": p[j]}
    lift = {name: part[run].flatten().numpy() for name, part in model.lift.named_parameters()}
    return rows | {"lift": lift["weight"], "bias": lift["bias"]}


def _draw_numbers(ax: Axes, rows: Mapping[str, np.ndarray]) -> None:
    """Every learned number as a coloured cell; colours saturate at the 90th percentile."""
    width = max(map(len, rows.values()))
    table = np.full((len(rows), width), np.nan)
    for line, row in zip(table, rows.values(), strict=True):
        line[width - len(row) :] = row
    bound = float(np.nanquantile(np.abs(table), 0.9))
    ax.pcolormesh(table, cmap="PuOr", vmin=-bound, vmax=bound, edgecolors="white", linewidth=2)
    ax.invert_yaxis()
    ax.set_xticks([0.5, (1 + width) / 2], ["x", "v"])
    ax.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    ax.set_title(f"{int(np.isfinite(table).sum())} numbers learned")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _draw_weights(ax: Axes, model: DynamicParticles, run: int, depth: Tensor) -> None:
    """All entries of all weights over depth, a colour for each block."""
    for k, (block, value) in enumerate(model.theta(depth).items()):
        first, *others = ax.plot(depth, value[run].flatten(1).numpy(), color=PALETTE[k], lw=1.1)
        first.set_label(BLOCKS[block])
    ax.set_title("weights at every depth")


def _draw_riders(ax: Axes, model: DynamicParticles, run: int, depth: Tensor) -> None:
    """Some data and the particles themselves, from the entrance to the exit."""
    paths = model(grid_points(RIDERS), depth)[run, :, :, 0].numpy()
    carried = model.particle_path(depth)[0][run, :, :, 0].numpy()
    first, *_ = ax.plot(depth, paths, color="0.55", lw=1.2)
    first.set_label("data")
    ax.plot(np.zeros(RIDERS), paths[0], "o", mfc="white", mec="0.45", ms=5)
    first, *_ = ax.plot(depth, carried, color=PALETTE[1], lw=2.4)
    first.set_label("particles")
    ax.set_title("data ride along")


def _below(ax: Axes) -> None:
    """Depth as the only axis, and what the colours mean under it."""
    ax.set_xticks([0, 1], ["0", "1"])
    ax.set_xlabel("depth t", labelpad=-8)
    ax.set_yticks([])
    shown = ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=5,
        columnspacing=0.7,
        handlelength=0.7,
        handletextpad=0.3,
    )
    for handle in shown.legend_handles:  # a thin dash would show no colour
        if isinstance(handle, Line2D) and handle.get_linestyle() != "None":
            handle.set_linewidth(2.6)


def _draw_arrow(left: Axes, right: Axes, words: str) -> None:
    """A thick arrow from one panel to the next, with words above it."""
    arrow = ConnectionPatch(
        (1.08, 0.5),
        (-0.06, 0.5),
        coordsA=left.transAxes,
        coordsB=right.transAxes,
        arrowstyle="simple,head_width=14,head_length=10,tail_width=5",
        mutation_scale=1,
        color="0.5",
        lw=0,
    )
    label = right.text(-0.31, 0.57, words, transform=right.transAxes, ha="center", color="0.3")
    for artist in (right.add_artist(arrow), label):
        artist.set_in_layout(False)  # else the panels would shrink until it lies in their margin


@torch.no_grad()
def three_controls(
    models: Mapping[str, Parametrization], *, colours: Colours = MODEL_COLOURS
) -> Figure:
    """Flows (above) and entries of theta1 over depth (below) of trained single-seed models.

    Args:
        models: By the keys of `TITLES`, each with exactly one run.
        colours: By the same keys.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(
        2, len(models), figsize=(WIDTH, 4.4), sharex=True, sharey="row", height_ratios=[2.2, 1]
    )
    depth = torch.linspace(0, 1, 51)
    for (above, below), (name, model) in zip(axes.T, models.items(), strict=True):
        paths = model(grid_points(25), depth)[0, :, :, 0].numpy()
        above.plot(depth, paths, color="0.65", lw=0.9)
        control = model.theta(depth)["theta1"][0].flatten(-2).numpy()
        where = {"drawstyle": "steps-post"} if name == "dynamic_direct" else {}
        below.plot(depth, control, color=colours[name], lw=1.1, **where)
        above.set_title(TITLES[name])
        below.set_xlabel("depth t")
        below.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        if isinstance(model, DynamicParticles):
            _draw_particles(above, model, depth)
    axes[0, 0].set_ylabel("x(t)")
    axes[0, 0].set_ylim(-BOUND - 0.3, 3.8)
    axes[1, 0].set_ylabel("entries of θ₁(t)")
    return fig


def _draw_particles(ax: Axes, model: DynamicParticles, depth: torch.Tensor) -> None:
    """Paths of the particles, with arrows for their initial momenta."""
    q, p = model.particle_path(depth)
    x, momentum = q[0, :, :, 0].numpy(), p[0, 0, :, 0].numpy()
    reach = 0.6 / max(1e-9, float(np.abs(momentum).max()))
    for j in range(x.shape[1]):
        colour = PALETTE[(j + 1) % len(PALETTE)]
        ax.plot(depth, x[:, j], color=colour, lw=1.6)
        ax.plot(0, x[0, j], "o", color=colour, ms=5, clip_on=False, zorder=3)
        ax.annotate(
            "",
            (0.02, x[0, j] + reach * momentum[j]),
            (0.02, x[0, j]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6},
        )
