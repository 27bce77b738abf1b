"""A penalty that sees the data: R(f, rho) = 1/2 int |f|^2 rho, and optimal transport (A.7).

The field is linear in its control, f(x) = theta^T phi(x) with fixed features phi; the penalty is
R = (1/2N) sum_i |f(q_i)|^2 + (ridge/2) |theta|^2 over the N particles themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.hamiltonian import System
from shooting.randomness import generator
from shooting.solvers import TABLEAUS, make_grid, runge_kutta


@dataclass(frozen=True)
class Features:
    """Random features phi(x) = tanh(x W + c), with W and c fixed.

    Attributes:
        weight: W, shape ``(d, m)``.
        bias: c, shape ``(m,)``.
        ridge: Weight of |theta|^2 / 2, which makes the control unique when m > N.
    """

    weight: Tensor
    bias: Tensor
    ridge: float = 1e-6

    def __call__(self, x: Tensor) -> Tensor:
        """phi(x), shape ``(*runs, n, m)``."""
        return torch.tanh(x @ self.weight + self.bias)


def random_features(dim: int, count: int, *, seed: int = 0, ridge: float = 1e-6) -> Features:
    """Features with standard normal W and c."""
    g = generator(seed, "features")
    draw = torch.randn(dim + 1, count, generator=g, dtype=torch.float64)
    return Features(draw[:-1], draw[-1], ridge)


def control(features: Features, q: Tensor, p: Tensor) -> Tensor:
    """theta = (Phi^T Phi / N + ridge)^-1 Phi^T p, the maximiser of p.f - R, ``(m, d)``."""
    phi = features(q)
    gram = phi.transpose(-1, -2) @ phi / q.shape[-2]
    eye = torch.eye(gram.shape[-1]).to(gram)
    solved: Tensor = torch.linalg.solve(gram + features.ridge * eye, phi.transpose(-1, -2) @ p)
    return solved


def penalty(features: Features, q: Tensor, theta: Tensor) -> Tensor:
    """R(f, rho) of (A.7) for the empirical measure of the particles, with the ridge."""
    transport = 0.5 * ((features(q) @ theta) ** 2).sum((-1, -2)) / q.shape[-2]
    return transport + 0.5 * features.ridge * (theta**2).sum((-1, -2))


def hamiltonian(features: Features, q: Tensor, p: Tensor) -> Tensor:
    """H = max_theta sum_i p_i . f(q_i) - R(f, rho)."""
    theta = control(features, q, p)
    return (p * (features(q) @ theta)).sum((-1, -2)) - penalty(features, q, theta)


def explicit_system(features: Features, *, density: bool = True) -> System:
    """q_i' = f(q_i), p_i' = -Df(q_i)^T (p_i - f(q_i)/N): canonical equations of `hamiltonian`.

    Without `density` the term Df^T f / N is left out, which is wrong.
    """

    def system(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        theta = control(features, q, p)
        phi = features(q)
        velocity = phi @ theta
        push = p - velocity / q.shape[-2] if density else p
        back = ((push @ theta.transpose(-1, -2)) * (1 - phi**2)) @ features.weight.T
        return velocity, -back

    return system


def trajectory(system: System, q: Tensor, p: Tensor, *, steps: int = 200) -> tuple[Tensor, Tensor]:
    """Integrate over [0, 1] with the classical Runge-Kutta method.

    Returns:
        States and costates at all steps, each ``(steps + 1, N, d)``.
    """
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    grid = make_grid(times, step=1.0)
    found = runge_kutta(lambda t, y: system(*y), (q, p), grid, TABLEAUS["classical"])
    return torch.stack([s[0].detach() for s in found]), torch.stack([s[1].detach() for s in found])


def straightness(path: Tensor) -> float:
    """Largest length / chord - 1 over the particles of a path ``(times, N, d)``."""
    length = (path[1:] - path[:-1]).norm(dim=-1).sum(0)
    chord = (path[-1] - path[0]).norm(dim=-1)
    return float((length / chord - 1).max())
