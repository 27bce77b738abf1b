"""How far a prediction of the spiral is from the true curve, and how far ahead or behind on it.

The nearest point says little: the curve winds through its disc so densely that noise all over the
disc is near it as well. So a prediction is laid along the curve: sample by sample it moves on, at
between half and twice the true speed, on the course that leaves the least squared distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shooting.study.data.spiral import SAMPLES, SPACING, START, A

PACE = 2  # the factor by which a prediction may be faster or slower than the truth
FINE = 20  # points of the curve per sample; neighbours are at most 0.04 apart


@dataclass(frozen=True)
class Orbit:
    """A curve, sampled finely, for paths that start where it does.

    Attributes:
        points: Positions ``(points, 2)``, equispaced in time.
        fine: Points per sample of a path.
        spacing: Time units between samples of a path.
    """

    points: np.ndarray
    fine: int = FINE
    spacing: float = SPACING

    def turns(self) -> np.ndarray:
        """Periods since the start at each point: turns about the origin, clockwise."""
        angle = np.unwrap(np.arctan2(self.points[:, 1], self.points[:, 0]))
        return (angle[0] - angle) / (2 * np.pi)


@dataclass(frozen=True)
class Course:
    """A path laid along an orbit.

    Attributes:
        at: Index of the orbit's point that belongs to each sample of the path.
        distance: From there to the sample, never less than that to the nearest point.
        time: Phase error in time units; positive ahead of the truth, negative behind.
        turns: The same in periods.
    """

    at: np.ndarray
    distance: np.ndarray
    time: np.ndarray
    turns: np.ndarray

    @property
    def square(self) -> float:
        """Mean square of the entries that are off the orbit, comparable to a mean squared error."""
        return float((self.distance**2).mean()) / 2


@lru_cache(maxsize=1)
def true_orbit() -> Orbit:
    """The true spiral for as long as a prediction at twice its speed needs."""
    from scipy.integrate import solve_ivp  # an extra, as elsewhere in the study

    times = np.arange(PACE * FINE * (SAMPLES - 1) + 1) * SPACING / FINE
    field = np.array(A)
    solved = solve_ivp(
        lambda t, x: field @ x**3,
        (0, times[-1]),
        START,
        method="DOP853",
        t_eval=times,
        rtol=1e-12,  # far below what a prediction can be off
        atol=1e-12,
    )
    return Orbit(solved.y.T)


def lay_along(path: np.ndarray, orbit: Orbit) -> Course:
    """Distance to the orbit and phase error of a path.

    Args:
        path: Samples ``(samples, 2)``; the first belongs to the orbit's start.
        orbit: At least twice as long as the path.

    Returns:
        The course along the orbit with the least sum of squared distances.

    Raises:
        ValueError: If the path is no curve in the plane, or the orbit too short for it.
    """
    reach = PACE * orbit.fine * (len(path) - 1) + 1
    is_curve = path.ndim == 2 and path.shape[1] == 2 and path.size > 0 and np.isfinite(path).all()
    if not is_curve or len(orbit.points) < reach:
        raise ValueError(
            f"expected finite samples (n, 2) and an orbit of at least {reach} points, got "
            f"{path.shape} and {len(orbit.points)}; leave failed runs out, or try a longer orbit"
        )
    at = _cheapest(np.asarray(path, dtype=float), orbit.points[:reach], orbit.fine)
    even = orbit.fine * np.arange(len(path))
    turns = orbit.turns()
    return Course(
        at,
        np.linalg.norm(path - orbit.points[at], axis=-1),
        (at - even) * orbit.spacing / orbit.fine,
        turns[at] - turns[even],
    )


def _cheapest(path: np.ndarray, points: np.ndarray, fine: int) -> np.ndarray:
    """Dynamic programming: the least cost of reaching each point with each sample, then back."""
    slow, fast = fine // PACE, fine * PACE
    costs = [np.where(np.arange(len(points)) == 0, ((path[0] - points[0]) ** 2).sum(), np.inf)]
    for x in path[1:]:
        away = (points[:, 0] - x[0]) ** 2 + (points[:, 1] - x[1]) ** 2
        before = np.concatenate([np.full(fast, np.inf), costs[-1]])
        costs.append(away + _least(before, fast - slow + 1)[: len(points)])
    at = [int(costs[-1].argmin())]
    for cost in costs[-2::-1]:
        first = max(at[-1] - fast, 0)
        at.append(first + int(cost[first : at[-1] - slow + 1].argmin()))
    return np.array(at[::-1])


def _least(values: np.ndarray, width: int) -> np.ndarray:
    """Minimum of each `width` neighbouring values."""
    span = 1
    while span < width:
        step = min(span, width - span)
        values = np.minimum(values[step:], values[:-step])
        span += step
    return values
