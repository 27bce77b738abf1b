"""The two functions of the 1-D regression and their samples (Section 4, Appendix E)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shooting.randomness import generator

BOUND = 1.5

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quadratic-like": lambda x: x**2 + 3 / (1 + x**2),
    "cubic": lambda x: x**3,
}


def samples(seeds: Sequence[int], count: int, purpose: str) -> Tensor:
    """Points drawn uniformly from [-1.5, 1.5], each run's from its own seed.

    Args:
        seeds: One seed per run.
        count: Points per run.
        purpose: Name of the draw, e.g. ``"train"``.

    Returns:
        Tensor ``(runs, count, 1)``.
    """
    unit = [
        torch.rand(count, 1, generator=generator(s, purpose), dtype=torch.float64) for s in seeds
    ]
    return (BOUND * (2 * torch.stack(unit) - 1)).to(torch.get_default_dtype())


def grid_points(count: int) -> Tensor:
    """Equispaced points of [-1.5, 1.5], ``(count, 1)``."""
    return torch.linspace(-BOUND, BOUND, count).unsqueeze(-1)


def permutations(seeds: Sequence[int], count: int, epoch: int) -> Tensor:
    """Order of the data in an epoch, each run's a function of its seed and the epoch alone.

    Returns:
        Integers ``(runs, count)``.
    """
    return torch.stack(
        [torch.randperm(count, generator=generator(s, "order", epoch)) for s in seeds]
    )
