"""Drawing helpers of the theory chapters: grids moved by flows, trajectories, costates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from shooting.study.figures.style import PALETTE


def grid_lines(extent: float, *, lines: int = 13, points: int = 49) -> Tensor:
    """Points of a square grid, line by line: ``(2 lines, points, 2)``, horizontal lines first."""
    along = torch.linspace(-extent, extent, points, dtype=torch.float64)
    fixed = torch.linspace(-extent, extent, lines, dtype=torch.float64)
    y, x = torch.meshgrid(fixed, along, indexing="ij")
    return torch.cat([torch.stack([x, y], dim=-1), torch.stack([y, x], dim=-1)])


def draw_grid(ax: Axes, grid: Tensor, **style: Any) -> None:
    """Draw the image of `grid_lines` under a map."""
    look = {"colors": "0.75", "linewidths": 0.6, "zorder": 0, **style}
    ax.add_collection(LineCollection([np.asarray(line) for line in grid], **look))
    ax.autoscale_view()
    ax.set_aspect("equal")


def draw_paths(ax: Axes, paths: Tensor, targets: Tensor | None = None) -> None:
    """Trajectories ``(times, n, 2)``: start as an open circle, end as a dot, target as a cross."""
    for i in range(paths.shape[1]):
        ax.plot(*paths[:, i, :2].T, color=PALETTE[0], lw=1.4, zorder=2)
    ax.plot(*paths[0, :, :2].T, "o", mfc="white", mec=PALETTE[0], ms=5, zorder=3, label="start")
    ax.plot(*paths[-1, :, :2].T, "o", color=PALETTE[0], ms=5, zorder=3, label="end")
    if targets is not None:
        ax.plot(*targets.T, "x", color=PALETTE[3], ms=7, mew=1.8, zorder=4, label="target")


def draw_costates(ax: Axes, states: Tensor, costates: Tensor, *, every: int, scale: float) -> None:
    """Arrows of the costates (first two components) along trajectories ``(times, n, 2)``."""
    q, p = states[::every, :, :2].reshape(-1, 2), costates[::every, :, :2].reshape(-1, 2)
    ax.quiver(*q.T, *p.T, color=PALETTE[1], angles="xy", scale_units="xy", scale=scale, width=0.006)
