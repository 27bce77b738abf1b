"""The metric M_b of a control: penalty <theta, M_b theta> / 2, and its inverse in Eq. 3.3."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from shooting.errors import require_type, shown
from shooting.fixed import Fixed


class Metric(Fixed):
    """M = m times the identity. It never changes.

    Example:
        >>> term = Term("theta3", "v", "v", Metric(10.0))

    Args:
        number: The weight m > 0.

    Attributes:
        size: Length of the vectors M acts on; None if any.

    Raises:
        ValueError: If m is not a positive number.
    """

    size: int | None = None

    def __init__(self, number: float) -> None:
        if not _is_weight(number):
            raise ValueError(
                "expected a weight that is a positive number or a symmetric positive definite "
                f"matrix, got {shown(number)}; try 1.0, as a penalty must be strictly convex"
            )
        self._number = float(number)
        self._frozen = True

    @property
    def number(self) -> float | None:
        """m; None if M is a general matrix."""
        return self._number

    def __float__(self) -> float:
        if self.number is None:
            raise TypeError("expected a scalar weight, got a matrix; use the metric's solve")
        return self.number

    def solve(self, a: Tensor) -> Tensor:
        """The product $M^{-1} a$ for columns a."""
        return a / self._number

    def solve_rows(self, p: Tensor) -> Tensor:
        """$M^{-1} p$ for rows p (M is symmetric)."""
        return p / self._number

    def square(self, theta: Tensor) -> Tensor:
        r"""$\langle\theta, M\theta\rangle$, shape ``(*runs)``."""
        return self._number * (theta**2).sum((-1, -2))

    def apply(self, theta: Tensor) -> Tensor:
        """The product M theta, in the shape of theta."""
        return self._number * theta

    def root(self, theta: Tensor) -> Tensor:
        r"""A square root of M, times theta: its squared norm is $\langle\theta, M\theta\rangle$."""
        return theta * self._number**0.5

    def __str__(self) -> str:
        return f"{self._number:g}"


class MatrixMetric(Metric):
    """A symmetric positive definite matrix M (M_A and M_b of Eqs. 3.5-3.6).

    Args:
        matrix: M ``(out, out)``, copied: a later change of it changes nothing here.

    Raises:
        ValueError: If M is not symmetric positive definite, or asks for a gradient.
    """

    def __init__(self, matrix: Tensor) -> None:
        require_type(matrix, Tensor, "a weight as a matrix", "try torch.eye(n)")
        if matrix.requires_grad or not _is_spd(matrix):
            kind = "a trained" if matrix.requires_grad else "a"
            raise ValueError(
                "expected a weight that is a positive number or a symmetric positive definite "
                f"matrix of fixed numbers, got {kind} {matrix.dtype} tensor of shape "
                f"{tuple(matrix.shape)}; try 1.0, torch.eye(n) or matrix.detach()"
            )
        self._matrix = matrix.detach().clone()
        self._inverse = torch.linalg.inv(self._matrix.double())
        self.size = len(matrix)
        self._frozen = True

    @property
    def number(self) -> None:
        """None: M is no multiple of the identity."""
        return None

    def solve(self, a: Tensor) -> Tensor:
        """M^-1 a for columns a of length ``out``."""
        return self._inverse.to(a) @ a

    def solve_rows(self, p: Tensor) -> Tensor:
        """M^-1 p for rows p of length ``out``."""
        return p @ self._inverse.to(p)

    def square(self, theta: Tensor) -> Tensor:
        r"""$\langle\theta, M\theta\rangle$, shape ``(*runs)``."""
        return (theta * (self._matrix.to(theta) @ theta)).sum((-1, -2))

    def apply(self, theta: Tensor) -> Tensor:
        """The product M theta, in the shape of theta."""
        return self._matrix.to(theta) @ theta

    def root(self, theta: Tensor) -> Tensor:
        """The Cholesky factor of M, times theta."""
        return torch.linalg.cholesky(_at_least_single(self._matrix)).to(theta).T @ theta

    def __str__(self) -> str:
        return "M"


def metric(weight: float | Tensor | Metric) -> Metric:
    """The metric of a weight: a positive number, a matrix, or a metric already."""
    if isinstance(weight, Metric):
        return weight
    return MatrixMetric(weight) if isinstance(weight, Tensor) else Metric(weight)


def _is_weight(number: object) -> bool:
    try:
        real = isinstance(number, Real) and not isinstance(number, bool)
        return real and 0 < float(number) < math.inf  # type: ignore[arg-type]
    except OverflowError:
        return False


def _is_spd(m: Tensor) -> bool:
    if m.dim() != 2 or m.shape[0] != m.shape[1] or not len(m) or not m.is_floating_point():
        return False
    if m.layout is not torch.strided or m.is_meta:
        return False
    if not bool(torch.isfinite(m).all()) or not torch.allclose(m, m.T):
        return False
    return int(torch.linalg.cholesky_ex(_at_least_single(m)).info) == 0


def _at_least_single(m: Tensor) -> Tensor:
    """Half precision, which no decomposition takes, made single."""
    return m.to(torch.promote_types(m.dtype, torch.float32))
