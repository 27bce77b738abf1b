"""Bounds from above: a grid maximum, plus what can hide between the nodes of the grid.

For a function e on a ball with |D^2 e| <= C and a grid whose points are nowhere further than rho,
Taylor's formula at the nearest node g gives |e(x)| <= |e(g)| + rho |De(g)| + rho^2 C / 2. The
maximum of the right-hand side over the nodes bounds e everywhere; the maximum of |e(g)| does not.
Where e is only Lipschitz, |e(x)| <= |e(g)| + rho Lip(e) takes its place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from shooting.study.universality.targets import Smoothness, Target

MAX_NODES = 2_000_000
LARGEST = math.log(sys.float_info.max)  # e to a larger power is no number


@dataclass(frozen=True)
class Bound:
    """A supremum, from below and from above.

    Attributes:
        sampled: Largest value met on the grid: a bound from below.
        upper: Bound from above.
    """

    sampled: float
    upper: float


def ball_cover(dim: int, radius: float, rho: float) -> Tensor:
    """Points such that every point of B(0, radius) is within rho of one, ``(m, d)``.

    Raises:
        ValueError: If that would take more than two million points.
    """
    spacing = 2 * rho / math.sqrt(dim)
    half = math.ceil(radius / spacing)
    if (2 * half + 1) ** dim > MAX_NODES:
        raise ValueError(
            f"expected a cover by at most {MAX_NODES} points, got about {2 * half + 1}^{dim}; "
            "raise rho, shrink the ball, or use a field in fewer dimensions"
        )
    axis = spacing * torch.arange(-half, half + 1, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * dim).view(-1, dim)
    return points[torch.linalg.vector_norm(points, dim=1) <= radius + rho]


def into_ball(points: Tensor, radius: float) -> Tensor:
    """Points of a cover that lie outside the ball, moved to its surface.

    The nearest point of a convex set is no further from any point of the set: the cover remains
    one, its grid maxima are values inside the ball, and so are Taylor's segments between nodes
    and points, on which the smoothness constants are taken.
    """
    norm = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    return points * (radius / norm.clamp(min=radius))


def sphere_cover(dim: int, radius: float, rho: float) -> Tensor:
    """Points of the sphere such that every point of it is within rho of one."""
    if dim == 1:
        return torch.tensor([[-radius], [radius]], dtype=torch.float64)
    if dim == 2:
        angle = torch.linspace(0, 2 * math.pi, math.ceil(math.pi * radius / rho) + 1)[:-1].double()
        return radius * torch.stack([angle.cos(), angle.sin()], 1)
    points = ball_cover(dim, radius, rho / 2)
    norm = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    near = points[(norm.squeeze(1) - radius).abs() <= rho / 2]
    return radius * near / torch.linalg.vector_norm(near, dim=1, keepdim=True)


def spectral_norm(jacobian: Tensor) -> Tensor:
    """The operator norms of matrices ``(n, d, d)``, in closed form for d <= 2."""
    if jacobian.shape[-1] == 1:
        return jacobian.abs()[:, 0, 0]
    if jacobian.shape[-1] > 2:
        return torch.linalg.matrix_norm(jacobian, 2)
    a, b, c, d = jacobian.flatten(1).unbind(1)
    return (torch.hypot(a + d, b - c) + torch.hypot(a - d, b + c)) / 2


def midpoints(start: float, end: float, count: int) -> tuple[list[float], float]:
    """Equispaced times of which every time of [start, end] is within the returned distance."""
    gap = (end - start) / (2 * count)
    return [start + gap * (2 * k + 1) for k in range(count)], gap


def lipschitz_bound(
    target: Target, radius: float, known: Smoothness, *, rho: float = 0.05, times: int = 32
) -> Bound:
    """L, the Lipschitz constant of w in x on B(0, radius), for all t in [0, 1].

    It is the supremum of |D_x w|. From above it is what is known, or what the slopes at the nodes
    and the second derivatives give, whichever is less. An estimate is raised to the slopes met.

    Raises:
        ValueError: If a slope is larger than the Lipschitz constant that was derived.
    """
    nodes = into_ball(ball_cover(target.dim, radius, rho), radius)
    ts, gap = midpoints(0, 1, times)
    sampled = max(float(spectral_norm(target.jacobian(t, nodes)).max()) for t in ts)
    constant = known.lipschitz if known.certified else max(known.lipschitz, 1.1 * sampled)
    if sampled > (1 + 1e-9) * constant:
        raise ValueError(
            f"expected slopes of {target.name!r} up to its Lipschitz constant {constant:.4g}, got "
            f"{sampled:.4g}; derive the constant anew for |x| <= {radius:.4g}"
        )
    upper = min(constant, sampled + rho * known.curvature + gap * known.mixed)
    return Bound(sampled, upper)


def reach(
    target: Target, lipschitz: float, known: Smoothness, *, rho: float | None = None
) -> Bound:
    """The radius of the smallest ball around 0 that holds phi(t, C) for all t in [0, 1].

    The flow maps the boundary of C to the boundary of phi(t, C), so the sphere is enough; two of
    its points at distance rho are at distance at most exp(L) rho later. Between two of 65 times
    the speed s of a node grows at most like s' = L s + rate. True as long as all of this happens
    inside the ball on which `lipschitz` and `known` hold; that the result is smaller than that
    ball (`surround` makes it so) excludes that a point leaves it. Runge-Kutta's error, below 1e-8
    for the smooth fields built in and 1e-5 for the folded one, is not in the bound.
    """
    if rho is None:
        rho = 0.005 * target.radius if target.dim < 3 else 0.05 * target.radius
    start, tau = sphere_cover(target.dim, target.radius, rho), 1 / 64
    path = target.flow(start, times=65)
    size = torch.linalg.vector_norm(path, dim=-1)
    speed = max(
        float(torch.linalg.vector_norm(target(k * tau, x), dim=1).max()) for k, x in enumerate(path)
    )
    # the nearest of the 65 times is at most tau / 2 away, earlier or later
    half = lipschitz * tau / 2
    fastest = speed * _exp(half) + gronwall(known.rate * tau / 2, half)
    sampled = float(size.max())
    return Bound(sampled, sampled + _exp(lipschitz) * rho + fastest * tau / 2)


def gronwall(eps: float, lipschitz: float) -> float:
    """The sharp form eps (e^L - 1) / L of Eq. (D.2), attained by x' = L x + eps."""
    if eps == 0 or lipschitz <= 0:
        return eps
    growth = math.expm1(lipschitz) if lipschitz < LARGEST else math.inf
    return eps * growth / lipschitz


