"""Proposition 7 (hence Theorem 1) for any field: fit, bound, embed, integrate, compare."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shooting import UpDown
from shooting.fields import Control
from shooting.flow import Solver, carry
from shooting.randomness import generator
from shooting.study.universality.bounds import (
    Bound,
    ball_cover,
    check_lipschitz,
    estimate_smoothness,
    gronwall,
    into_ball,
    lipschitz_bound,
    midpoints,
    reach,
    spectral_norm,
)
from shooting.study.universality.embeddings import Lift, share, stack
from shooting.study.universality.networks import ShallowNet, fit_outer, random_features
from shooting.study.universality.targets import Smoothness, Target


@dataclass(frozen=True)
class Ball:
    """The set on which Proposition 7 works, and the field's constants there.

    Attributes:
        reach: Radius r of the ball that holds the true flow of C.
        radius: r' = r + margin: the ball on which networks are fitted and constants taken.
        lipschitz: L on B(0, r'), uniformly in t.
        known: Smoothness constants on B(0, r').
    """

    reach: Bound
    radius: float
    lipschitz: Bound
    known: Smoothness

    @property
    def margin(self) -> float:
        """r' - r: how far the approximating flow may stray."""
        return self.radius - self.reach.upper


@dataclass(frozen=True)
class Settings:
    """Settings of `approximate`.

    Attributes:
        intervals: Number k of intervals of time.
        neurons: Number N of neurons of each network.
        shared: One set of inner weights for all intervals (alpha d >= N) or one each (k N).
        sigma: Activation; a twice differentiable one has the sharper bounds.
        ridge: See `fit_outer`.
        slope: See `random_features`.
        rho: Covering radius of the grid on which the error is bounded.
        times: Times per interval at which the error is bounded.
        seed: Of the inner weights.
    """

    intervals: int = 8
    neurons: int = 40
    shared: bool = False
    sigma: str = "tanh"
    ridge: float = 1e-7
    slope: float = 1.0
    rho: float = 0.02
    times: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Approximation:
    """An UpDown flow close to the flow of a target, with its bound.

    Attributes:
        target: The target.
        ball: The ball B(0, r') and the constants on it.
        nets: The network of each interval.
        eps: sup over t and B(0, r') of |w - shl|, sampled and bounded.
        updown: The UpDown field of Lemma 6.
        lift: Its affine lift.
        theta: Its control, constant on equal blocks.
    """

    target: Target
    ball: Ball
    nets: list[ShallowNet] = field(repr=False)
    eps: Bound
    updown: UpDown
    lift: Lift = field(repr=False)
    theta: Control = field(repr=False)

    @property
    def bound(self) -> float:
        """eps (e^L - 1)/L, sharper than Eq. (D.2), from bounds of eps and L from above."""
        return gronwall(self.eps.upper, self.ball.lipschitz.upper)

    @property
    def certified(self) -> bool:
        """Whether the bound is a theorem: derived constants, and room for the flow to stray."""
        return self.ball.known.certified and self.bound < self.ball.margin

    @property
    def energy(self) -> float:
        """The energy of the UpDown control, integral of R over [0, 1]."""
        return float(self.updown.penalty(self.theta).mean())

    @property
    def least_energy(self) -> float:
        """The energy of the cheapest timing with the same map at time 1: length^2 / 2."""
        return float((2 * self.updown.penalty(self.theta)).sqrt().mean()) ** 2 / 2

    def flow(self, x: Tensor, *, times: int = 2, step: float = 1 / 64) -> Tensor:
        """The UpDown flow at equispaced times, ``(times, n, d)``."""
        solver = Solver(method="classical", step=step)
        ts = torch.linspace(0, 1, times, dtype=torch.float64)
        z = carry(self.updown, self.theta, self.lift(x), ts, solver=solver)
        return z[..., : self.target.dim]

    def error(self, x: Tensor, *, times: int = 2) -> Tensor:
        """Distance of the two flows at equispaced times, ``(times, n)``."""
        gap = self.flow(x, times=times) - self.target.flow(x, times=times)
        return torch.linalg.vector_norm(gap, dim=-1)


def surround(target: Target, *, margin: float = 1.0, tries: int = 6) -> Ball:
    """Find r' = r + margin. L depends on r' and the bound of r on L, so this iterates.

    Raises:
        ValueError: If the field is not Lipschitz, or its flow keeps leaving larger balls, as far
            as the bound on L can tell.
    """
    radius = target.radius + margin
    for _ in range(tries):
        if not radius < 100 * (target.radius + margin):
            break
        known = _smoothness(target, radius)
        lip = lipschitz_bound(target, radius, known)
        held = reach(target, lip.upper, known)
        if held.upper + margin <= radius + 1e-12:
            if known.certified:  # estimated constants have been checked already
                check_lipschitz(target, radius)
            return Ball(held, radius, lip, known)
        radius = held.upper + margin
    raise ValueError(
        f"expected a flow of {target.name!r} that stays in some ball, got radius {radius:.3g} "
        f"(and L up to {lip.upper:.3g}) after enlarging it again and again; lower the field's "
        "speed or its slope, or shrink C"
    )


def _smoothness(target: Target, radius: float) -> Smoothness:
    if target.smoothness is None:
        return estimate_smoothness(target, radius)
    return target.smoothness(radius)


def fit_intervals(target: Target, radius: float, settings: Settings) -> list[ShallowNet]:
    """One network for each interval, fitted to w at its midpoint on B(0, radius)."""
    x = ball_cover(target.dim, radius, radius / 24)
    ts, _ = midpoints(0, 1, settings.intervals)
    values = [target(t, x) for t in ts]

    def features(k: int) -> tuple[Tensor, Tensor]:
        g = generator(settings.seed, "features", k)
        return random_features(target.dim, settings.neurons, radius, g, slope=settings.slope)

    if settings.shared:
        return fit_outer(features(0), x, values, sigma=settings.sigma, ridge=settings.ridge)
    return [
        fit_outer(features(k), x, [w], sigma=settings.sigma, ridge=settings.ridge)[0]
        for k, w in enumerate(values)
    ]


@dataclass(frozen=True)
class Samples:
    """A field on a grid, each time evaluated once: for several tries at the same field.

    Attributes:
        nodes: A cover of the ball by points of the ball ``(m, d)``.
        rho: Its covering radius.
        at: t to w and D_x w at the nodes.
    """

    nodes: Tensor = field(repr=False)
    rho: float
    at: Callable[[float], tuple[Tensor, Tensor]] = field(repr=False)


def sample(target: Target, ball: Ball, *, rho: float = 0.02) -> Samples:
    """Prepare the grid on which `field_error` compares networks with a field."""
    nodes = into_ball(ball_cover(target.dim, ball.radius, rho), ball.radius)

    @functools.cache
    def at(t: float) -> tuple[Tensor, Tensor]:
        return target(t, nodes), target.jacobian(t, nodes)

    return Samples(nodes, rho, at)


def field_error(nets: Sequence[ShallowNet], ball: Ball, known: Samples, *, times: int = 8) -> Bound:
    """eps = sup over t and B(0, r') of |w(t, x) - shl_t(x)|, sampled and bounded from above.

    Args:
        nets: The network of each of the equal intervals.
        ball: B(0, r') and the constants of w on it.
        known: w on a cover of this ball, from `sample`.
        times: Times per interval.
    """
    k, rho, sampled, upper = len(nets), known.rho, 0.0, 0.0
    for i, net in enumerate(nets):
        ts, gap = midpoints(i / k, (i + 1) / k, times)
        value, slope = net(known.nodes), net.jacobian(known.nodes)
        between = _between(net, slope, ball, rho)
        for w, dw in map(known.at, ts):
            e = torch.linalg.vector_norm(w - value, dim=1)
            hidden = between(spectral_norm(dw - slope))
            sampled = max(sampled, float(e.max()))
            upper = max(upper, float((e + hidden).max()) + gap * ball.known.rate)
    return Bound(sampled, upper)


def _between(net: ShallowNet, slope: Tensor, ball: Ball, rho: float) -> Callable[[Tensor], Tensor]:
    """How much |w - shl| can grow between a node and a point at distance rho.

    At most rho (L_w + L_net). With second derivatives also rho |De| + rho^2 (C_w + C_net) / 2.

    Args:
        net: The network.
        slope: Its derivative at the nodes ``(m, d, d)``.
        ball: The constants of w.
        rho: Covering radius of the nodes.

    Returns:
        The bound as a function of |De| at the nodes ``(m,)``.
    """
    steepest, curvature = net.lipschitz(), math.inf
    if net.smooth:
        curvature = net.curvature()
        steepest = min(steepest, float(spectral_norm(slope).max()) + rho * curvature)
    first = rho * (ball.lipschitz.upper + steepest)
    second = rho**2 / 2 * (ball.known.curvature + curvature)
    return lambda de: (rho * de + second).clamp(max=first)


def approximate(
    target: Target,
    settings: Settings | None = None,
    *,
    ball: Ball | None = None,
    known: Samples | None = None,
) -> Approximation:
    """Proposition 7: an UpDown flow close to the flow of a field, with the bound of its error.

    Args:
        target: The field, yours or one of `targets.BUILT_IN`.
        settings: Numbers of intervals and neurons, and how to fit and bound.
        ball: From `surround`, to use it again.
        known: From `sample`, to use the values of w again; its rho replaces that of the settings.

    Returns:
        The approximation; `bound`, `error` and `certified` say what it is worth.
    """
    how, ball = settings or Settings(), ball or surround(target)
    nets = fit_intervals(target, ball.radius, how)
    eps = field_error(nets, ball, known or sample(target, ball, rho=how.rho), times=how.times)
    updown, lift, theta = (share if how.shared else stack)(nets)
    return Approximation(target, ball, nets, eps, updown, lift, theta)
