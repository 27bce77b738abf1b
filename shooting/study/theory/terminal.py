"""Two ways to train particles: from the entrance, or from the exit with p_v(T) = 0.

Initial shooting learns (q(0), p(0)). Terminal shooting learns (q(T), p_x(T)), sets p_v(T) = 0 as a
critical point demands, and shoots backward: K (alpha + 2) d numbers instead of 2 K (alpha + 1) d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.adjoint import dense
from shooting.fields import Control
from shooting.flow import Path, Solver, shoot
from shooting.parametrizations import DynamicParticles
from shooting.study.theory.ensemble import levenberg_marquardt, terminal_start


@dataclass(frozen=True)
class Training:
    """Histories of one training, all runs.

    Attributes:
        error: Mean squared error before each step ``(steps, runs)``.
        penalty: R before each step, likewise.
        model: The trained model.
        terminal: Whether its particles are given at the exit.
    """

    error: Tensor
    penalty: Tensor
    model: DynamicParticles
    terminal: bool


def particles(model: DynamicParticles, *, terminal: bool) -> tuple[Tensor, Tensor]:
    """Initial positions and costates, ``(runs, K, S)``."""
    q, p = model.start()
    if not terminal:
        return q, p
    d = model.field.slots[model.data_slot]
    silent = torch.cat([p[..., :d], torch.zeros_like(p[..., d:])], dim=-1)
    return terminal_start(dense(model.field), q, silent, solver=model.solver)


def drive(model: DynamicParticles, x: Tensor, *, terminal: bool, outputs: int = 1) -> Path:
    """Particles and data over depth [0, 1]."""
    q, p = particles(model, terminal=terminal)
    times = [k / outputs for k in range(outputs + 1)]
    return shoot(model.field, q, p, model.lift(x), times, solver=model.solver)


def train(
    model: DynamicParticles,
    x: Tensor,
    y: Tensor,
    *,
    terminal: bool,
    steps: int,
    weight: float = 100.0,
    rate: float = 5e-3,
) -> Training:
    """Minimise weight * mse + R by Adam, all runs at once.

    Args:
        model: An ensemble with a leading run axis; trained in place.
        x: Data ``(n, d)``.
        y: Targets ``(n, d)``.
        terminal: Whether the particles are given at the exit.
        steps: Number of steps.
        weight: Weight of the mean squared error.
        rate: Learning rate.
    """
    data = x.expand(model.runs, *x.shape)
    adam, errors, penalties = torch.optim.Adam(model.parameters(), lr=rate), [], []
    for _ in range(steps):
        adam.zero_grad()
        path = drive(model, data, terminal=terminal)
        error = ((path.z[:, -1, :, : y.shape[-1]] - y) ** 2).mean((-1, -2))
        penalty = model.field.energy(path.q[:, 0], path.p[:, 0])
        (weight * error + penalty).sum().backward()
        adam.step()
        errors.append(error.detach())
        penalties.append(penalty.detach())
    return Training(torch.stack(errors), torch.stack(penalties), model, terminal)


def least_squares(
    model: DynamicParticles,
    x: Tensor,
    y: Tensor,
    *,
    run: int,
    terminal: bool,
    iterations: int,
    weight: float = 100.0,
) -> float:
    """Minimise weight * mse + R for one run by Levenberg-Marquardt, from the model's particles.

    At the entrance all of (q, p) is free, at the exit (q, p_x); the model is not changed.

    Args:
        model: An ensemble with a leading run axis, scalar penalty weights and a fixed lift.
        x: Data ``(n, d)``.
        y: Targets ``(n, d)``.
        run: Which of its runs.
        terminal: Whether the particles are given at the exit.
        iterations: Largest number of Jacobians.
        weight: Weight of the mean squared error.

    Returns:
        The objective at the end.
    """
    field, d = dense(model.field), y.shape[-1]
    solver = Solver("classical", step=0.1, form="kernel")
    q, p = (s[run].detach() for s in model.start())
    data = model.lift(x.expand(model.runs, *x.shape))[run].detach()
    free = d if terminal else field.size

    def rows(u: Tensor) -> Tensor:
        now, push = u[..., : field.size], u[..., field.size :]
        if terminal:
            push = torch.cat([push, torch.zeros_like(now[..., d:])], dim=-1)
            now, push = terminal_start(field, now, push, solver=solver)
        z = data.expand(*u.shape[:-2], *data.shape)
        end = shoot(field, now, push, z, [0.0, 1.0], solver=solver).z[..., -1, :, :d]
        theta = field.theta(now, push)
        energy = [t.metric.root(theta[t.name]).flatten(-2) for t in field.terms]
        return torch.cat([*energy, (2 * weight / y.numel()) ** 0.5 * (end - y).flatten(-2)], -1)

    first = torch.cat([q, p[:, :free]], dim=-1)
    return levenberg_marquardt(rows, first, iterations=iterations)[1]


def control_norms(result: Training, *, outputs: int = 40) -> dict[str, Tensor]:
    """Norms of the learned weights over depth, each ``(runs, outputs + 1)``."""
    nothing = torch.zeros(result.model.runs, 1, result.model.field.slots[result.model.data_slot])
    with torch.no_grad():
        path = drive(result.model, nothing, terminal=result.terminal, outputs=outputs)
        theta: Control = result.model.field.theta(path.q, path.p)
    return {name: value.norm(dim=(-1, -2)) for name, value in theta.items()}
