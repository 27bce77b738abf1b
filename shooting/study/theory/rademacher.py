"""Rademacher complexities: what Theorem 2 and Corollary 3 claim, and the flows that refute them.

All complexities here are un-normalised, E sup_g sum_i eps_i g(z_i); divide by n for the usual one.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from shooting.solvers import TABLEAUS, State, make_grid, runge_kutta


def all_signs(n: int) -> Tensor:
    """All 2^n vectors of signs, ``(2^n, n)``."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=n)), dtype=torch.float64)


def random_signs(count: int, n: int, *, seed: int = 0) -> Tensor:
    """Independent random signs ``(count, n)``."""
    g = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randint(0, 2, (count, n), generator=g).double() - 1.0


def complexity(values: Tensor, signs: Tensor) -> float:
    """Mean over signs of the largest sum_i eps_i g(z_i) over a finite family.

    Args:
        values: g(z_i) of each member of the family ``(members, n)``.
        signs: Vectors of signs ``(count, n)``.
    """
    return float((signs @ values.T).amax(1).mean())


# --- Theorem 2 -----------------------------------------------------------------------------


def sheared(z: Tensor, gains: Tensor, *, shear: float = 10.0, steps: int = 100) -> Tensor:
    """First component at time 1 of the flow of (L x2, c sin 3 x1), for each gain c.

    Args:
        z: Initial points ``(n, 2)``.
        gains: The gains c ``(m,)``.
        shear: The factor L.
        steps: Runge-Kutta steps.

    Returns:
        Values ``(m, n)``.
    """

    def rhs(t: float, state: State) -> State:
        (x,) = state
        push = gains[:, None] * torch.sin(3 * x[..., 0])
        return (torch.stack([shear * x[..., 1], push], dim=-1),)

    start = z.expand(len(gains), *z.shape)
    grid = make_grid([0.0, 1.0], step=1 / steps)
    return runge_kutta(rhs, (start,), grid, TABLEAUS["classical"])[-1][0][..., 0]


# --- Corollary 3 ---------------------------------------------------------------------------


def two_shears(
    z: Tensor, s: Tensor, frequency: float, *, radius: float = 1.0, delta: float = 0.1
) -> Tensor:
    """First component of a flow within the ball of radius R of a two-dimensional RKHS.

    The space is spanned by (0, sin x1) and (sin(w x2), 0), so that K(x, x) <= 1. On [0, delta]
    the field is R s (0, sin x1), on [delta, 1] it is R (sin(w x2), 0), with |s| <= 1.

    Args:
        z: Initial points ``(n, 2)``.
        s: Members of the family ``(m,)``.
        frequency: The frequency w.
        radius: The radius R of the ball.
        delta: Duration of the first phase.

    Returns:
        phi^1(z_i) = z1 + (1 - delta) R sin(w (z2 + delta R s sin z1)), shape ``(m, n)``.
    """
    height = z[:, 1] + delta * radius * s[:, None] * torch.sin(z[:, 0])
    return z[:, 0] + (1 - delta) * radius * torch.sin(frequency * height)


def two_shears_by_ode(
    z: Tensor, s: Tensor, frequency: float, *, radius: float = 1.0, delta: float = 0.1
) -> Tensor:
    """The same by integrating the two phases, a check of the closed form."""

    def first(t: float, state: State) -> State:
        x = state[0]
        lift = radius * s[:, None] * torch.sin(x[..., 0])
        return (torch.stack([torch.zeros_like(lift), lift], dim=-1),)

    def second(t: float, state: State) -> State:
        x = state[0]
        push = radius * torch.sin(frequency * x[..., 1])
        return (torch.stack([push, torch.zeros_like(push)], dim=-1),)

    state: State = (z.expand(len(s), *z.shape),)
    for rhs, a, b in ((first, 0.0, delta), (second, delta, 1.0)):
        grid = make_grid([a, b], step=0.01)
        state = runge_kutta(rhs, state, grid, TABLEAUS["classical"])[-1]
    return state[0][..., 0]


def ball_bound(n: int, *, radius: float = 1.0) -> float:
    """Bound R sqrt(n) for the ball of radius R of an RKHS with k(x, x) <= 1."""
    return radius * math.sqrt(n)


# --- shallow networks ----------------------------------------------------------------------


def shallow_complexity(x: Tensor, signs: Tensor, *, directions: int = 4000, seed: int = 0) -> float:
    """Complexity of ReLU networks with (|theta1|^2 + |theta2|^2 + |b2|^2) / 2 <= 1, any width.

    By |a| |w| <= (|a|^2 + |w|^2) / 2 the supremum is that of one neuron with a unit (w, c). It is
    taken over random directions: an estimate from below.

    Args:
        x: Data ``(n, d)``.
        signs: Vectors of signs ``(count, n)``.
        directions: Random unit vectors (w, c) over which the supremum is taken.
        seed: Seed of the directions.
    """
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(directions, x.shape[1] + 1, generator=g, dtype=torch.float64)
    w = w / w.norm(dim=1, keepdim=True)
    features = torch.relu(x @ w[:, :-1].T + w[:, -1])
    return float((signs @ features).abs().amax(1).mean())
