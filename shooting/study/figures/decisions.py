"""What a classifier with a flow inside decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from shooting.study.figures.style import PALETTE, WIDTH

CLASSES = (PALETTE[1], PALETTE[0])
REACH = 1.8  # half the width of the square that is drawn


def decisions(
    models: Mapping[str, Callable[[Tensor], Tensor]],
    x: Tensor,
    y: Tensor,
    *,
    colours: Sequence[Any] = CLASSES,
) -> Figure:
    """Where each classifier decides for which of two classes, and the data.

    Args:
        models: By title; each gives two logits ``(n, 2)`` for points ``(n, 2)``.
        x: Points ``(n, 2)``.
        y: Their classes, 0 or 1, ``(n,)``.
        colours: Of the two classes.

    Returns:
        The figure: shading is the decision, the line where it changes.
    """
    fig, axes = plt.subplots(1, len(models), figsize=(WIDTH, 2.8), squeeze=False, sharey=True)
    side = torch.linspace(-REACH, REACH, 81)
    square = torch.cartesian_prod(side, side)
    for ax, (title, model) in zip(axes[0], models.items(), strict=True):
        with torch.no_grad():
            gap = (model(square) @ torch.tensor([-1.0, 1.0])).reshape(81, 81).T.numpy()
        ax.contourf(side, side, gap, [-np.inf, 0, np.inf], colors=colours, alpha=0.2)
        ax.contour(side, side, gap, [0.0], colors="black", linewidths=1.0)
        for k, marker in enumerate("o^"):
            ax.scatter(*x[y == k].T.numpy(), s=7, marker=marker, color=colours[k], linewidths=0)
        ax.set(title=title, aspect="equal", xlabel="x₁")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("x₂")
    return fig
