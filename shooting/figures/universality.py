"""Drawing helpers of the universality chapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from shooting.figures.style import PALETTE
from shooting.universality.approximation import Approximation


def disk_lines(radius: float = 1.0, *, lines: int = 9, points: int = 41) -> Tensor:
    """Chords of a disk, upright and level, as polylines ``(2 lines, points, 2)``."""
    offset = radius * torch.linspace(-1, 1, lines + 2, dtype=torch.float64)[1:-1, None]
    along = torch.linspace(-1, 1, points, dtype=torch.float64) * (radius**2 - offset**2).sqrt()
    still = offset.expand_as(along)
    return torch.cat([torch.stack([along, still], -1), torch.stack([still, along], -1)])


def circle(radius: float = 1.0, *, points: int = 161) -> Tensor:
    """A closed circle as one polyline ``(1, points, 2)``."""
    angle = torch.linspace(0, 2 * torch.pi, points, dtype=torch.float64)
    return radius * torch.stack([angle.cos(), angle.sin()], -1).unsqueeze(0)


def moved(lines: Tensor, flow: Callable[[Tensor], Tensor]) -> Tensor:
    """Polylines carried by a flow with outputs ``(times, n, 2)``: ``(times, lines, points, 2)``."""
    path = flow(lines.reshape(-1, 2))
    return path.view(len(path), *lines.shape)


def draw_disk(ax: Axes, grid: Tensor, rim: Tensor, *, colour: object = PALETTE[0]) -> None:
    """The image of the disk's chords, and of its rim, which is drawn heavier."""
    ax.add_collection(LineCollection([np.asarray(c) for c in grid], colors=colour, linewidths=0.7))
    ax.add_collection(LineCollection([np.asarray(c) for c in rim], colors="0.15", linewidths=1.3))
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_shadow(ax: Axes, grid: Tensor, rim: Tensor) -> None:
    """The true image, heavy and light, to be drawn under an approximation."""
    for lines, width in ((grid, 1.6), (rim, 3.0)):
        curves = [np.asarray(c) for c in lines]
        ax.add_collection(LineCollection(curves, colors=PALETTE[1], linewidths=width, alpha=0.5))


def draw_flows(axes: np.ndarray, found: Sequence[Approximation], *, frames: int = 5) -> None:
    """Frames of the disk's deformation: the true flow in the first row, one row for each try."""
    grid, rim, target = disk_lines(), circle(), found[0].target
    true = [moved(c, partial(target.flow, times=frames)) for c in (grid, rim)]
    for k, ax in enumerate(axes[0]):
        draw_disk(ax, true[0][k], true[1][k], colour=PALETTE[1])
        ax.set_title(f"t = {k / (frames - 1):g}")
    axes[0, 0].set_ylabel("true flow")
    for row, f in zip(axes[1:], found, strict=True):
        inner, outer = (moved(c, partial(f.flow, times=frames)) for c in (grid, rim))
        for k, ax in enumerate(row):
            draw_shadow(ax, true[0][k], true[1][k])
            draw_disk(ax, inner[k], outer[k])
        row[0].set_ylabel(f"UpDown, k = {len(f.nets)}")
    share_limits(axes)


def share_limits(axes: np.ndarray) -> None:
    """One window for all panels, so that they can be compared by eye."""
    boxes = np.array([ax.axis() for ax in axes.flat])
    low, high = boxes.min(0), boxes.max(0)
    for ax in axes.flat:
        ax.axis((low[0], high[1], low[2], high[3]))
