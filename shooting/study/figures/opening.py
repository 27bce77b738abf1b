"""The figure of the opening chapter: three kinds of control for one field."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.parametrizations import DynamicParticles, Parametrization
from shooting.study.data.functions import BOUND, grid_points
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, Colours

TITLES = {
    "static_direct": "one constant θ",
    "dynamic_direct": "five free blocks",
    "dynamic_particles": "shot from particles",
}


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
        2, len(models), figsize=(7.2, 4.4), sharex=True, sharey="row", height_ratios=[2.2, 1]
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
