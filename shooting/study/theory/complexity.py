"""What holds instead of Theorem 2 and Corollary 3: bounds, and families of flows to try them on.

Bounds are normalised, (1/n) E sup_g sum_i eps_i g(z_i), but for `massart` and `outer_only`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.flow import Solver, shoot
from shooting.solvers import TABLEAUS, State, make_grid, runge_kutta


def rkhs_ball(gram: Tensor, signs: Tensor, *, radius: float = 1.0) -> float:
    """Complexity of an RKHS ball, exact for the given signs: the supremum is R sqrt(eps^T k eps).

    Args:
        gram: Kernel matrix k(z_i, z_j), ``(n, n)``.
        signs: Vectors of signs ``(count, n)``.
        radius: The radius R.
    """
    squared = ((signs @ gram) * signs).sum(1).clamp(min=0.0)
    return float(radius * squared.sqrt().mean() / signs.shape[1])


def first_order_bound(n: int, *, radius: float, lipschitz: float) -> float:
    """R / sqrt(n) + kappa R^2 / 2, for displacements of flows of fields with Lip f <= kappa |f|."""
    return radius / math.sqrt(n) + lipschitz * radius**2 / 2


def line_bound(n: int, *, radius: float, lipschitz: float, reach: float) -> float:
    """Bound of the smooth-kernel theorem on the line, for displacements of points of [-r, r].

    A displacement g has |g(0)| <= R and |g'| <= e^(kappa R) - 1, and H^1([-r, r]) with the norm
    |g(0)|^2 + int |g'|^2 has a kernel with k(x, x) = 1 + |x|.

    Args:
        n: Number of points.
        radius: The radius R of the ball of fields, with |f(x)| <= |f|.
        lipschitz: The constant kappa with |f'(x)| <= kappa |f|.
        reach: The half-width r of the interval.
    """
    slope = math.exp(lipschitz * radius) - 1
    return math.sqrt((1 + reach) * (radius**2 + 2 * reach * slope**2) / n)


def line_kernel(z: Tensor) -> Tensor:
    """Gram matrix of H^1 on the line with the norm |g(0)|^2 + int |g'|^2.

    k(x, y) = 1 + min(|x|, |y|) on the same side of zero, and 1 otherwise.

    Args:
        z: Points ``(n,)``.
    """
    near = torch.minimum(z.abs()[:, None], z.abs())
    return 1 + torch.where(z[:, None] * z > 0, near, torch.zeros_like(near))


def massart(count: int, length: float) -> float:
    """Massart's lemma, not divided by n: E max sum_i eps_i a_i <= length sqrt(2 log count)."""
    return length * math.sqrt(2 * math.log(count))


def covering_bound(
    n: int, *, parameters: int, radius: float, lipschitz: float, size: float
) -> float:
    """Bound (1 + B sqrt(2 m log(1 + 2 rho Lambda sqrt(n)))) / sqrt(n) for m = 2 K S parameters.

    Args:
        n: Number of points.
        parameters: Number m of parameters.
        radius: Radius rho of the ball in which they lie.
        lipschitz: Lipschitz constant Lambda of the flow in its parameters.
        size: Bound B of the flow.
    """
    entropy = math.log(1 + 2 * radius * lipschitz * math.sqrt(n))
    return (1 + size * math.sqrt(2 * parameters * entropy)) / math.sqrt(n)


def waves(z: Tensor, phases: Tensor, *, radius: float, frequency: float) -> Tensor:
    """Flows on the line of R sin(w x + a_j), j = 1..J in turn, for a ball with kappa = w.

    The fields sin(w x), cos(w x) are orthonormal, so that k(x, x) = 1 and the norm is R always.

    Args:
        z: Points ``(n,)``.
        phases: The phases a_j of each member ``(m, J)``.
        radius: The radius R.
        frequency: The frequency w.

    Returns:
        Positions at time 1, ``(m, n)``.
    """
    pieces, x = phases.shape[1], z.expand(len(phases), -1)
    for j in range(pieces):

        def rhs(t: float, state: State, a: Tensor = phases[:, j : j + 1]) -> State:
            return (radius * torch.sin(frequency * state[0] + a),)

        grid = make_grid([0.0, 1 / pieces], step=1 / 15)
        x = runge_kutta(rhs, (x,), grid, TABLEAUS["classical"])[-1][0]
    return x


def particle_class(field: Field, x: Tensor, *, radius: float, lines: int) -> tuple[Tensor, Tensor]:
    """All one-particle maps whose (q, p) lies on a grid of the disk |(q, p)| <= radius, S = 1.

    Args:
        field: A field with states of length one.
        x: Data ``(n, 1)``.
        radius: Radius of the disk.
        lines: Grid lines in each direction.

    Returns:
        Parameters ``(m, 2)`` and values ``(m, n)``.
    """
    line = torch.linspace(-radius, radius, lines, dtype=x.dtype)
    u = torch.cartesian_prod(line, line)
    u = u[u.norm(dim=1) <= radius]
    q, p = (u[:, k, None, None] for k in (0, 1))
    solver = Solver("classical", step=0.1, form="kernel")
    end = shoot(field, q, p, x.expand(len(u), *x.shape), [0.0, 1.0], solver=solver)
    return u, end.z[:, -1, :, 0]


def steepest(u: Tensor, values: Tensor) -> float:
    """Largest slope of the values between neighbours: Lambda, seen on the grid.

    Args:
        u: Parameters ``(m, 2)``.
        values: Values ``(m, n)``.
    """
    gaps = torch.cdist(u, u, compute_mode="donot_use_mm_for_euclid_dist")
    near = (gaps > 0) & (gaps < 1.01 * gaps[gaps > 0].min())
    i, j = near.nonzero(as_tuple=True)
    return float(((values[i] - values[j]).abs().amax(1) / gaps[i, j]).max())


def outer_only(x: Tensor, signs: Tensor, *, width: int, seed: int = 0) -> float:
    """Complexity of sum_j a_j relu(u_j . (x, 1)) with |a|^2 / 2 <= 1 and fixed unit u_j.

    Not divided by n. Without a penalty on the inner weights the width enters: a control for the
    width-free bound.

    Args:
        x: Data ``(n, d)``.
        signs: Vectors of signs ``(count, n)``.
        width: Number of neurons.
        seed: Seed of the directions u_j.
    """
    g = torch.Generator().manual_seed(seed)
    u = torch.randn(width, x.shape[1] + 1, generator=g, dtype=torch.float64)
    u = u / u.norm(dim=1, keepdim=True)
    features = torch.relu(x @ u[:, :-1].T + u[:, -1])
    return float(math.sqrt(2) * (signs @ features).norm(dim=1).mean())
