"""Discrete depth: residual networks with weight decay, and shooting layer by layer.

Layers x_{k+1} = x_k + h f(x_k, theta_k), cost h sum_k R(theta_k) + lambda sum_i l(x_i,L). With
h = 1 this is a residual network with weight decay. At a stationary point (discrete Pontryagin)

    p_k = p_{k+1} + h (d_x f(x_k, theta_k))^T p_{k+1},
    theta_k = M^-1 sum_i p_{i,k+1} phi(x_{i,k})^T.

Both use p_{k+1}, so that going forward from (x_0, p_0) each layer solves an equation for p_{k+1}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.errors import require_choice
from shooting.fields import Control, Field
from shooting.study.theory.intermediate_losses import batched_jacobian

RULES = ("fixed point", "newton")


@dataclass(frozen=True)
class DiscretePath:
    """Outcome of `discrete_shoot`.

    Attributes:
        q: States ``(L + 1, K, S)``.
        p: Costates ``(L + 1, K, S)``.
        theta: Control of each layer, each ``(L, out, width)``.
        iterations: Iterations that each layer needed.
        residual: Largest entry by which a layer's equation is missed.
    """

    q: Tensor
    p: Tensor
    theta: Control
    iterations: tuple[int, ...]
    residual: float


def layer_equation(field: Field, q: Tensor, p: Tensor, r: Tensor, h: float) -> Tensor:
    """r + h (d_x f(q, theta(q, r)))^T r - p, zero at r = p_{k+1}."""
    return r + h * field.pull_back(q, r, field.theta(q, r)) - p


def next_costate(
    field: Field,
    q: Tensor,
    p: Tensor,
    h: float,
    *,
    rule: str = "newton",
    iterations: int = 100,
    tolerance: float = 1e-13,
) -> tuple[Tensor, int]:
    """Solve the layer's equation for p_{k+1}, starting from p_k.

    Args:
        field: The vector field.
        q: States x_k, ``(K, S)``.
        p: Costates p_k, ``(K, S)``.
        h: Step of the network.
        rule: ``fixed point``: r <- p - h (d_x f)^T r, a contraction for small h; or ``newton``.
        iterations: Largest number of iterations.
        tolerance: Stop once the largest entry of the equation is below this, times 1 + |p|.

    Returns:
        The last iterate and the number of iterations.

    Raises:
        ValueError: If the rule is unknown.
    """
    require_choice(rule, RULES, "a rule")
    r, size = p, tolerance * (1 + float(p.abs().max()))
    for k in range(iterations):
        gap = layer_equation(field, q, p, r, h)
        if not size < float(gap.abs().max()) < math.inf:  # also stops once it has blown up
            return r, k
        r = r - (gap if rule == "fixed point" else _newton_move(field, q, p, r, h))
    return r, iterations


def _newton_move(field: Field, q: Tensor, p: Tensor, r: Tensor, h: float) -> Tensor:
    def equation(u: Tensor) -> Tensor:
        return layer_equation(field, q, p, u.unflatten(-1, p.shape), h).flatten(-2)

    gap, slope = batched_jacobian(equation, r.flatten())
    # least squares: far from a solution the slope may be singular
    move: Tensor = torch.linalg.lstsq(slope, gap[:, None]).solution
    return move.reshape(p.shape)


def multipliers(field: Field, q: Tensor, r: Tensor, h: float) -> Tensor:
    """Eigenvalues of the derivative of the map r -> p - h (d_x f(q, theta(q, r)))^T r at r.

    Where a real one passes +1 the derivative of the layer's equation is singular and its branch
    turns: p_k no longer tells which p_{k+1} is meant. One beyond -1 stops the iteration only.

    Args:
        field: The vector field.
        q: States x_k, ``(K, S)``.
        r: Costates p_{k+1}, ``(K, S)``.
        h: Step of the network.

    Returns:
        Complex numbers ``(K S,)``.
    """

    def equation(u: Tensor) -> Tensor:
        r_now = u.unflatten(-1, r.shape)
        return layer_equation(field, q, torch.zeros_like(r_now), r_now, h).flatten(-2)

    _, slope = batched_jacobian(equation, r.flatten())
    return torch.linalg.eigvals(torch.eye(len(slope)).to(slope) - slope)


def largest_real(values: Tensor, *, tolerance: float = 1e-9) -> float:
    """The largest of the real ones among eigenvalues, -inf if all are complex.

    Args:
        values: Complex numbers ``(m,)``.
        tolerance: Imaginary parts up to this count as rounding.
    """
    real = values.real[values.imag.abs() <= tolerance]
    return float(real.max()) if len(real) else -math.inf


def discrete_shoot(
    field: Field,
    q: Tensor,
    p: Tensor,
    *,
    layers: int,
    h: float,
    rule: str = "newton",
    iterations: int = 100,
) -> DiscretePath:
    """All layers of the network that starts from (x_0, p_0): symplectic Euler.

    Args:
        field: The vector field.
        q: States x_0 ``(K, S)``.
        p: Costates p_0 ``(K, S)``.
        layers: Number L of layers.
        h: Step of the network.
        rule: See `next_costate`.
        iterations: Largest number of iterations in a layer.

    Returns:
        States, costates and controls; look at the residual.
    """
    states, costates, controls, counts, worst = [q], [p], [], [], 0.0
    for _ in range(layers):
        new, count = next_costate(field, q, p, h, rule=rule, iterations=iterations)
        gap = layer_equation(field, q, p, new, h).abs().max()
        worst = max(worst, float(gap.nan_to_num(nan=float("inf"))))
        theta = field.theta(q, new)
        q, p = q + h * field.velocity(q, theta), new
        states.append(q)
        costates.append(p)
        controls.append(theta)
        counts.append(count)
    stacked = {b: torch.stack([c[b] for c in controls]) for b in controls[0]}
    return DiscretePath(torch.stack(states), torch.stack(costates), stacked, tuple(counts), worst)


def weights_from_costates(field: Field, q: Tensor, p: Tensor, *, late: bool = True) -> Control:
    """theta_k = M^-1 sum_i p_{i,k+1} phi(x_{i,k})^T for all layers of a path.

    Args:
        field: The vector field.
        q: States ``(L + 1, K, S)``.
        p: Costates ``(L + 1, K, S)``.
        late: Whether p_{k+1} is taken, which is right; p_k is wrong by O(h).

    Returns:
        Controls, each ``(L, out, width)``.
    """
    return field.theta(q[:-1], p[1:] if late else p[:-1])
