"""Counter-based randomness: every draw is a function of (seed, what it is for) alone.

No global generator is touched, nothing has to be saved to resume, and run i of an ensemble draws
exactly what it would draw alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from shooting.errors import require_real

Sampler = Callable[[torch.Generator, tuple[int, ...]], Tensor]


def normal(scale: float) -> Sampler:
    """A sampler of $N(0, s^2)$ entries, s being the scale.

    Example:
        >>> init = ParticleInit(p=normal(0.5))
    """
    require_real(scale, "a scale", example=0.1)
    return lambda g, shape: scale * torch.randn(shape, generator=g, dtype=torch.float64)


def uniform(bound: float) -> Sampler:
    """A sampler of U(-bound, bound) entries.

    Example:
        >>> init = ParticleInit(x=uniform(2.0))
    """
    require_real(bound, "a bound", example=0.1)
    return lambda g, shape: bound * (2 * torch.rand(shape, generator=g, dtype=torch.float64) - 1)


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator for one purpose of one run, e.g. ``generator(3, "batches", epoch)``.

    Args:
        seed: Seed of the run.
        *purpose: Names (without a slash) or counters that tell this stream from the run's others.

    Returns:
        A CPU generator, independent (by hashing) of those for other arguments.
    """
    label = "/".join(map(str, (seed, *purpose))).encode()
    state = int.from_bytes(hashlib.sha256(label).digest()[:8], "little") >> 1
    return torch.Generator().manual_seed(state)