def _exp(x: float) -> float:
    """e^x, infinite where it is no number of double precision."""
    return math.exp(x) if x < LARGEST else math.inf


def estimate_smoothness(target: Target, radius: float, *, safety: float = 2.0) -> Smoothness:
    """Difference quotients of w and D_x w on a grid, doubled: an estimate, not a certificate.

    Of a field with kinks, `lipschitz` is estimated in place of the second derivatives, from the
    largest slope met, and raised by a tenth: it stands in an exponent.

    Raises:
        ValueError: If the field does not look Lipschitz, in x or uniformly in t.
    """
    steepest = check_lipschitz(target, radius)
    nodes = ball_cover(target.dim, radius, 0.1 * radius)
    h, times = 1e-4, midpoints(0, 1, 16)[0]
    steps = [(target(t + h, nodes) - target(t - h, nodes)) / (2 * h) for t in times]
    rate = safety * max(float(_norm(step).max()) for step in steps)
    if has_kinks(target, radius):
        slopes = (float(spectral_norm(target.jacobian(t, nodes)).max()) for t in times)
        return Smoothness(rate, certified=False, lipschitz=1.1 * max(steepest, *slopes))
    curvature, mixed = _second_derivatives(target, nodes, times, h)
    return Smoothness(rate, safety * curvature, safety * mixed, certified=False)


def _second_derivatives(
    target: Target, nodes: Tensor, times: list[float], h: float
) -> tuple[float, float]:
    """Largest difference quotients of D_x w over the nodes, in x and in t."""
    curvature, mixed = 0.0, 0.0
    for t in times:
        here = target.jacobian(t, nodes)
        turned = (target.jacobian(t + h, nodes) - here) / h
        mixed = max(mixed, float(torch.linalg.vector_norm(turned, dim=(1, 2)).max()))
        second = [
            (target.jacobian(t, nodes + h * e) - here) / h
            for e in torch.eye(target.dim, dtype=torch.float64)
        ]
        size = torch.linalg.vector_norm(torch.stack(second), dim=(0, 2, 3))
        curvature = max(curvature, float(size.max()))
    return curvature, mixed


def check_lipschitz(target: Target, radius: float, *, times: int = 9) -> float:
    """Refuse a field whose difference quotients grow without end under magnification.

    Quotients are magnified where they are large, and from both sides where the slope is singular:
    next to a cusp those across it cancel.

    Returns:
        The largest difference quotient met.

    Raises:
        ValueError: With the place, and the quotients met there.
    """
    nodes, steepest = ball_cover(target.dim, radius, 0.1 * radius), 0.0
    for k in range(times):
        t = k / (times - 1)
        for axis in range(target.dim):
            found = _magnify(partial(target, t), nodes, axis, 0.2 * radius)
            singular = _magnify(partial(_slopes, target, t), nodes, axis, 0.2 * radius).where
            cusps = _one_sided(partial(target, t), singular, axis, 0.2 * radius)
            for seen in (found, cusps):
                if len(seen.where):
                    raise ValueError(_steeper(target, t, seen))
            steepest = max(steepest, found.largest, cusps.largest)
    _uniform_in_time(target, nodes)
    return steepest


