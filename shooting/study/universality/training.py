"""What optimisation finds: the time-one map of a target learned by a few particles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shooting import UpDown
from shooting.fit import FitConfig, FitResult, fit
from shooting.flow import Solver
from shooting.optim import Cosine
from shooting.parametrizations import DynamicParticles, Parametrization
from shooting.study.universality.targets import Target


@dataclass
class FlowTask:
    """Fit x(1) to phi(1, x(0)), with R + lambda mean |x(1) - y|^2: Eq. (3.2), its sum a mean.

    Attributes:
        target: The field whose flow is to be learned.
        x: Starting points ``(n, d)``.
        weight: lambda.
    """

    target: Target
    x: Tensor
    weight: float = 1e4
    y: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.y = self.target.flow(self.x.double())[-1].to(self.x)

    def batches(self, epoch: int) -> Iterable[None]:
        """One full batch."""
        return [None]

    def loss(self, model: Parametrization, batch: None) -> Tensor:
        """The objective, per run."""
        gap = model(self.x, [0.0, 1.0])[..., -1, :, :] - self.y
        return model.penalty() + self.weight * (gap**2).sum(-1).mean(-1)

    def monitor(self, model: Parametrization) -> Tensor:
        """The objective, per run."""
        return self.loss(model, None)


def train_particles(
    target: Target,
    x: Tensor,
    *,
    particles: int = 16,
    inflation: int = 8,
    epochs: int = 200,
    learning_rate: float = 0.1,
    weight: float = 1e4,
    lift: str = "fixed",
    seeds: tuple[int, ...] = (0, 1, 2),
    dtype: torch.dtype = torch.float32,
) -> tuple[DynamicParticles, FitResult]:
    """Train K particles, one run for each seed.

    Args:
        target: The field whose flow is to be learned.
        x: Starting points ``(n, d)``.
        particles: Number K.
        inflation: Inflation factor alpha.
        epochs: Steps of Adam, its rate annealed to zero.
        learning_rate: First learning rate.
        weight: lambda.
        lift: ``fixed`` at its random start, or ``learned`` without a penalty.
        seeds: One run for each.
        dtype: Precision of the training, single as in all trainings of the book.

    Returns:
        The trained model and its history.
    """
    model = DynamicParticles(
        UpDown(target.dim, inflation, sigma="tanh"),
        particles,
        lift=lift,
        seeds=seeds,
        solver=Solver(step=0.1),
    ).to(dtype)
    config = FitConfig(epochs, learning_rate=learning_rate, schedule=Cosine(epochs))
    return model, fit(model, FlowTask(target, x.to(dtype), weight), config, label=target.name)


@torch.no_grad()
def sup_error(model: DynamicParticles, x: Tensor, y: Tensor) -> Tensor:
    """Largest |x(1) - y| over points x and their images y, per run."""
    learned = model(x.to(model.penalty()), [0.0, 1.0])[..., -1, :, :]
    return torch.linalg.vector_norm(learned.to(y) - y, dim=-1).amax(-1)
