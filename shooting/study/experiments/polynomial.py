"""A rival in closed form: ridge regression of a field on polynomial features (as SINDy does).

From x(t_j) - x(0) = integral of f, with f = C phi(x) and the integral taken of the polynomial
through all samples of the snippet, C follows from one linear system per run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor, nn

from shooting.errors import require_count
from shooting.solvers import TABLEAUS, make_grid, runge_kutta

STEP = 0.05  # of the solver: the fitted field is meant to be the true one, not its RK4 map


def exponents(dim: int, degree: int) -> list[tuple[int, ...]]:
    """Coordinates in each monomial up to a degree, e.g. ``(0, 0, 1)`` for x0^2 x1."""
    return [
        c for n in range(degree + 1) for c in combinations_with_replacement(range(dim), n)
    ]  # fmt: skip


def features(x: Tensor, degree: int) -> Tensor:
    """All monomials of rows ``(..., d)``, ``(..., F)``."""
    one = torch.ones_like(x[..., 0])
    found = []
    for chosen in exponents(x.shape[-1], degree):
        value = one
        for k in chosen:
            value = value * x[..., k]
        found.append(value)
    return torch.stack(found, dim=-1)


def quadrature(times: Sequence[float]) -> Tensor:
    """Weights W of the integrals from the first time to each, exact for polynomials, ``(S, S)``."""
    t = np.asarray(times, dtype=float)
    basis = np.linalg.inv(np.vander(t, increasing=True))  # coefficients of Lagrange's polynomials
    powers = np.arange(1, len(t) + 1)
    integrals = (t[:, None] ** powers - t[0] ** powers) / powers
    return torch.as_tensor(integrals @ basis)


class PolynomialField(nn.Module):
    """x' = C phi(x), one C per run; called as the other models are.

    Args:
        coefficients: C, ``(runs, F, d)``.
        degree: Of the polynomials.
    """

    coefficients: Tensor

    def __init__(self, coefficients: Tensor, degree: int) -> None:
        super().__init__()
        self.degree = degree
        self.register_buffer("coefficients", coefficients)

    @property
    def count(self) -> int:
        """Numbers learned per run."""
        return self.coefficients[0].numel()

    def forward(self, x: Tensor, times: Sequence[float]) -> Tensor:
        """Positions ``(runs, times, n, d)`` of data ``(n, d)`` or ``(runs, n, d)``."""
        z = x.to(self.coefficients).expand(len(self.coefficients), *x.shape[-2:])
        states = runge_kutta(
            lambda t, y: (features(y[0], self.degree) @ self.coefficients,),
            (z,),
            make_grid(times, step=STEP),
            TABLEAUS["rk4"],
        )
        return torch.stack([s[0] for s in states], dim=-3).to(x)


def ridge(
    snippets: Tensor, times: Sequence[float], *, degree: int = 3, penalty: float = 1e-6
) -> PolynomialField:
    """Fit the field to snippets.

    Args:
        snippets: ``(runs, S, n, d)``, at these times.
        times: ``(S,)``.
        degree: Of the polynomials.
        penalty: Ridge: weight of |C|^2 beside the mean squared error.

    Returns:
        The fitted field, in double precision.
    """
    require_count(degree, "the degree")
    x = snippets.double()
    phi = features(x, degree)
    rows = torch.einsum("jk,rkni->rjni", quadrature(times)[1:], phi).flatten(1, 2)
    rise = (x[:, 1:] - x[:, :1]).flatten(1, 2)
    gram = rows.transpose(-1, -2) @ rows / rows.shape[1]
    gram = gram + penalty * torch.eye(gram.shape[-1], dtype=gram.dtype)
    right = rows.transpose(-1, -2) @ rise / rows.shape[1]
    return PolynomialField(torch.linalg.solve(gram, right), degree)
