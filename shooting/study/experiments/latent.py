"""The shape of latent paths: how straight they are, and what their second component is.

The published picture shows each path in its own two principal components, each axis with a scale
of its own. Such a picture looks the same whatever share of the variance the second component has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from shooting.study.experiments.rotating_mnist import Network, RotatingConfig, build

StateDict = dict[str, Tensor]


def components(paths: np.ndarray) -> np.ndarray:
    """Each path in its own principal components, in float64.

    Args:
        paths: Latents ``(n, times, d)``.

    Returns:
        Coordinates ``(n, times, min(times, d))``, largest variance first. Signs are arbitrary, so
        each path starts where the first is negative and the second positive: a U opens upwards.
    """
    wide = np.asarray(paths, dtype=np.float64)
    u, s, _ = np.linalg.svd(wide - wide.mean(1, keepdims=True), full_matrices=False)
    flat: np.ndarray = u * s[:, None]
    wanted = np.ones(flat.shape[-1])
    wanted[0] = -1.0
    return flat * np.where(flat[:, :1] * wanted < 0, -1.0, 1.0)


def shares(paths: np.ndarray) -> np.ndarray:
    """Share of each component in a path's variance, ``(n, min(times, d))``; rows sum to 1."""
    square = (components(paths) ** 2).sum(1)
    found: np.ndarray = square / square.sum(-1, keepdims=True)
    return found


def parabola_share(paths: np.ndarray) -> np.ndarray:
    """Part of the second component that the best parabola in time explains, ``(n,)``.

    1 for a smooth open U, about 1/14 on average for 16 unrelated numbers: a straight first
    component leaves the second nothing of a constant or a line.

    Args:
        paths: Latents at evenly spaced times, ``(n, times, d)``.
    """
    second = components(paths)[..., 1]
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, second.shape[1]), 3))[0]
    found: np.ndarray = ((second @ basis) ** 2).sum(1) / (second**2).sum(1)
    return found


def stepped_lines(paths: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Straight lines nearest to paths, walked in equal steps: what rounding alone does to a line.

    Like a solver with one step from one time to the next, each sum is rounded; nothing else is.

    Args:
        paths: Latents at evenly spaced times, ``(n, times, d)``.
        dtype: Of the walk.

    Returns:
        Paths ``(n, times, d)`` of that type.
    """
    wide = np.asarray(paths, dtype=np.float64)
    time = np.arange(wide.shape[1]) - (wide.shape[1] - 1) / 2
    step = np.einsum("t,ntd->nd", time, wide) / (time**2).sum()
    start = wide.mean(1) + time[0] * step
    points = [start.astype(dtype)]
    for _ in time[1:]:
        points.append(points[-1] + step.astype(dtype))
    return np.stack(points, 1)


@dataclass(frozen=True)
class Shape:
    """How straight the paths of one run are.

    Attributes:
        second: Least and greatest share of the second component in a path's variance.
        parabola: Median and least part of the second component that is a parabola in time.
    """

    second: tuple[float, float]
    parabola: tuple[float, float]


def shape_of(paths: np.ndarray) -> Shape:
    """The shape of the paths ``(n, times, d)`` of one run."""
    second, parabola = shares(paths)[:, 1], parabola_share(paths)
    return Shape(
        (float(second.min()), float(second.max())),
        (float(np.median(parabola)), float(parabola.min())),
    )


class LastState:
    """A checkpoint that keeps the end of a training in memory, and resumes nothing."""

    def __init__(self) -> None:
        self.state: StateDict = {}

    def load(self) -> None:
        """Nothing to resume."""

    def due(self) -> bool:
        """The last epoch is saved in any case."""
        return False

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state."""
        self.state = {name: value.clone() for name, value in state.items()}


def latents_in(
    dtype: torch.dtype, config: RotatingConfig, state: StateDict, first: np.ndarray
) -> np.ndarray:
    """Latent paths of trained parameters, computed in another precision.

    Args:
        dtype: Of parameters, solver and frames.
        config: Settings of the training.
        state: What `LastState` kept of it.
        first: First frames ``(n, 28, 28)`` in [0, 1].

    Returns:
        Latents ``(n, 16, d)``.
    """
    model: Network = build(config)
    prefix = "model."
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    model.load_state_dict(kept)
    with torch.no_grad():
        paths: Tensor = model.to(dtype).eval().latents(torch.from_numpy(first).to(dtype))
    return paths.numpy()
