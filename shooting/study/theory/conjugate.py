"""Where extremals stop being optimal: the exponential map, its determinant, its folds.

A single particle in the affine field has H = p . K(q) p / 2 with K = (1 + |sigma(q)|^2 / m) I,
the Hamiltonian of light in a medium of refractive index (1 + |sigma|^2 / m)^(-1/2): a lens.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.flow import Solver, shoot
from shooting.study.theory.bvp import exponential, extremal, jacobian, newton
from shooting.study.theory.direct import Problem

STEP = 0.02  # largest of the integrator
GAPS = 40  # between the depths at which a shot is followed back from its exit


def jacobi_determinants(problem: Problem, p: Tensor, *, outputs: int = 40) -> Tensor:
    """det of D_p z(t) at equally spaced times t > 0, divided by t^(nS); zero: conjugate point.

    Args:
        problem: Gives z(0), the field and the horizon.
        p: Initial costates ``(n, S)``.
        outputs: Number of times.

    Returns:
        The determinants ``(outputs,)``.
    """

    def path(u: Tensor) -> Tensor:
        return extremal(problem, u, step=STEP, outputs=outputs).q[..., 1:, :, :]

    matrices = jacobian(path, p).reshape(outputs, p.numel(), p.numel())
    times = problem.horizon * torch.arange(1, outputs + 1, dtype=p.dtype) / outputs
    return torch.linalg.det(matrices / times[:, None, None])


def first_conjugate_time(problem: Problem, p: Tensor, *, outputs: int = 40) -> float:
    """Time of the first sign change of `jacobi_determinants`, interpolated; infinite if none."""
    values = jacobi_determinants(problem, p, outputs=outputs).tolist()
    for k, (a, b) in enumerate(zip(values, values[1:], strict=False), start=1):
        if a * b < 0:
            return problem.horizon * (k + a / (a - b)) / outputs
    return math.inf


def connect(problem: Problem, p: Tensor) -> Tensor:
    """Initial costates of an extremal from z(0) to the target, by Newton's method.

    Args:
        problem: A problem whose target has the shape of the whole state.
        p: First guess ``(n, S)``.

    Returns:
        p(0) with Exp(p(0)) = target.

    Raises:
        ValueError: If Newton's method does not converge from this guess.
    """
    found = newton(lambda u: exponential(problem, u, step=STEP) - problem.target, p)
    if not found.converged:
        raise ValueError(
            f"expected an extremal to the target, got a miss of {found.residuals[-1]:.1e}; "
            "try a first guess from the costates of a direct solution"
        )
    return found.p


def fan(problem: Problem, angles: Tensor, speed: float, *, outputs: int = 60) -> Tensor:
    """Extremals of one particle in the plane, one for each angle of p(0).

    Args:
        problem: A problem with a single particle, d = 2, no other slots.
        angles: Angles of p(0), shape ``(a,)``.
        speed: Length of p(0).
        outputs: Number of gaps between output times.

    Returns:
        Positions ``(outputs + 1, a, 2)``.
    """
    p = speed * torch.stack([angles.cos(), angles.sin()], dim=-1).unsqueeze(-2)
    return extremal(problem, p, step=STEP, outputs=outputs).q[..., 0, :].transpose(0, 1)


def cometric(field: Field, q: Tensor) -> Tensor:
    """K(q) = Phi(q) M^-1 Phi(q)^T of all samples together.

    Args:
        field: The vector field.
        q: States ``(*runs, n, S)``.

    Returns:
        Matrices ``(*runs, n S, n S)``.
    """
    size = q.shape[-2] * q.shape[-1]
    unit = torch.eye(size).to(q).reshape(size, *(1,) * (q.dim() - 2), *q.shape[-2:])
    columns = field.kernel_velocity(q.expand(size, *q.shape), q.expand(size, *q.shape), unit)
    return columns.flatten(-2).movedim(0, -1)


def path_energy(field: Field, path: Tensor, *, horizon: float = 1.0) -> Tensor:
    """Least int_0^T R dt that makes the states follow a path, by the midpoint rule.

    Args:
        field: The vector field; its cometric must be invertible along the path.
        path: Nodes at equal distances of depth ``(N + 1, n, S)``.
        horizon: The depth T.
    """
    h = horizon / (len(path) - 1)
    v = ((path[1:] - path[:-1]) / h).flatten(1)
    p = torch.linalg.solve(cometric(field, (path[1:] + path[:-1]) / 2), v)
    return 0.5 * h * (v * p).sum()


def second_variation(
    problem: Problem, p: Tensor, *, segments: int = 24, free_end: bool = False
) -> Tensor:
    """Eigenvalues of the Hessian of the path energy at an extremal.

    With the end points held the number of negative ones is that of conjugate points before T;
    with a free end, where the weighted loss is added, that of focal times (Morse).

    Args:
        problem: Gives z(0), the field, the loss and the horizon.
        p: Initial costates ``(n, S)``.
        segments: Number N of pieces of the path.
        free_end: Whether the end point moves as well, for a price of lambda l.

    Returns:
        ``((N - 1) n S,)`` eigenvalues, ``(N n S,)`` with a free end, in rising order, times T / N.
    """
    path = extremal(problem, p, outputs=segments).q.detach()
    moved = path[1:] if free_end else path[1:-1]

    def energy(inner: Tensor) -> Tensor:
        nodes = torch.cat([path[:1], inner.reshape(moved.shape), path[1 + len(moved) :]])
        loss = problem.weight * problem.loss(nodes[-1]) if free_end else 0.0
        return path_energy(problem.field, nodes, horizon=problem.horizon) + loss

    hessian = torch.func.jacrev(torch.func.jacrev(energy))(moved.flatten())
    return torch.linalg.eigvalsh(hessian) * problem.horizon / segments


def backward(problem: Problem, end: Tensor) -> Tensor:
    """Shots that meet the end condition at given exits, run from depth T back to zero.

    H is even in p, so backward is forward with the costates reversed: lambda grad l at the exit.

    Args:
        problem: Gives the field, the loss and the horizon.
        end: Exits z(T), shape ``(*runs, n, S)``.

    Returns:
        States at T, T - T / `GAPS`, ..., 0, shape ``(*runs, GAPS + 1, n, S)``.
    """
    times = [problem.horizon * k / GAPS for k in range(GAPS + 1)]
    solver = Solver("classical", step=STEP, form="kernel")
    push = problem.weight * problem.loss_gradient(end)
    return shoot(problem.field, end, push, end[..., :0, :], times, solver=solver).q


def focal_determinants(problem: Problem, end: Tensor) -> Tensor:
    """det Y(t) of the Jacobi fields with Y(T) = 1, Pi(T) = -lambda l''; zero: focal time.

    Args:
        problem: Gives the field, the loss and the horizon.
        end: Exit z(T) of a critical shot, ``(n, S)``.

    Returns:
        The determinants at 0, T / `GAPS`, ..., T, shape ``(GAPS + 1,)``.
    """
    size = end.numel()
    matrices = jacobian(partial(backward, problem), end).reshape(GAPS + 1, size, size)
    return torch.linalg.det(matrices).flip(0)


def focal_times(problem: Problem, p: Tensor) -> list[float]:
    """Times of the sign changes of `focal_determinants` along a critical shot, interpolated.

    Args:
        problem: The direct problem.
        p: Initial costates ``(n, S)`` that meet the end condition.
    """
    end = exponential(problem, p, step=STEP)
    values = focal_determinants(problem, end).tolist()
    return [
        problem.horizon * (k + a / (a - b)) / GAPS
        for k, (a, b) in enumerate(zip(values, values[1:], strict=False))
        if a * b < 0
    ]
