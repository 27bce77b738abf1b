"""Shooting with K = n particles: the two-point boundary value problem p(T) + lambda grad l = 0.

With one particle on every data point the initial costates p(0) are the only unknowns. Two ways
to find them: minimise J(p(0)) = T H(z(0), p(0)) + lambda sum l, or solve F(p(0)) = 0 for
F = p(T) + lambda grad l by Newton's method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from shooting.flow import Path, Solver, shoot
from shooting.study.theory.direct import Problem, descend
from shooting.study.theory.intermediate_losses import batched_jacobian

STEP = 0.05  # largest of the integrator, where no other is asked for


@dataclass(frozen=True)
class NewtonResult:
    """Outcome of `newton`.

    Attributes:
        p: The last iterate, shaped like the first.
        residuals: Largest entry of F before the first and after each step.
        converged: Whether the last residual is below the tolerance.
    """

    p: Tensor
    residuals: tuple[float, ...]
    converged: bool


def extremal(
    problem: Problem, p: Tensor, *, step: float = STEP, outputs: int = 1, route: str = "auto"
) -> Path:
    """Shooting equations (3.3) forward from z(0) and p(0), in kernel form.

    Args:
        problem: The direct problem; gives z(0) and the field.
        p: Initial costates ``(*runs, n, S)``.
        step: Largest step of the classical Runge-Kutta method.
        outputs: Number of equal gaps between the output times.
        route: Of the solver; ``autograd`` if the result is to be differentiated twice.

    Returns:
        States and costates at ``outputs + 1`` times.
    """
    times = [problem.horizon * k / outputs for k in range(outputs + 1)]
    solver = Solver("classical", step=step, form="kernel", route=route)
    start = problem.start.expand_as(p)
    return shoot(problem.field, start, p, start[..., :0, :], times, solver=solver)


def end_condition(problem: Problem, p: Tensor, *, step: float = STEP) -> Tensor:
    """F(p(0)) = p(T) + lambda grad l(x(T)), zero at a critical point of (3.2), shape ``(n, S)``."""
    path = extremal(problem, p, step=step)
    end = path.q[..., -1, :, :]
    return path.p[..., -1, :, :] + problem.weight * problem.loss_gradient(end)


def shooting_objective(
    problem: Problem, p: Tensor, *, step: float = STEP, route: str = "auto"
) -> Tensor:
    """J(p(0)) = T H(z(0), p(0)) + lambda sum l(x(T)): the objective of Section 3.1, T included."""
    end = extremal(problem, p, step=step, route=route).q[..., -1, :, :]
    energy = problem.field.energy(problem.start, p)
    return problem.horizon * energy + problem.weight * problem.loss(end)


def exponential(problem: Problem, p: Tensor, *, step: float = STEP) -> Tensor:
    """Exp(p(0)) = z(T), shape ``(n, S)``."""
    return extremal(problem, p, step=step).q[..., -1, :, :]


def jacobian(function: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
    """Jacobian of a map that takes leading run axes: one copy of p for each row, one solve for all.

    Args:
        function: A map of ``(*runs, *shape of p)`` that does not mix runs.
        p: Where to differentiate.

    Returns:
        A square or oblong matrix of the flattened entries.
    """

    def flat(u: Tensor) -> Tensor:
        return function(u.unflatten(-1, p.shape)).flatten(u.dim() - 1)

    return batched_jacobian(flat, p.flatten())[1]


def newton(
    function: Callable[[Tensor], Tensor],
    p: Tensor,
    *,
    steps: int = 30,
    tolerance: float = 1e-11,
) -> NewtonResult:
    """Newton's method with step halving until the residual falls.

    Args:
        function: A map from p to a tensor of the same shape, with run axes as in `jacobian`.
        p: First iterate.
        steps: Largest number of Newton steps.
        tolerance: Stop once the largest residual entry is below this.

    Returns:
        The last iterate and the history of residuals.
    """
    p = p.detach()
    value = function(p).detach()
    residuals = [float(value.abs().max())]
    while residuals[-1] > tolerance and len(residuals) <= steps:
        move = torch.linalg.lstsq(jacobian(function, p), -value.reshape(-1, 1)).solution
        move, size = move.reshape(p.shape), 1.0
        while not _falls(new := function(p + size * move).detach(), value) and size > 1e-4:
            size /= 2
        if size <= 1e-4:
            break
        p, value = p + size * move, new
        residuals.append(float(value.abs().max()))
    return NewtonResult(p, tuple(residuals), residuals[-1] <= tolerance)


def continuation(problem: Problem, weights: Sequence[float]) -> list[NewtonResult]:
    """Follow the solution of F = 0 from p = 0 through increasing weights lambda."""
    p, found = torch.zeros_like(problem.start), []
    for weight in weights:
        now = replace(problem, weight=weight)
        tolerance = max(1e-11, 1e-13 * weight)  # the rounding of F grows with lambda
        found.append(newton(partial(end_condition, now), p, tolerance=tolerance))
        p = found[-1].p
    return found


def straight_nodes(problem: Problem, segments: int) -> Tensor:
    """Nodes on the lines from the data to the targets, without costates.

    Args:
        problem: A problem whose loss sees the whole state.
        segments: Number of equal segments.

    Returns:
        First guess of `segmented_gaps`, ``(segments, 2, n, S)``.
    """
    share = torch.arange(segments).to(problem.start)[:, None, None] / segments
    states = problem.start + share * (problem.target - problem.start)
    return torch.stack([states, torch.zeros_like(states)], dim=1)


def segmented_gaps(problem: Problem, nodes: Tensor) -> Tensor:
    """Equations of multiple shooting: z(0) given, no gap at a node, F = 0 at the exit.

    Args:
        problem: The direct problem.
        nodes: States and costates at the segments' starts, ``(*runs, segments, 2, n, S)``.

    Returns:
        Gaps of the same shape.
    """
    segments = nodes.shape[-4]
    q, p = nodes.unbind(-3)
    solver = Solver("classical", step=STEP, form="kernel")
    times = [0.0, problem.horizon / segments]
    path = shoot(problem.field, q, p, q[..., :0, :], times, solver=solver)
    q_end, p_end = path.q[..., -1, :, :], path.p[..., -1, :, :]
    first = (q[..., :1, :, :] - problem.start).unsqueeze(-3)
    inner = torch.stack([q_end - q.roll(-1, -3), p_end - p.roll(-1, -3)], dim=-3)
    end = p_end + problem.weight * problem.loss_gradient(q_end)
    last = end[..., -1:, None, :, :]
    joined = inner[..., :-1, :, :, :].flatten(-4, -3)
    flat = torch.cat([first.flatten(-4, -3), joined, last.flatten(-4, -3)], dim=-3)
    return flat.unflatten(-3, (segments, 2))


def descent(problem: Problem, p: Tensor, *, iterations: int = 200) -> tuple[Tensor, list[float]]:
    """Minimise J over p(0) by L-BFGS: what a reader would try first.

    Args:
        problem: The direct problem.
        p: First iterate ``(n, S)``.
        iterations: Largest number of iterations.

    Returns:
        The last iterate, and the largest entry of F at each evaluation of J.
    """
    u, residuals = p.detach().clone().requires_grad_(), []

    def value(now: Tensor) -> Tensor:
        residuals.append(float(end_condition(problem, now.detach()).abs().max()))
        return shooting_objective(problem, now)

    descend(u, value, iterations=iterations, tolerance=1e-12)
    return u.detach(), residuals


def _falls(new: Tensor, old: Tensor) -> bool:
    return bool(torch.isfinite(new).all()) and float(new.norm()) < float(old.norm())
