"""The direct problem (3.2): optimise every weight at every depth, with costates by the adjoint.

Nothing here knows about shooting: the controls are free at every stage of every step, so an
optimum found here is an independent witness for what shooting should return.

Shapes: a dense control theta_b is ``(N, s, out, width)``, one value for each of the s stages of
each of the N steps; the trajectory is ``(N + 1, n, S)``. Euler has s = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.fields import Control, Field
from shooting.randomness import generator
from shooting.solvers import TABLEAUS, Tableau, advance


@dataclass(frozen=True)
class Problem:
    """Minimise int_0^T R(theta) dt + lambda sum_i l(x_i(T), y_i), Eq. (3.2), l = |x - y|^2 / 2.

    Attributes:
        field: The vector field f.
        start: Initial states z_i(0), shape ``(n, S)``; the first slot holds the data.
        target: Targets y_i, shape ``(n, d)``.
        weight: The weight lambda of the loss.
        horizon: The depth T.
    """

    field: Field
    start: Tensor
    target: Tensor
    weight: float = 1.0
    horizon: float = 1.0

    def loss(self, z: Tensor) -> Tensor:
        """Unweighted loss sum_i |x_i - y_i|^2 / 2 of end states ``(..., n, S)``."""
        gap = z[..., : self.target.shape[-1]] - self.target
        return 0.5 * (gap**2).sum((-1, -2))

    def loss_gradient(self, z: Tensor) -> Tensor:
        """Gradient of `loss`, shape of z: (x - y) in the data slot, zero in the others."""
        d = self.target.shape[-1]
        return torch.cat([z[..., :d] - self.target, torch.zeros_like(z[..., d:])], dim=-1)


@dataclass(frozen=True)
class Optimum:
    """A stationary point of the direct problem.

    Attributes:
        theta: Dense controls, each ``(N, s, out, width)``.
        states: Trajectory z_k, shape ``(N + 1, n, S)``.
        costates: p_k = -d(cost to go)/dz_k, shape ``(N + 1, n, S)``.
        value: The objective (3.2).
        residual: Largest entry of the gradient in the control, scaled as a function of depth.
        lift: Learned lift [Theta12 | b12] of shape ``(S - d, d + 1)``, or None.
    """

    theta: Control
    states: Tensor
    costates: Tensor
    value: float
    residual: float
    lift: Tensor | None = None


def rollout(field: Field, theta: Control, z: Tensor, h: float, tableau: Tableau) -> Tensor:
    """Forward model (3.1), a Runge-Kutta method with its own control at every stage.

    Args:
        field: The vector field.
        theta: Dense controls ``(N, s, out, width)``.
        z: Initial states ``(n, S)``.
        h: Step length T / N.
        tableau: The method, with s stages.

    Returns:
        The trajectory ``(N + 1, n, S)``.
    """
    return torch.stack(_states(field, theta, z, h, tableau))


def _states(field: Field, theta: Control, z: Tensor, h: float, tableau: Tableau) -> list[Tensor]:
    path = [z]
    # cut once: the derivative of w[k, i] would be as large as w, at every stage
    controls = iter(zip(*(w.flatten(0, 1) for w in theta.values()), strict=True))
    for _ in range(next(iter(theta.values())).shape[0]):
        slopes: list[tuple[Tensor, ...]] = []
        for row in tableau.a:
            stage = advance((path[-1],), slopes, row, h)[0]
            now = dict(zip(theta, next(controls), strict=True))
            slopes.append((field.velocity(stage, now),))
        path.append(advance((path[-1],), slopes, tableau.b, h)[0])
    return path


def running_cost(field: Field, theta: Control, h: float, tableau: Tableau) -> Tensor:
    """Quadrature h sum_k sum_i b_i R(theta_ki) of int_0^T R dt with the weights of the method."""
    each = field.penalty(theta)  # (N, s): all leading axes are run axes
    return h * (each * each.new_tensor(tableau.b)).sum()


def weights(tableau: Tableau, like: Tensor) -> Tensor:
    """Weights b of a method, as the direct solvers need them.

    Raises:
        ValueError: If one is not positive: the cost would not see its stage.
    """
    if min(tableau.b) <= 0:
        raise ValueError(
            f"expected a method with positive weights, got {tableau.name} with {tableau.b}; try rk4"
        )
    return like.new_tensor(tableau.b)


def objective(problem: Problem, theta: Control, tableau: Tableau) -> Tensor:
    """E_n(theta) of Eq. (3.2), discretised."""
    h = problem.horizon / next(iter(theta.values())).shape[0]
    end = rollout(problem.field, theta, problem.start, h, tableau)[-1]
    return running_cost(problem.field, theta, h, tableau) + problem.weight * problem.loss(end)


def euler_adjoint(problem: Problem, theta: Control, states: Tensor) -> Tensor:
    """Adjoint equation of (3.3) on an Euler grid: p_k = p_k+1 + h (d_x f(x_k, theta_k))^T p_k+1.

    Args:
        problem: The direct problem.
        theta: Dense controls with one stage.
        states: Trajectory of these controls ``(N + 1, n, S)``.

    Returns:
        Costates ``(N + 1, n, S)``, the last being -lambda grad l.
    """
    steps = states.shape[0] - 1
    h, path = problem.horizon / steps, [-problem.weight * problem.loss_gradient(states[-1])]
    for k in reversed(range(steps)):
        now = {b: w[k, 0] for b, w in theta.items()}
        path.append(path[-1] + h * problem.field.pull_back(states[k], path[-1], now))
    return torch.stack(path[::-1])


def euler_gradient(problem: Problem, theta: Control) -> Control:
    """Left side of the compatibility equation (3.3), M theta_k - sum_i p_i,k+1 phi(x_i,k)^T.

    It is the gradient of the discretised objective, divided by h.
    """
    steps = next(iter(theta.values())).shape[0]
    h = problem.horizon / steps
    states = rollout(problem.field, theta, problem.start, h, TABLEAUS["euler"])
    p = euler_adjoint(problem, theta, states)[1:]
    best = problem.field.theta(states[:-1], p)
    return {
        t.name: t.metric.apply(gap)
        for t in problem.field.terms
        for gap in (theta[t.name] - best[t.name].unsqueeze(1),)
    }


def random_control(
    field: Field, steps: int, *, stages: int = 1, scale: float = 0.3, seed: int = 0
) -> Control:
    """Dense controls that wander smoothly over depth: a + b cos(pi t) with normal a, b."""
    g = generator(seed, "control")
    t = (torch.arange(steps * stages, dtype=torch.float64) + 0.5) / (steps * stages)
    wave = torch.stack([torch.ones_like(t), torch.cos(math.pi * t)])
    out = {}
    for name, shape in field.shapes.items():
        a = scale * torch.randn((2, *shape), generator=g, dtype=torch.float64)
        out[name] = torch.einsum("wt,wij->tij", wave, a).unflatten(0, (steps, stages))
    return out


class _Unknowns:
    """Controls and lift as one vector, scaled so that R has the unit matrix as Hessian."""

    def __init__(self, problem: Problem, steps: int, tableau: Tableau, lift: float | None) -> None:
        self.problem, self.tableau, self.mu = problem, tableau, lift
        self.h = problem.horizon / steps
        self.shapes = {b: (steps, len(tableau.b), *s) for b, s in problem.field.shapes.items()}
        d = problem.target.shape[-1]
        self.lift_shape = (problem.field.size - d, d + 1)
        exact = torch.empty(0, dtype=torch.float64)
        self.root = (self.h * weights(tableau, exact)).sqrt()[:, None, None]

    def flat(self, theta: Control, lift: Tensor | None) -> Tensor:
        parts = [(theta[b] * self.root).flatten() for b in self.shapes]
        return torch.cat(parts if lift is None else [*parts, lift.flatten()])

    def split(self, u: Tensor) -> tuple[Control, Tensor | None]:
        theta = {}
        for b, shape in self.shapes.items():
            theta[b] = u[: math.prod(shape)].reshape(shape) / self.root
            u = u[math.prod(shape) :]
        return theta, None if self.mu is None else u.reshape(self.lift_shape)

    def start(self, lift: Tensor | None) -> Tensor:
        if lift is None:
            return self.problem.start
        x = self.problem.start[:, : self.problem.target.shape[-1]]
        return torch.cat([x, x @ lift[:, :-1].T + lift[:, -1]], dim=-1)

    def path(self, u: Tensor) -> Tensor:
        theta, lift = self.split(u)
        return rollout(self.problem.field, theta, self.start(lift), self.h, self.tableau)

    def value(self, u: Tensor) -> Tensor:
        theta, lift = self.split(u)
        cost = running_cost(self.problem.field, theta, self.h, self.tableau)
        if lift is not None and self.mu is not None:
            cost = cost + 0.5 * self.mu * (lift**2).sum()
        return cost + self.problem.weight * self.problem.loss(self.path(u)[-1])


def solve_direct(
    problem: Problem,
    steps: int,
    *,
    method: str = "euler",
    seed: int = 0,
    scale: float = 0.3,
    lift: float | None = None,
    iterations: int = 2000,
    tolerance: float = 1e-9,
) -> Optimum:
    """Find a stationary point of the dense problem by L-BFGS from a random control.

    The scaling by sqrt(h b_i) turns the penalty into half a squared Euclidean norm, so that the
    Hessian is the identity plus a matrix whose rank is at most the number of outputs.

    Args:
        problem: The direct problem.
        steps: Number N of steps.
        method: Fixed-step method of `TABLEAUS` with positive weights.
        seed: Seed of the initial control.
        scale: Size of the initial control.
        lift: Penalty mu/2 |[Theta12 | b12]|^2 of a learned affine lift; None keeps
            `Problem.start` as it is.
        iterations: Largest number of L-BFGS iterations.
        tolerance: Stop once the largest scaled gradient entry is below this.

    Returns:
        The stationary point with its costates; look at `Optimum.residual`.
    """
    tableau = TABLEAUS[method]
    unknowns = _Unknowns(problem, steps, tableau, lift)
    theta = random_control(problem.field, steps, stages=len(tableau.b), scale=scale, seed=seed)
    first = None
    if lift is not None:
        g = generator(seed, "lift")
        first = 0.5 * torch.randn(unknowns.lift_shape, generator=g, dtype=torch.float64)
    u = unknowns.flat(theta, first).requires_grad_()
    descend(u, unknowns.value, iterations=iterations, tolerance=tolerance)
    return _optimum(unknowns, u)


def descend(
    u: Tensor,
    value: Callable[[Tensor], Tensor],
    *,
    iterations: int = 2000,
    tolerance: float = 1e-9,
) -> list[float]:
    """Minimise value(u) in place by L-BFGS with a strong Wolfe search.

    Args:
        u: Leaf tensor that requires a gradient; changed in place.
        value: Function of u returning a scalar tensor.
        iterations: Largest number of iterations.
        tolerance: Stop once the largest gradient entry is below this.

    Returns:
        The value at each evaluation.
    """
    trace: list[float] = []
    optimiser = torch.optim.LBFGS(
        [u],
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=60,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        out = value(u)
        out.backward()
        trace.append(float(out.detach()))
        return out

    optimiser.step(closure)
    return trace


def _optimum(unknowns: _Unknowns, u: Tensor) -> Optimum:
    """Costates of a control: p_k = -lambda d loss / d z_k, the control held fixed."""
    problem = unknowns.problem
    (slope,) = torch.autograd.grad(unknowns.value(u), u)
    theta, lift = unknowns.split(u.detach())
    with torch.enable_grad():
        z = unknowns.start(lift).detach().clone().requires_grad_()
        path = _states(problem.field, theta, z, unknowns.h, unknowns.tableau)
        grads = torch.autograd.grad(problem.loss(path[-1]), path)
    gradient, lift_slope = unknowns.split(slope)
    residual = max(float(g.abs().max()) for g in gradient.values())
    if lift_slope is not None:
        residual = max(residual, float(lift_slope.abs().max()))
    return Optimum(
        theta=theta,
        states=torch.stack(path).detach(),
        costates=-problem.weight * torch.stack(grads),
        value=float(unknowns.value(u).detach()),
        residual=residual,
        lift=lift,
    )
