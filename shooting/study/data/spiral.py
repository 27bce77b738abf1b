"""The spiral x' = A x^3 and snippets of it (Section 4, Appendix E).

The published code transposes A; since S A S = A^T for S = diag(1, -1), that is the mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from shooting.randomness import generator
from shooting.solvers import TABLEAUS, make_grid, runge_kutta

A = ((-0.1, 2.0), (-2.0, -0.1))
START = (2.0, 0.0)
LENGTH = 10.0
SAMPLES = 200
SPACING = LENGTH / (SAMPLES - 1)
SNIPPET = 5  # samples; four intervals of 0.0503, which the paper rounds to 0.25 time units
SUBSTEPS = 40  # RK4 steps per interval: an error far below float32's rounding


def velocity(x: Tensor) -> Tensor:
    """A x^3, the power taken entry by entry; rows ``(..., 2)``."""
    rate: Tensor = x**3 @ torch.tensor(A, dtype=x.dtype).T
    return rate


@lru_cache(maxsize=1)
def _solution() -> Tensor:
    times = [k * SPACING for k in range(SAMPLES)]
    grid = make_grid(times, step=SPACING / SUBSTEPS)
    start = (torch.tensor(START, dtype=torch.float64),)
    path = runge_kutta(lambda t, y: (velocity(y[0]),), start, grid, TABLEAUS["classical"])
    return torch.stack([y[0] for y in path])


def trajectory() -> Tensor:
    """The true spiral at 200 equispaced times of [0, 10], ``(200, 2)``."""
    return _solution().to(torch.get_default_dtype(), copy=True)


def snippet_times(samples: int = SNIPPET) -> tuple[float, ...]:
    """Times of the samples of a snippet, starting at 0."""
    return tuple(k * SPACING for k in range(samples))


def start_weights() -> Tensor:
    """Probability of each start: the length of the step that begins there, ``(196,)``.

    The spiral slows down by more than an order of magnitude; drawn this way, starts are uniform
    along the curve rather than in time.
    """
    x = _solution()
    steps = (x[1:] - x[:-1]).norm(dim=-1)[: SAMPLES - SNIPPET + 1]
    weights: Tensor = steps / steps.sum()
    return weights


def starts(seeds: Sequence[int], count: int, *purpose: str | int) -> Tensor:
    """Start indices drawn along the curve, each run's from its own seed, ``(runs, count)``."""
    weights = start_weights()
    drawn = [
        torch.multinomial(weights, count, replacement=True, generator=generator(s, *purpose))
        for s in seeds
    ]
    return torch.stack(drawn)


def snippets(seeds: Sequence[int], count: int, *purpose: str | int) -> Tensor:
    """Snippets of the trajectory, each run's a function of its seed and the purpose alone.

    Args:
        seeds: One seed per run.
        count: Snippets per run.
        *purpose: Name and counter of the draw, e.g. ``"train", epoch``.

    Returns:
        Tensor ``(runs, 5, count, 2)``, time before snippet as in a model's output.
    """
    index = starts(seeds, count, *purpose).unsqueeze(1) + torch.arange(SNIPPET).unsqueeze(-1)
    return trajectory()[index]
