"""How low smooth ensembles get as particles are added, when a loss is measured on the way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting import Affine
from shooting.study.theory.intermediate_losses import (
    Watched,
    fit_ensemble,
    shoot_with_kicks,
    value,
)


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


@dataclass(frozen=True)
class Smooth:
    """A smooth ensemble and its objective.

    Attributes:
        q: Initial positions ``(K, S)``.
        p: Initial momenta ``(K, S)``.
        value: E as the fit's solver sees it.
    """

    q: Tensor
    p: Tensor
    value: float

    def exact(self, problem: Watched, *, step: float = 0.005) -> float:
        """E by a solver too fine to be exploited."""
        return float(value(problem, shoot_with_kicks(problem, self.q, self.p, None, step=step)))


def spread(problem: Watched, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random particles (q, p), the first ones on the data; each ``(count, S)``."""
    x, g = problem.start, torch.Generator().manual_seed(seed)
    extra = 0.8 * torch.randn(count - len(x), *x.shape[1:], generator=g, dtype=x.dtype)
    p = 0.3 * torch.randn(count, *x.shape[1:], generator=g, dtype=x.dtype)
    return torch.cat([x, extra]), p


def improve(
    problem: Watched, first: tuple[Tensor, Tensor], *, iterations: int, step: float
) -> Smooth:
    """Levenberg-Marquardt on positions and momenta of a smooth ensemble."""
    how = {"iterations": iterations, "step": step}
    shot, found = fit_ensemble(problem, *first, kicked=False, **how)  # type: ignore[arg-type]
    q, p = (s.detach() for s in shot.starts[0])
    return Smooth(q, p, found)


def patient(
    problem: Watched, count: int, iterations: Sequence[int], *, step: float = 0.025, seed: int = 0
) -> list[Smooth]:
    """One descent from random particles, looked at after the given numbers of iterations."""
    now, out = spread(problem, count, seed=seed), []
    for before, after in itertools.pairwise((0, *iterations)):
        out.append(improve(problem, now, iterations=after - before, step=step))
        now = out[-1].q, out[-1].p
    return out


def grown(
    problem: Watched, counts: Sequence[int], *, iterations: int, step: float = 0.1
) -> list[Smooth]:
    """Each ensemble continues the one before with new particles that have no momentum.

    The new ones change nothing at first, so that values cannot rise.
    """
    out: list[Smooth] = []
    for count in counts:
        q, p = spread(problem, count)
        if out:
            new = q[: count - len(out[-1].q)]
            q, p = torch.cat([out[-1].q, new]), torch.cat([out[-1].p, torch.zeros_like(new)])
        out.append(improve(problem, (q, p), iterations=iterations, step=step))
    return out