def has_kinks(target: Target, radius: float, *, times: int = 3) -> bool:
    """Whether difference quotients of D_x w grow without end under magnification somewhere."""
    nodes = ball_cover(target.dim, radius, 0.1 * radius)
    return any(
        len(_magnify(partial(_slopes, target, t), nodes, axis, 0.2 * radius).where)
        for t in midpoints(0, 1, times)[0]
        for axis in range(target.dim)
    )


def _slopes(target: Target, t: float, x: Tensor) -> Tensor:
    """D_x w at each row, flattened."""
    return target.jacobian(t, x).flatten(1)


class _Magnified(NamedTuple):
    """Difference quotients on ever smaller segments, and `where` they grow without end ``(m, d)``.

    `early` and `late` are quotients at the worst of these places.
    """

    largest: float
    where: Tensor
    early: float
    late: float


def _steeper(target: Target, t: float, found: _Magnified) -> str:
    at = [round(v, 3) for v in found.where[0].tolist()]
    return (
        f"expected a Lipschitz field, got {target.name!r} with difference quotients "
        f"growing from {found.early:.3g} to {found.late:.3g} under magnification near "
        f"x = {at}, t = {t:g}; smooth it there, since its flow need not be unique"
    )


def _magnify(
    function: Callable[[Tensor], Tensor], nodes: Tensor, axis: int, length: float
) -> _Magnified:
    """Bisect segments, each time keeping the half with the larger difference quotient."""
    a, b = nodes.clone(), nodes.clone()
    b[:, axis] += length * (1 + 1 / math.pi)  # irrational: bisection must not stop at a node
    wa, wb, found = function(a), function(b), []
    for depth in range(31):
        if depth % 10 == 0:
            found.append(_norm(wb - wa) / _norm(b - a))
        middle = (a + b) / 2
        w = function(middle)
        left = (_norm(w - wa) > _norm(wb - w)).unsqueeze(1)
        a, b = torch.where(left, a, middle), torch.where(left, middle, b)
        wa, wb = torch.where(left, wa, w), torch.where(left, w, wb)
    return _growing(found, a)


def _one_sided(
    function: Callable[[Tensor], Tensor], places: Tensor, axis: int, length: float
) -> _Magnified:
    """Difference quotients from each place to either side, the larger of the two."""
    if not len(places):
        return _Magnified(0.0, places, 0.0, 0.0)
    step, found = torch.zeros_like(places[:1]), []
    for depth in (2, 10, 18, 26):  # the places are known to 2^-31 of the length
        step[:, axis] = length / 2**depth
        sides = (function(places + s * step) - function(places) for s in (-1, 1))
        found.append(torch.stack([_norm(w) for w in sides]).amax(0) / float(step.sum()))
    return _growing(found, places)


def _growing(found: list[Tensor], places: Tensor) -> _Magnified:
    """Where the last three of four quotients at each place grow, the worst place first."""
    early, mid, late = (torch.stack(found[1:]) + 1e-9).unbind()
    bad = (late > 1.2 * mid) & (mid > 1.2 * early) & (late > 1.0)
    order = torch.where(bad, late, torch.zeros_like(late)).argsort(descending=True)
    worst = int(order[0])
    where = places[order[: int(bad.sum())]]
    return _Magnified(
        float(torch.stack(found).max()), where, float(early[worst]), float(late[worst])
    )


def _uniform_in_time(target: Target, nodes: Tensor) -> None:
    """Zoom into the time where |D_x w| is largest; a uniform bound must settle."""

    def steepest(t: float) -> float:
        return float(spectral_norm(target.jacobian(t, nodes)).max())

    low, high, found = 0.0, 1.0, []
    for _ in range(8):
        ts = [low + (high - low) * (k + 0.5) / 16 for k in range(16)]
        slopes = [steepest(t) for t in ts]
        k = max(range(16), key=slopes.__getitem__)
        found.append((slopes[k], ts[k]))
        width = (high - low) / 8
        low, high = max(0.0, ts[k] - width), min(1.0, ts[k] + width)
    early, mid, (late, t) = found[3][0], found[5][0], found[7]
    if late > 1.5 * mid and mid > 1.5 * early:
        raise ValueError(
            f"expected one Lipschitz constant for all t, got {target.name!r} with |D_x w| growing "
            f"from {early:.3g} to {late:.3g} as t approaches {t:.4g}; bound it uniformly, since "
            "a field that is Lipschitz at each time alone can have several flows"
        )


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1)
