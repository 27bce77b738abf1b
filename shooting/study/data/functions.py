"""The two functions of the 1-D regression and their samples (Section 4, Appendix E)."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from shooting.randomness import generator

BOUND = 1.5

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quadratic-like": lambda x: x**2 + 3 / (1 + x**2),
    "cubic": lambda x: x**3,
}

MEAN = 0.75 + 2 * math.atan(1.5)  # of the quadratic-like function over [-1.5, 1.5]

# What else is trained on, to see what holds for more than the paper's two functions.
FURTHER: dict[str, Callable[[Tensor], Tensor]] = {
    "quadratic-like, centred": lambda x: FUNCTIONS["quadratic-like"](x) - MEAN,
    "quadratic-like, lowered": lambda x: FUNCTIONS["quadratic-like"](x) - 2 * MEAN,
    "cubic, raised": lambda x: FUNCTIONS["cubic"](x) + MEAN,
    "off-centre bump": lambda x: 2 + x**2 / 2 + torch.exp(-6 * (x - 0.5) ** 2),
    "tilted double well": lambda x: 2 + (x**2 - 1) ** 2 / 2 + x / 4,
    "hyperbolic sine": lambda x: torch.sinh(2 * x) / 4,
}
TARGETS: Mapping[str, Callable[[Tensor], Tensor]] = ChainMap(FUNCTIONS, FURTHER)


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
