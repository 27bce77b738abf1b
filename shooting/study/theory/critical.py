"""When is a particle ensemble a critical point of the direct problem (3.2)?

The discrete shot satisfies the optimality system of the Euler network exactly, so that the
gradient of the direct objective can vanish to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.solvers import TABLEAUS
from shooting.study.theory.direct import Problem, euler_gradient, rollout
from shooting.study.theory.discrete import discrete_shoot, weights_from_costates


def own_data(field: Field, q: Tensor, p: Tensor, *, weight: float) -> Tensor:
    """Targets y_j = x_j(T) + p_j(T) / lambda for which the ensemble meets the end condition."""
    return (q + p / weight)[:, : next(iter(field.slots.values()))]


def own_gradient(
    field: Field, q: Tensor, p: Tensor, *, layers: int = 40, weight: float = 2.0, sign: float = 1.0
) -> float:
    """Largest gradient entry of the direct problem whose data are the ensemble's own.

    Args:
        field: The vector field; its first slot is what the loss sees.
        q: Initial states ``(K, S)``.
        p: Initial costates ``(K, S)``.
        layers: Number of layers of the Euler network.
        weight: The weight lambda.
        sign: Minus one puts the targets on the wrong side, a control.

    Returns:
        Largest entry of M theta - sum p phi^T over all layers.

    Raises:
        ValueError: If the implicit layers of the discrete shot do not converge.
    """
    shot = discrete_shoot(field, q, p, layers=layers, h=1 / layers, rule="newton")
    if shot.residual > 1e-11:
        raise ValueError(
            f"expected the implicit layers to converge, got a residual of {shot.residual:.1e}; "
            "take more layers or smaller costates"
        )
    y = own_data(field, shot.q[-1], sign * shot.p[-1], weight=weight)
    theta = {name: value.unsqueeze(1) for name, value in shot.theta.items()}
    gradient = euler_gradient(Problem(field, q, y, weight), theta)
    return max(float(g.abs().max()) for g in gradient.values())


def silent_exit(
    field: Field, q: Tensor, p: Tensor, *, layers: int = 40, sweeps: int = 500
) -> Tensor:
    """Costates at depth zero of the Euler network that arrives with p_x given and p_v = 0.

    Sweeps forward for the states and backward for the costates, until nothing moves.

    Args:
        field: The vector field; its first slot is x.
        q: Initial states ``(K, S)``.
        p: Costates ``(K, S)`` at the exit, of which the part p_x is taken.
        layers: Number of layers.
        sweeps: Largest number of sweeps.

    Raises:
        ValueError: If the sweeps do not converge.
    """
    d, h = next(iter(field.slots.values())), 1 / layers
    end = torch.cat([p[:, :d], torch.zeros_like(p[:, d:])], dim=-1)
    costates = end.expand(layers + 1, *end.shape)
    states = q.expand(layers + 1, *q.shape)
    for _ in range(sweeps):
        theta = weights_from_costates(field, states, costates)
        dense = {name: value.unsqueeze(1) for name, value in theta.items()}
        states = rollout(field, dense, q, h, TABLEAUS["euler"])
        path = [end]
        for k in reversed(range(layers)):
            layer = {name: value[k] for name, value in theta.items()}
            path.append(path[-1] + h * field.pull_back(states[k], path[-1], layer))
        new = torch.stack(path[::-1])
        moved, costates = float((new - costates).abs().max()), new
        if moved < 1e-13:
            return costates[0]
    raise ValueError(
        f"expected the sweeps to converge, got a last change of {moved:.1e}; try smaller costates"
    )
