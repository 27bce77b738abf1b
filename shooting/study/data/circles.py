"""Two disjoint annuli in the plane (Section 4, after Dupont, Doucet and Teh 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shooting.randomness import generator

DISC = (0.0, 0.5)  # radii of class 0
RING = (1.0, 1.5)  # radii of class 1
COUNTS = (1000, 2000)


def annulus(g: torch.Generator, count: int, radii: tuple[float, float]) -> Tensor:
    """Points with r = r_min + (r_max - r_min) sqrt(u) and a uniform direction, ``(count, 2)``.

    This is the published draw: uniform in area for the disc only.
    """
    inner, outer = radii
    u = torch.rand(count, 1, generator=g, dtype=torch.float64)
    direction = torch.randn(count, 2, generator=g, dtype=torch.float64)
    radius: Tensor = inner + (outer - inner) * u.sqrt()
    return radius * direction / direction.norm(dim=-1, keepdim=True)


def circles(
    seeds: Sequence[int], purpose: str, counts: tuple[int, int] = COUNTS
) -> tuple[Tensor, Tensor]:
    """Points and labels, each run's from its own seed.

    Args:
        seeds: One seed per run.
        purpose: Name of the draw, ``"train"`` or ``"test"``.
        counts: Points in the disc (class 0) and in the ring (class 1).

    Returns:
        Points ``(runs, n, 2)`` and labels 0 or 1 ``(runs, n)``, the disc's first.
    """
    points = []
    for s in seeds:
        g = generator(s, "circles", purpose)
        points.append(torch.cat([annulus(g, counts[0], DISC), annulus(g, counts[1], RING)]))
    dtype = torch.get_default_dtype()
    labels = torch.cat([torch.zeros(counts[0]), torch.ones(counts[1])]).to(dtype)
    return torch.stack(points).to(dtype), labels.expand(len(points), -1)
