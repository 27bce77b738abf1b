"""Particles as quadrature nodes of a density: how fast theta_N(t) approaches theta(t)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from shooting.fields import Control, Field
from shooting.flow import Solver, shoot
from shooting.study.theory.bvp import end_condition, newton
from shooting.study.theory.direct import Problem

Start = Callable[[Tensor], tuple[Tensor, Tensor]]


def midpoints(count: int) -> Tensor:
    """Midpoint quadrature nodes of the uniform density on [-1, 1], shape ``(count, 1)``."""
    return ((2 * torch.arange(count, dtype=torch.float64) + 1) / count - 1).unsqueeze(-1)


def weights_at(
    field: Field, start: Start, nodes: Tensor, *, depth: float = 1.0, step: float = 0.1
) -> Control:
    """theta(depth) of N particles at the nodes, each with costate p(x) / N (Section A.4).

    Args:
        field: The vector field.
        start: Map from x ``(*runs, N, 1)`` to (q, N p), each ``(*runs, N, S)``.
        nodes: Nodes x_j, shape ``(*runs, N, 1)``.
        depth: Where to read the weights.
        step: Largest step of the integrator.
    """
    q, p = start(nodes)
    solver = Solver("classical", step=step, form="theta", route="autograd")
    path = shoot(field, q, p / nodes.shape[-2], q[..., :0, :], [0.0, depth], solver=solver)
    return field.theta(path.q[..., -1, :, :], path.p[..., -1, :, :])


def distance(a: Control, b: Control) -> Tensor:
    """Euclidean distance of two controls, per run."""
    return sum(((a[k] - b[k]) ** 2).sum((-1, -2)) for k in a) ** 0.5


def sampling_errors(
    field: Field, start: Start, counts: list[int], *, draws: int = 64, fine: int = 4096
) -> tuple[list[float], list[float]]:
    """Root mean square error of theta_N(1), by random nodes and by midpoints.

    Args:
        field: The vector field.
        start: See `weights_at`.
        counts: Numbers N of particles.
        draws: Random ensembles for each N.
        fine: Midpoints of the reference.

    Returns:
        (random, midpoint) errors for each N.
    """
    truth = weights_at(field, start, midpoints(fine))
    random, regular = [], []
    for n in counts:
        g = torch.Generator().manual_seed(n)
        nodes = 2 * torch.rand((draws, n, 1), generator=g, dtype=torch.float64) - 1
        gaps = distance(weights_at(field, start, nodes), truth)
        random.append(float((gaps**2).mean().sqrt()))
        regular.append(float(distance(weights_at(field, start, midpoints(n)), truth)))
    return random, regular


def optimal_weights(
    field: Field, x: Tensor, y: Tensor, *, weights: Sequence[float], step: float = 0.05
) -> Control:
    """theta(0) of a critical network for the mean loss over a sample, by shooting on the data.

    The end condition is p_i(T) = -(lambda / N) grad l(x_i(T)), solved by Newton's method.

    Args:
        field: The vector field, whose whole state the loss sees.
        x: Sample ``(N, d)``.
        y: Its targets ``(N, d)``.
        weights: Weights lambda of the mean loss, followed in this order from p(0) = 0.
        step: Largest step of the integrator.

    Raises:
        ValueError: If Newton's method does not converge.
    """
    p = torch.zeros_like(x)
    for weight in weights:
        problem = Problem(field, x, y, weight / len(x))
        found = newton(partial(end_condition, problem, step=step), p)
        if not found.converged:
            raise ValueError(
                f"expected a critical network, got a miss of {found.residuals[-1]:.1e} at weight "
                f"{weight:g}; try smaller steps in the weight"
            )
        p = found.p
    return field.theta(x, p)
