"""A classifier with a shooting block in the middle, and the learning rates that destroy it.

The data are ten noisy patterns with the sizes of scikit-learn's small digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shooting import DynamicParticles, UpDown
from shooting.diagnosis import NonFiniteWarning
from shooting.randomness import generator

CLASSES, PIXELS, WIDTH, BATCH = 10, 64, 20, 64
NORM = 1.0  # gradients are scaled down to this norm
SEEDS = range(6)
RATES = {"SGD": (0.3, 1.0, 3.0), "Adam": (0.05, 0.2)}


class Classifier(nn.Module):
    """64 → 20 → block → 10.

    Args:
        seed: Of all initial values.
        particles: K.
        inflation: alpha.
    """

    def __init__(self, seed: int, *, particles: int = 15, inflation: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.last = nn.Linear(PIXELS, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = DynamicParticles(UpDown(WIDTH, inflation), particles, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, 10)`` of samples ``(n, 64)``."""
        return self.last(self.block(self.first(x), [0.0, 1.0])[-1])


def samples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy patterns with entries in [0, 1], ``(count, 64)``, and their labels."""
    means = torch.rand(CLASSES, PIXELS, generator=generator(0, "means"))
    g = generator(seed, "samples")
    label = torch.randint(CLASSES, (count,), generator=g)
    noise = torch.randn(count, PIXELS, generator=g)
    return (means[label] + 0.25 * noise).clamp(0, 1), label


def stays_finite(
    seed: int, optimiser: str, learning_rate: float, *, clipped: bool, steps: int = 40
) -> bool:
    """Train one classifier until it is done or a loss is not finite.

    Args:
        seed: Of the initial values and the batches.
        optimiser: ``SGD`` or ``Adam``.
        learning_rate: Its learning rate.
        clipped: Whether gradients are clipped to the norm `NORM` before each step.
        steps: Updates.

    Returns:
        Whether all losses were finite.
    """
    model = Classifier(seed)
    descent = getattr(torch.optim, optimiser)(model.parameters(), lr=learning_rate)
    batches = zip(*(part.split(BATCH) for part in samples(BATCH * steps, seed)), strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonFiniteWarning)  # it is counted here
        for x, y in batches:
            loss = nn.functional.cross_entropy(model(x), y)
            if not bool(torch.isfinite(loss)):
                return False
            descent.zero_grad()
            loss.backward()
            if clipped:
                nn.utils.clip_grad_norm_(model.parameters(), NORM)
            descent.step()
    return True


def count_finite(
    optimiser: str, learning_rate: float, *, clipped: bool, seeds: Sequence[int] = SEEDS
) -> int:
    """How many seeds stay finite."""
    return sum(stays_finite(s, optimiser, learning_rate, clipped=clipped) for s in seeds)
