"""Few particles for many data: the best K-particle ensemble (3.4) as a least-squares problem.

Because R = H is constant and H = |M^(1/2) theta(0)|^2 / 2, the objective is half a sum of squares,
J = T |M^(1/2) theta(0)|^2 / 2 + lambda sum |x_i(T) - y_i|^2 / 2, and Gauss-Newton applies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.flow import Path, Solver, shoot
from shooting.randomness import generator
from shooting.study.theory.bvp import jacobian
from shooting.study.theory.direct import Problem


@dataclass(frozen=True)
class Ensemble:
    """A fitted ensemble.

    Attributes:
        q: Initial positions ``(K, S)``.
        p: Initial costates ``(K, S)``.
        value: The objective J.
    """

    q: Tensor
    p: Tensor
    value: float


def drive(problem: Problem, q: Tensor, p: Tensor, *, outputs: int = 1, step: float = 0.1) -> Path:
    """Particles (q, p) move themselves and the data of a problem (3.4)."""
    times = [problem.horizon * k / outputs for k in range(outputs + 1)]
    solver = Solver("classical", step=step, form="kernel")
    data = problem.start.expand(*q.shape[:-2], *problem.start.shape)
    return shoot(problem.field, q, p, data, times, solver=solver)


def residuals(problem: Problem, u: Tensor, *, step: float = 0.1) -> Tensor:
    """The vector r with J = |r|^2 / 2, shape ``(*runs, rows)``.

    Args:
        problem: The direct problem.
        u: Particles ``(*runs, K, 2 S)``: positions and costates side by side.
        step: Largest step of the integrator.
    """
    q, p = u.chunk(2, dim=-1)
    theta = problem.field.theta(q, p)
    roots = [t.metric.root(theta[t.name]) for t in problem.field.terms]
    energy = [problem.horizon**0.5 * root.flatten(-2) for root in roots]
    d = problem.target.shape[-1]
    gap = drive(problem, q, p, step=step).z[..., -1, :, :d] - problem.target
    return torch.cat([*energy, problem.weight**0.5 * gap.flatten(-2)], dim=-1)


def levenberg_marquardt(
    function: Callable[[Tensor], Tensor],
    u: Tensor,
    *,
    iterations: int = 60,
    tolerance: float = 1e-12,
) -> tuple[Tensor, float]:
    """Minimise |function(u)|^2 / 2; the damping falls after a success and rises after a failure.

    Args:
        function: Map from u to a vector of residuals, with run axes as in `bvp.jacobian`.
        u: First iterate.
        iterations: Largest number of Jacobians.
        tolerance: Stop once a step improves the value by less than this fraction.

    Returns:
        The last iterate and its value.
    """
    damping, r = 1e-2, function(u).detach()
    value = float(r @ r) / 2
    for _ in range(iterations):
        j = jacobian(function, u)
        for _ in range(12):
            step = torch.linalg.solve(j.T @ j + damping * torch.eye(u.numel()).to(j), -(j.T @ r))
            trial = u + step.reshape(u.shape)
            new = function(trial).detach()
            if bool(torch.isfinite(new).all()) and float(new @ new) / 2 < value:
                break
            damping *= 4
        else:
            return u, value
        gain, u, r, damping = value - float(new @ new) / 2, trial, new, damping / 5
        value -= gain
        if gain < tolerance * value:
            break
    return u, value


def grow(
    problem: Problem, particles: int, *, seed: int = 0, iterations: int = 40, step: float = 0.1
) -> list[Ensemble]:
    """Best ensembles of 1, 2, ..., K particles, each started from the one before.

    The new particle sits on a datum and has costate zero, so that it changes nothing at first
    and the values cannot increase with K.

    Args:
        problem: The direct problem.
        particles: Largest number K.
        seed: Seed of the order of the data and of the first costate.
        iterations: Levenberg-Marquardt steps for each K.
        step: Largest step of the integrator.
    """
    g = generator(seed, "ensemble")
    order = torch.randperm(len(problem.start), generator=g)
    first = 0.3 * torch.randn(problem.field.size, generator=g, dtype=torch.float64)
    u, found = problem.start.new_empty((0, 2 * problem.field.size)), []
    for k in range(particles):
        p = first if k == 0 else torch.zeros_like(first)
        new = torch.cat([problem.start[order[k]], p])
        u, value = levenberg_marquardt(
            lambda w: residuals(problem, w, step=step),
            torch.cat([u, new[None]]),
            iterations=iterations,
        )
        q, costates = u.chunk(2, dim=-1)
        found.append(Ensemble(q, costates, value))
    return found


def terminal_start(field: Field, q: Tensor, p: Tensor, *, solver: Solver) -> tuple[Tensor, Tensor]:
    """Initial values of the particles that arrive at (q, p) at depth one.

    H is even in p, so the backward flow is the forward flow with the costates reversed.

    Args:
        field: The vector field.
        q: Positions at depth one ``(*runs, K, S)``.
        p: Costates at depth one, likewise.
        solver: How to integrate.

    Returns:
        Positions and costates at depth zero.
    """
    path = shoot(field, q, -p, q[..., :0, :], [0.0, 1.0], solver=solver)
    return path.q[..., -1, :, :], -path.p[..., -1, :, :]
