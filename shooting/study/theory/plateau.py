"""How low smooth ensembles get as particles are added, when a loss is measured on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shooting import Affine
from shooting.study.theory.intermediate_losses import Watched, fit_ensemble


def turned(x: Tensor, angle: float) -> Tensor:
    """Points of the plane, turned about the origin; shape ``(n, 2)``."""
    c, s = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[c, s], [-s, c]]).to(x)


def turns(second: float, *, points: int = 5, weight: float = 10.0) -> Watched:
    """Points of the unit circle, to be turned by 60 degrees at t = 1/2 and by `second` at t = 1.

    Args:
        second: Angle at t = 1 in radians; 0 is there and back.
        points: Number of points.
        weight: The weight lambda.
    """
    angle = torch.arange(points, dtype=torch.float64) * 2 * math.pi / points
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    targets = torch.stack([turned(x, math.pi / 3), turned(x, second)])
    return Watched(Affine(2, sigma="tanh"), x, (0.5, 1.0), targets, weight)


def lowest(
    problem: Watched, counts: Sequence[int], *, starts: int, iterations: int
) -> list[list[float]]:
    """E of smooth ensembles for rising numbers of particles, positions and momenta free.

    The first value of each list continues the best ensemble so far with new particles that have
    no momentum and change nothing, so that it cannot be above the best of fewer particles.

    Args:
        problem: The control problem.
        counts: Rising numbers of particles, each at least the number of data points.
        starts: Random starts for each number.
        iterations: Levenberg-Marquardt steps of each fit.

    Returns:
        For each count the values found: the continued one, if there is one, then the random ones.
    """
    best: tuple[float, Tensor, Tensor] | None = None
    found = []
    for count in counts:
        values = []
        for q, p in _first(problem, count, starts, best):
            shot, value = fit_ensemble(problem, q, p, kicked=False, iterations=iterations)
            values.append(value)
            if best is None or value < best[0]:
                best = (value, *(s.detach() for s in shot.starts[0]))
        found.append(values)
    return found


def _first(
    problem: Watched, count: int, starts: int, best: tuple[float, Tensor, Tensor] | None
) -> list[tuple[Tensor, Tensor]]:
    x, out = problem.start, []
    for seed in range(starts):
        g = torch.Generator().manual_seed(seed)
        extra = 0.8 * torch.randn(count - len(x), *x.shape[1:], generator=g, dtype=x.dtype)
        p = 0.3 * torch.randn(count, *x.shape[1:], generator=g, dtype=x.dtype)
        out.append((torch.cat([x, extra]), p))
    if best is not None:
        new = out[0][0][: count - len(best[1])]
        out.insert(0, (torch.cat([best[1], new]), torch.cat([best[2], torch.zeros_like(new)])))
    return out
