"""Losses along the way: costates jump at each observation, and shooting needs kicks there.

The objective is E = int_0^T R dt + lambda sum_k sum_i |x_i(t_k) - y_ik|^2 / 2 with observation
times 0 < t_1 < ... < t_m = T. Sign convention: p = -d(cost to go)/dx, hence

    p(t_k+) = p(t_k-) + lambda grad l_k(x(t_k)),    p(T) = -lambda grad l_m(x(T)).

Shapes: kicks are ``(*runs, m - 1, K, S)``, targets ``(m, n, d)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting import DynamicParticles
from shooting.fields import Control, Field
from shooting.flow import Solver, shoot
from shooting.solvers import TABLEAUS, runge_kutta
from shooting.solvers import make_grid as grid_of
from shooting.study.theory.direct import (
    descend,
    random_control,
    rollout,
    running_cost,
    weights,
)

METHOD = "rk4"


@dataclass(frozen=True)
class Watched:
    """A control problem with losses at several times, the last of which is the horizon T.

    Attributes:
        field: The vector field f.
        start: Initial states of the data ``(n, S)``; the first slot holds the data.
        times: Observation times t_1 < ... < t_m = T.
        targets: y_k for each time, ``(m, n, d)``.
        weight: The weight lambda of the losses.
    """

    field: Field
    start: Tensor
    times: tuple[float, ...]
    targets: Tensor
    weight: float = 1.0

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """The segments [t_(k-1), t_k], t_0 = 0."""
        return list(zip((0.0, *self.times[:-1]), self.times, strict=True))

    def error(self, k: int, z: Tensor) -> Tensor:
        """x - y_k in the data slot, shape ``(*runs, n, d)``."""
        return z[..., : self.targets.shape[-1]] - self.targets[k]

    def gradient(self, k: int, z: Tensor) -> Tensor:
        """Gradient of the loss l_k in the state: the error in the data slot, zero elsewhere."""
        gap = self.error(k, z)
        return torch.cat([gap, torch.zeros_like(z[..., gap.shape[-1] :])], dim=-1)

    def loss(self, states: Sequence[Tensor]) -> Tensor:
        """Unweighted sum of all losses for the states at t_1, ..., t_m."""
        each = [0.5 * (self.error(k, z) ** 2).sum((-1, -2)) for k, z in enumerate(states)]
        return torch.stack(each).sum(0)


@dataclass(frozen=True)
class Segments:
    """What a shot passes through, one entry for each segment between observations.

    Attributes:
        starts: Particles (q, p) just after t_0, ..., t_(m-1).
        ends: Particles (q, p) just before t_1, ..., t_m.
        data: Data states at t_1, ..., t_m.
    """

    starts: list[tuple[Tensor, Tensor]]
    ends: list[tuple[Tensor, Tensor]]
    data: list[Tensor]


Kick = Callable[[int, Tensor], Tensor]


def shoot_with_kicks(
    problem: Watched, q: Tensor, p: Tensor, kick: Kick | Tensor | None, *, step: float = 0.1
) -> Segments:
    """Shooting system (3.4) on each segment, with p <- p + kick in between.

    Args:
        problem: The control problem.
        q: Particle states at t = 0, ``(*runs, K, S)``.
        p: Particle costates at t = 0, ``(*runs, K, S)``.
        kick: Learned kicks ``(*runs, m - 1, K, S)``, a rule (k, q) -> kick, or None: smooth.
        step: Step of the solver.

    Returns:
        Particles and data at both ends of each segment.
    """
    solver = Solver(method=METHOD, step=step, form="kernel")
    z = problem.start.expand(*q.shape[:-2], *problem.start.shape)
    starts, ends, data = [], [], []
    for k, gap in enumerate(problem.gaps):
        if k and kick is not None:
            p = p + (kick[..., k - 1, :, :] if isinstance(kick, Tensor) else kick(k - 1, q))
        starts.append((q, p))
        path = shoot(problem.field, q, p, z, gap, solver=solver)
        q, p, z = path.q[..., -1, :, :], path.p[..., -1, :, :], path.z[..., -1, :, :]
        ends.append((q, p))
        data.append(z)
    return Segments(starts, ends, data)


def exact_kick(problem: Watched) -> Kick:
    """The kick of optimality for K = n: lambda grad l_k(x(t_k))."""
    return lambda k, q: problem.weight * problem.gradient(k, q)


def end_gap(problem: Watched, p: Tensor, *, step: float = 0.1) -> Tensor:
    """F(p(0)) = p(T) + lambda grad l_m(x(T)) after shooting the data with exact kicks."""
    q = problem.start.expand_as(p)
    q, p = shoot_with_kicks(problem, q, p, exact_kick(problem), step=step).ends[-1]
    return p + problem.weight * problem.gradient(len(problem.times) - 1, q)


def levels(problem: Watched, shot: Segments) -> list[Tensor]:
    """R on each segment, where it is constant: H(q, p) at the segment's start."""
    return [problem.field.energy(q, p) for q, p in shot.starts]


