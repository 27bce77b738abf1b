"""Is a learned function convex, and how well can a convex function fit a target at all?

Criterion, fixed before any recorded curve was looked at: a curve on an equispaced grid is convex
if no second difference lies below minus `ROUNDING` times its largest value. `ROUNDING` bounds what
single precision does to a second difference of these networks: on 460 random ones (K = 2 to 25,
alpha = 4 to 128) at most 84 units of rounding, in the same unit. A kink of a convex function bends
upwards, so that it needs no tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from shooting.errors import MissingDataError
from shooting.study.data.functions import BOUND, TARGETS

ROUNDING = 100 * float(np.finfo(np.float32).eps)
POINTS = 401  # of the grid on which the best convex function is sought; odd: it has a middle


def second_differences(curves: np.ndarray) -> np.ndarray:
    """Second differences along the last axis, in double precision: ``(..., n - 2)``.

    Raises:
        ValueError: If a curve has fewer than three points.
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] < 3:
        raise ValueError(
            f"expected curves of at least three points, got shape {values.shape}; "
            "evaluate them on a grid such as grid_points(101)"
        )
    return np.diff(values, n=2, axis=-1)


def tolerance(curves: np.ndarray) -> np.ndarray:
    """What rounding may do to a second difference of each curve, ``(...)``."""
    found: np.ndarray = ROUNDING * np.abs(np.asarray(curves, dtype=np.float64)).max(-1)
    return found


def is_convex(curves: np.ndarray) -> np.ndarray:
    """Which curves are convex up to rounding; none with NaN is.

    Args:
        curves: Values on an equispaced grid, ``(..., n)``.

    Returns:
        Boolean ``(...)``.
    """
    found: np.ndarray = second_differences(curves).min(-1) >= -tolerance(curves)
    return found


def is_concave(curves: np.ndarray) -> np.ndarray:
    """Which curves are concave up to rounding; a straight line is both."""
    return is_convex(-np.asarray(curves))


@dataclass(frozen=True)
class ConvexFit:
    """The best convex function in the sense of mean squares.

    Attributes:
        x: Grid ``(n,)``.
        values: The function on it, ``(n,)``.
        mse: Mean squared distance from the target under the data's law, uniform on the interval.
    """

    x: np.ndarray
    values: np.ndarray
    mse: float


Target = Callable[[np.ndarray], np.ndarray]


def named(name: str) -> Target:
    """A target of the experiments as a function of double-precision arrays."""
    return lambda x: TARGETS[name](torch.as_tensor(x, dtype=torch.float64)).numpy()


def best_convex(target: Target, *, points: int = POINTS, bound: float = BOUND) -> ConvexFit:
    """The convex function nearest to a target, for data uniform on [-bound, bound].

    A convex function on a grid is a line plus hinges (x - x_i)_+ with coefficients of at least
    zero: least squares under bounds, which scipy solves.

    Args:
        target: Function of an array ``(n,)``.
        points: Size of the grid; means are taken by the trapezoidal rule on it.
        bound: Half the length of the interval.

    Returns:
        The fit.

    Raises:
        MissingDataError: If scipy is not installed.
    """
    x = np.linspace(-bound, bound, points)
    y = np.asarray(target(x), dtype=np.float64)
    weight = np.full(points, 1.0)
    weight[[0, -1]] = 0.5  # trapezoidal
    root = np.sqrt(weight / weight.sum())
    # hinges at the inner points only: one at the first point is a line, one at the last is zero
    basis = np.column_stack([np.ones(points), x, np.maximum(x[:, None] - x[None, 1:-1], 0.0)])
    values = basis @ _least_squares(root[:, None] * basis, root * y, free=2)
    return ConvexFit(x, values, float(((root * (values - y)) ** 2).sum()))


def best_concave(target: Target, *, points: int = POINTS, bound: float = BOUND) -> ConvexFit:
    """The concave function nearest to a target; see `best_convex`."""
    mirrored = best_convex(lambda x: -target(x), points=points, bound=bound)
    return ConvexFit(mirrored.x, -mirrored.values, mirrored.mse)


def _least_squares(matrix: np.ndarray, right: np.ndarray, *, free: int) -> np.ndarray:
    """Least squares with all but the first `free` coefficients at least zero.

    The free ones are projected out, which leaves non-negative least squares.
    """
    try:
        from scipy.optimize import nnls
    except ModuleNotFoundError as error:
        raise MissingDataError(
            f"expected scipy for least squares under bounds, got {error}; "
            "pip install 'shooting[study]'"
        ) from error
    lead, rest = matrix[:, :free], matrix[:, free:]
    basis, triangle = np.linalg.qr(lead)
    others = rest - basis @ (basis.T @ rest)
    bounded, _ = nnls(others, right - basis @ (basis.T @ right), maxiter=30 * matrix.shape[1])
    chosen = np.linalg.solve(triangle, basis.T @ (right - rest @ bounded))
    return np.concatenate([chosen, bounded])
