"""Trained residual networks of two-layer ReLU blocks with weight decay, and their gains.

x_{l+1} = x_l + h f(x_l, theta_l) with f of (3.7), h = 1/L. The objective is h sum_l R(theta_l) +
lambda sum_i |x_L - y|^2 / 2, with R = |theta|^2 / 2 on all weights. Costates p_l = -dJ/dx_l, so
that layer l is stationary where H(x_l, p_{l+1}, .) is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.randomness import generator
from shooting.study.theory.nonlinear import Shallow, quadratic, threshold


@dataclass(frozen=True)
class Problem:
    """Points of the line to be moved by L layers.

    Attributes:
        x: Data ``(n, 1)``.
        y: Targets ``(n, 1)``.
        net: The layer.
        layers: Number L.
        weight: lambda.
        decay: Factor of R; 1 in the theorem, another is a control.
    """

    x: Tensor
    y: Tensor
    net: Shallow
    layers: int
    weight: float = 10.0
    decay: float = 1.0

    def states(self, theta: Tensor) -> list[Tensor]:
        """x_0 to x_L, each ``(*runs, n, 1)``, for weights ``(*runs, L, size)``."""
        path = [self.x.expand(*theta.shape[:-2], *self.x.shape)]
        for layer in theta.unbind(-2):
            path.append(path[-1] + self.net.velocity(path[-1], layer) / self.layers)
        return path

    def loss(self, end: Tensor) -> Tensor:
        """lambda sum |x_L - y|^2 / 2, per run."""
        return 0.5 * self.weight * ((end - self.y) ** 2).sum((-1, -2))

    def objective(self, theta: Tensor) -> Tensor:
        """h sum R + the loss, per run."""
        penalty = self.decay * quadratic(self.net, theta).mean(-1)
        return penalty + self.loss(self.states(theta)[-1])


@dataclass(frozen=True)
class Layers:
    """One network, layer by layer.

    Attributes:
        strength: |a| |u| of each neuron ``(L, m)``.
        gains: |G(u/|u|)| of each neuron ``(L, m)``.
        thresholds: tau of each layer ``(L,)``, exactly.
    """

    strength: Tensor
    gains: Tensor
    thresholds: Tensor

    def active(self, least: float) -> Tensor:
        """Which neurons have |a| |u| of at least `least`, ``(L, m)``."""
        return self.strength >= least


def train(
    problem: Problem,
    seeds: Sequence[int],
    *,
    steps: int = 4000,
    rate: float = 0.02,
    scale: float = 0.5,
) -> Tensor:
    """Minimise the objective by Adam, its rate annealed to zero, from random weights.

    Args:
        problem: What to fit.
        seeds: One run for each.
        steps: Number of steps; with 0 the weights at the start are returned.
        rate: First learning rate.
        scale: Standard deviation of the weights at the start.

    Returns:
        Weights ``(runs, L, size)``.
    """
    shape = (problem.layers, problem.net.size)
    draws = [
        torch.randn(shape, generator=generator(s, "weights"), dtype=torch.float64) for s in seeds
    ]
    theta = (scale * torch.stack(draws)).requires_grad_()
    optimiser = torch.optim.Adam([theta], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    for _ in range(steps):
        optimiser.zero_grad()
        problem.objective(theta).sum().backward()
        optimiser.step()
        schedule.step()
    return theta.detach()


def inspect(problem: Problem, theta: Tensor) -> Layers:
    """Strengths, gains and thresholds of one network with weights ``(L, size)``."""
    path = problem.states(theta.detach().requires_grad_())
    momenta = torch.autograd.grad(-problem.loss(path[-1]), path[1:])
    q, p = torch.stack(path[:-1]).detach(), torch.stack(momenta)
    a, w, c, _ = problem.net.split(theta)
    u = torch.cat([w, c.unsqueeze(-1)], dim=-1)
    length = torch.linalg.vector_norm(u, dim=-1)
    unit = u / length.unsqueeze(-1)
    fires = torch.relu(q @ unit[..., :-1].mT + unit[..., None, :, -1])
    gains = torch.linalg.vector_norm(fires.mT @ p, dim=-1)
    tau = torch.stack([threshold(*pair)[0] for pair in zip(q, p, strict=True)])
    return Layers(torch.linalg.vector_norm(a, dim=-1) * length, gains, tau)