def value(problem: Watched, shot: Segments) -> Tensor:
    """E of the shot's control: sum_k (t_k - t_(k-1)) H_k + lambda sum of losses."""
    length = [b - a for a, b in problem.gaps]
    cost = sum(t * r for t, r in zip(length, levels(problem, shot), strict=True))
    return torch.as_tensor(cost + problem.weight * problem.loss(shot.data))


def jump(problem: Watched, k: int, x: Tensor) -> Control:
    """Predicted theta(t_k+) - theta(t_k-) = M^-1 sum_i lambda grad l_k(x_i) phi(x_i)^T."""
    return problem.field.theta(x, problem.weight * problem.gradient(k, x))


def resting(v: Tensor, *, share: float = 1e-6) -> int:
    """How often an entry of v stays at zero, where ReLU has its kink.

    Args:
        v: Entries along a path, ``(times, ...)``.
        share: What counts as zero, as a share of the largest entry.

    Returns:
        Number of entries that are zero at two neighbouring times.
    """
    still = v.abs() <= share * v.abs().amax()
    return int((still[1:] & still[:-1]).sum())


def residuals(problem: Watched, shot: Segments) -> Tensor:
    """Vector r with E = |r|^2 / 2, for Gauss-Newton; shape ``(*runs, rows)``."""
    rows = []
    for (a, b), (q, p) in zip(problem.gaps, shot.starts, strict=True):
        theta = problem.field.theta(q, p)
        for t in problem.field.terms:
            rows.append(((b - a) ** 0.5 * t.metric.root(theta[t.name])).flatten(-2))
    rows += [problem.weight**0.5 * problem.error(k, z).flatten(-2) for k, z in enumerate(shot.data)]
    return torch.cat(rows, dim=-1)


def batched_jacobian(function: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """Value and Jacobian of a map (*runs, N) -> (*runs, rows), one copy of u for each row."""
    first = function(u[None])[0].detach()
    copies = u.detach().expand(len(first), -1).clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(function(copies).diagonal().sum(), copies)
    return first, jacobian


def levenberg_marquardt(
    function: Callable[[Tensor], Tensor],
    u: Tensor,
    *,
    iterations: int = 60,
    tolerance: float = 1e-12,
) -> Tensor:
    """Minimise |function(u)|^2 / 2; a square system is solved by damped Newton steps.

    Args:
        function: Map ``(*runs, N)`` to ``(*runs, rows)``.
        u: First iterate ``(N,)``.
        iterations: Largest number of accepted or refused steps.
        tolerance: Stop once the gradient's largest entry is below this.

    Returns:
        The last accepted iterate.
    """
    damping, (r, jac) = 1e-3, batched_jacobian(function, u)
    for _ in range(iterations):
        slope, normal = jac.T @ r, jac.T @ jac
        if float(slope.abs().max()) < tolerance:
            break
        scaled = normal + damping * torch.eye(len(u)).to(u)
        trial = u - torch.linalg.solve(scaled, slope)
        new = batched_jacobian(function, trial)
        if float(new[0].norm()) <= float(r.norm()):
            u, (r, jac), damping = trial, new, damping / 5
        else:
            damping *= 4
    return u


def solve_kicked(
    problem: Watched, *, first: Tensor | None = None, step: float = 0.1, iterations: int = 60
) -> Tensor:
    """p(0) of a critical point of E with K = n and exact kicks: solve F(p(0)) = 0.

    Args:
        problem: The control problem.
        first: First iterate ``(n, S)``; zero if left out. For large lambda follow the solution
            from a smaller one.
        step: Step of the solver.
        iterations: Largest number of steps.

    Returns:
        Costates ``(n, S)`` with F zero to half the digits of their precision, relative to lambda.

    Raises:
        ArithmeticError: If the last iterate does not meet the end condition.
    """
    shape = problem.start.shape

    def gap(u: Tensor) -> Tensor:
        return end_gap(problem, u.unflatten(-1, shape), step=step).flatten(-2)

    start = torch.zeros_like(problem.start) if first is None else first
    p = levenberg_marquardt(gap, start.flatten(), iterations=iterations).reshape(shape)
    left = float(end_gap(problem, p, step=step).abs().max())
    bound = torch.finfo(p.dtype).eps ** 0.5 * problem.weight
    if not left <= bound:  # NaN is no solution either
        raise ArithmeticError(
            f"expected |p(T) + lambda grad l| below {bound:.0e} at lambda = {problem.weight:g}, "
            f"got {left:.1e} after {iterations} steps; try first=, the solution for a lambda a "
            "fifth smaller, or more iterations"
        )
    return p


def fit_ensemble(
    problem: Watched,
    q: Tensor,
    p: Tensor,
    *,
    kicked: bool,
    free: bool = True,
    step: float = 0.1,
    iterations: int = 60,
) -> tuple[Segments, float]:
    """Minimise E over particles (and learned kicks) by Levenberg-Marquardt.

    Args:
        problem: The control problem.
        q: First states ``(K, S)``.
        p: First costates ``(K, S)``.
        kicked: Whether kicks ``(m - 1, K, S)`` are learned, starting at zero.
        free: Whether q(0) is learned too.
        step: Step of the solver.
        iterations: Largest number of steps.

    Returns:
        The fitted shot and its objective.
    """
    count = (1 if free else 0) + 1 + (len(problem.times) - 1 if kicked else 0)
    first = torch.zeros(count, *p.shape).to(p)
    if free:
        first[0] = q
    first[int(free)] = p

    def shot(u: Tensor) -> Segments:
        parts = u.unflatten(-1, first.shape)
        start = parts[..., 0, :, :] if free else q.expand(*u.shape[:-1], *q.shape)
        rest = parts[..., 1:, :, :] if free else parts
        kick = rest[..., 1:, :, :] if kicked else None
        return shoot_with_kicks(problem, start, rest[..., 0, :, :], kick, step=step)

    def rows(u: Tensor) -> Tensor:
        return residuals(problem, shot(u))

    best = levenberg_marquardt(rows, first.flatten(), iterations=iterations, tolerance=1e-8)
    found = shot(best)
    return found, float(value(problem, found))


def objective(problem: Watched, model: DynamicParticles) -> Tensor:
    """E of the control that a model with kicks at the observation times makes."""
    path = model(problem.start, (0.0, *problem.times))
    horizon = problem.times[-1]
    cost = horizon * model.penalty((0.0, horizon))  # which is the mean over depth
    return cost + problem.weight * problem.loss(path[1:].unbind(0))


def learn_kicks(problem: Watched, *, step: float = 0.1, iterations: int = 400) -> DynamicParticles:
    """Minimise E over p(0) and the kicks of the library's model, from zero, by L-BFGS.

    Args:
        problem: The control problem, whose field has no other slot than the data's.
        step: Step of the solver.
        iterations: Largest number of iterations.

    Returns:
        The model, its K = n particles starting at the data.
    """
    model = DynamicParticles(
        problem.field,
        len(problem.start),
        seed=0,  # drawn, then overwritten
        kicks=problem.times[:-1],
        momentum_scale=1.0,
        solver=Solver(method=METHOD, step=step),
    ).to(problem.start)
    with torch.no_grad():
        model.x.copy_(problem.start)
        model.p.zero_()
    optimiser = torch.optim.LBFGS(
        [model.p, model.kicks],
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=30,
        tolerance_grad=1e-9,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = objective(problem, model)
        value.backward()
        return value

    optimiser.step(closure)
    return model


@dataclass(frozen=True)
class DirectOptimum:
    """Outcome of `solve_watched`: dense controls, the trajectory of the data and E."""

    theta: Control
    states: Tensor
    value: float
    residual: float


def solve_watched(
    problem: Watched, steps: int, *, seed: int = 0, scale: float = 0.3, iterations: int = 400
) -> DirectOptimum:
    """Minimise E over dense controls, one at each Runge-Kutta stage, by L-BFGS; no costates.

    Args:
        problem: The control problem; every t_k must be a multiple of T / steps.
        steps: Number of steps over [0, T].
        seed: Seed of the first control.
        scale: Size of the first control.
        iterations: Largest number of iterations.

    Returns:
        Controls ``(steps, stages, out, width)``, states ``(steps + 1, n, S)``, E, and the largest
        entry of its gradient.

    Raises:
        ValueError: If an observation time is not a node.
    """
    tableau, horizon = TABLEAUS[METHOD], problem.times[-1]
    nodes = [round(steps * t / horizon) for t in problem.times]
    if any(abs(k - steps * t / horizon) > 1e-9 for k, t in zip(nodes, problem.times, strict=True)):
        raise ValueError(
            f"expected observation times {problem.times} among {steps} equal steps; "
            "choose a number of steps that divides every gap"
        )
    h, field = horizon / steps, problem.field
    first = random_control(field, steps, stages=len(tableau.b), scale=scale, seed=seed)
    sizes = [v.numel() for v in first.values()]
    # with these units the penalty is half a squared Euclidean norm, which conditions the descent
    root = (h * weights(tableau, problem.start)).sqrt()[:, None, None]
    u = torch.cat([(v * root).flatten() for v in first.values()]).requires_grad_()

    def control(flat: Tensor) -> Control:
        parts = zip(first.items(), flat.split(sizes), strict=True)
        return {name: part.reshape(v.shape) / root for (name, v), part in parts}

    def objective(flat: Tensor) -> Tensor:
        theta = control(flat)
        path = rollout(field, theta, problem.start, h, tableau)
        cost = running_cost(field, theta, h, tableau)
        return cost + problem.weight * problem.loss([path[k] for k in nodes])

    descend(u, objective, iterations=iterations, tolerance=1e-7)
    (slope,) = torch.autograd.grad(objective(u), u)
    theta = control(u.detach())
    path = rollout(field, theta, problem.start, h, tableau)
    return DirectOptimum(theta, path, float(objective(u.detach())), float(slope.abs().max()))


def first_variation(
    problem: Watched,
    q: Tensor,
    p: Tensor,
    kick: Kick | Tensor | None,
    *,
    waves: int = 3,
    step: float = 0.05,
) -> Tensor:
    """Derivative of E at the shot's control in directions B cos(j pi t / T), B a unit control.

    Zero in all directions means: the control that the ensemble generates is critical for E.

    Args:
        problem: The control problem, with its own data.
        q: Particle states at t = 0, ``(K, S)``.
        p: Particle costates at t = 0, ``(K, S)``.
        kick: As in `shoot_with_kicks`.
        waves: Number of cosines, including the constant.
        step: Step of the solver.

    Returns:
        One derivative for each wave and each entry of theta, shape ``(waves, P)``.
    """
    field, horizon = problem.field, problem.times[-1]
    shapes = field.shapes
    size = sum(a * b for a, b in shapes.values())
    eps = torch.zeros(waves, size).to(q).requires_grad_()

    def bent(t: float, q: Tensor, p: Tensor) -> tuple[Control, Control]:
        angle = torch.arange(waves).to(q) * (torch.pi * t / horizon)
        parts = (angle.cos() @ eps).split([a * b for a, b in shapes.values()])
        theta = field.theta(q, p)
        extra = zip(theta.items(), parts, strict=True)
        return theta, {name: v + e.reshape(v.shape) for (name, v), e in extra}

    def rhs(t: float, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, p, z, _ = y
        theta, moved = bent(t, q, p)
        back = -field.pull_back(q, p, theta)
        return field.velocity(q, theta), back, field.velocity(z, moved), field.penalty(moved)

    state: tuple[Tensor, ...] = (q, p, problem.start, torch.zeros(()).to(q))
    data = []
    for k, gap in enumerate(problem.gaps):
        if k and kick is not None:
            push = kick[k - 1] if isinstance(kick, Tensor) else kick(k - 1, state[0])
            state = (state[0], state[1] + push, *state[2:])
        state = runge_kutta(rhs, state, grid_of(gap, step=step), TABLEAUS[METHOD])[-1]
        data.append(state[2])
    (slope,) = torch.autograd.grad(state[3] + problem.weight * problem.loss(data), eps)
    return slope
