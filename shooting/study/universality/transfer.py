"""Universality of shooting itself: the step from UpDown flows to particles that the paper omits.

Let theta0 have energy R0 and let y_i = phi_theta0(x_i) on a delta-net x_1..x_n of C. A critical
point theta* of Eq. (3.2) with n data points is a shooting solution with K = n particles placed on
them. If its objective is at most E_n(theta0) = R0 (a minimiser's is), then Reg* <= R0 and
|x_i(1) - y_i| <= sqrt(2 R0 / lambda). Flows of energy R are exp(sqrt(2 R))-Lipschitz, so
sup_C |phi* - phi_theta0| <= (e^sqrt(2 Reg*) (1 + |Theta12|^2)^(1/2) + Lip(phi_theta0)) delta
+ max_i |x_i(1) - y_i|, which tends to 0 as delta -> 0 and lambda -> infinity. Of a flow of
networks, Lip(phi_theta0) is at most e^L with their Lipschitz constant L.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from shooting import UpDown
from shooting.fields import Control
from shooting.flow import Solver, carry, shoot
from shooting.study.theory.direct import Problem
from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.embeddings import Lift, share
from shooting.study.universality.networks import ShallowNet

SOLVER = Solver("classical", step=1 / 40)
FIRST = 0.1  # weight from which the first stride is counted


@dataclass(frozen=True)
class Reference:
    """The flow to be shot at: an UpDown control, constant on equal blocks, with its lift.

    Attributes:
        updown: The field, all of whose weights are at least 1.
        lift: The lift, fixed.
        theta: The control.
        lipschitz: A Lipschitz constant of the flow phi_theta0 on C.
        radius: C = [-radius, radius] (one-dimensional data).
    """

    updown: UpDown
    lift: Lift = field(repr=False)
    theta: Control = field(repr=False)
    lipschitz: float
    radius: float = 1.5

    @property
    def energy(self) -> float:
        """R0, the energy of the control."""
        return float(self.updown.penalty(self.theta).mean())

    def flow(self, x: Tensor) -> Tensor:
        """phi_theta0(x), shape of x."""
        z = carry(self.updown, self.theta, self.lift(x), [0.0, 1.0], solver=SOLVER)
        return z[-1, :, : self.updown.dim]

    def net(self, n: int) -> tuple[Tensor, float]:
        """n points of C and the delta such that every point of C is within delta of one."""
        delta = self.radius / n
        x = delta * (2 * torch.arange(n, dtype=torch.float64) + 1) - self.radius
        return x.unsqueeze(1), delta


def reference(nets: list[ShallowNet], *, radius: float = 1.5, ball: float = 4.0) -> Reference:
    """The UpDown flow of one-dimensional networks with equal inner weights (Lemma 5).

    Args:
        nets: The network of each interval.
        radius: C = [-radius, radius].
        ball: Radius of a ball that the flow of C does not leave.

    Returns:
        The reference; its Lipschitz constant is e^L, L a bound of |shl'| on the ball.

    Raises:
        ValueError: If the flow leaves the ball.
    """
    nodes, rho = ball_cover(1, ball, 0.005), 0.005
    slope = max(float(n.jacobian(nodes).abs().max()) + rho * n.curvature() for n in nets)
    found = Reference(*share(nets), lipschitz=math.exp(slope), radius=radius)
    # flows of the line keep the order: all of C lies between its two ends
    ends = torch.tensor([[-radius], [radius]], dtype=torch.float64)
    z = carry(found.updown, found.theta, found.lift(ends), torch.linspace(0, 1, 41), solver=SOLVER)
    farthest = float(z[..., 0].abs().max())
    if farthest > 0.9 * ball:  # a tenth is left for what happens between the 41 times
        raise ValueError(
            f"expected a flow that stays within {ball:g}, got a point at {farthest:.3g}; "
            "enlarge the ball, on which the Lipschitz constant is taken"
        )
    return found


@dataclass(frozen=True)
class Shot:
    """A shooting solution with K = n particles on the data.

    Attributes:
        reference: What was shot at.
        problem: The problem with n data points.
        delta: Their covering radius of C.
        p: Initial costates p(0) of the particles ``(n, S)``.
        residual: Largest entry of p(1) + lambda (x(1) - y).
        steps: Newton steps over the whole continuation.
    """

    reference: Reference
    problem: Problem = field(repr=False)
    delta: float
    p: Tensor = field(repr=False)
    residual: float
    steps: int

    @property
    def energy(self) -> float:
        """Reg* = H(q(0), p(0)), conserved."""
        return float(self.problem.field.energy(self.problem.start, self.p))

    @property
    def objective(self) -> float:
        """E_n(theta*) = Reg* + lambda sum_i |x_i(1) - y_i|^2 / 2."""
        gap = self.flow(self.data) - self.problem.target
        return self.energy + self.problem.weight * float((gap**2).sum()) / 2

    @property
    def data(self) -> Tensor:
        """The data points x_i."""
        return self.problem.start[:, : self.reference.updown.dim]

    @property
    def data_error(self) -> float:
        """max_i |x_i(1) - y_i|."""
        return float((self.flow(self.data) - self.problem.target).abs().max())

    @property
    def data_bound(self) -> float:
        """sqrt(2 R0 / lambda)."""
        return math.sqrt(2 * self.reference.energy / self.problem.weight)

    def flow(self, x: Tensor) -> Tensor:
        """phi*(x): the data ride in the field of the n particles."""
        z = self.reference.lift(x)
        path = shoot(self.problem.field, self.problem.start, self.p, z, [0.0, 1.0], solver=SOLVER)
        return path.z[-1, :, : self.reference.updown.dim]

    def sup_error(self, points: int = 601) -> float:
        """Largest |phi* - phi_theta0| on a fine grid of C."""
        r = self.reference.radius
        x = torch.linspace(-r, r, points, dtype=torch.float64).unsqueeze(1)
        return float((self.flow(x) - self.reference.flow(x)).abs().max())

    @property
    def bound(self) -> float:
        """The bound of sup_C |phi* - phi_theta0| from Reg*, the data error and delta."""
        spread = math.hypot(1.0, float(torch.linalg.matrix_norm(self.reference.lift.weight, 2)))
        growth = lipschitz_from_energy(self.energy) * spread + self.reference.lipschitz
        return growth * self.delta + self.data_error


def lipschitz_from_energy(energy: float, horizon: float = 1.0) -> float:
    """exp(sqrt(2 T E)) for flows of energy E, if all weights of R are at least 1, |sigma'| <= 1.

    |D_z f| <= |(theta1, theta2, theta3)| <= sqrt(2 R), and Cauchy-Schwarz in time.
    """
    return math.exp(math.sqrt(2 * horizon * energy))


def shot(target: Reference, n: int, weight: float, *, factor: float = 10.0) -> Shot:
    """Solve p(1) + lambda (x(1) - y) = 0 with one particle on each of n data points.

    Follows the solution from lambda = 0, p = 0 (exact) and shortens the stride in log lambda
    whenever Newton's method fails.

    Args:
        target: The flow to be reproduced.
        n: Number of data points and particles.
        weight: The last weight lambda.
        factor: First ratio of successive weights.

    Returns:
        The solution at the last weight.

    Raises:
        ValueError: If the stride has shrunk below 1 %.
    """
    x, delta = target.net(n)
    problem = Problem(target.updown, target.lift(x), target.flow(x), weight=weight)
    p, now, stride, steps = torch.zeros_like(problem.start), 0.0, math.log(factor), 0
    while now < weight:
        if stride < 0.01:
            raise ValueError(
                f"expected Newton's method to reach weight {weight:g} with n = {n}, got stuck at "
                f"{now:.3g}; lower the weight, or ask for a flow of less energy"
            )
        ahead = min(weight, max(now, FIRST) * math.exp(stride))
        found, used = _newton(replace(problem, weight=ahead), p)
        steps += used
        if found is None:
            stride /= 2
        else:
            p, now, stride = found, ahead, min(1.5 * stride, math.log(factor))
    residual = float(_end_condition(problem, p).abs().max())
    return Shot(target, problem, delta, p, residual, steps)


def _end_condition(problem: Problem, p: Tensor) -> Tensor:
    """F(p(0)) = p(1) + lambda grad l(x(1)), for any number of runs, shape of p."""
    start = problem.start.expand_as(p)
    path = shoot(problem.field, start, p, start[..., :0, :], [0.0, 1.0], solver=SOLVER)
    return path.p[..., -1, :, :] + problem.weight * problem.loss_gradient(path.q[..., -1, :, :])


def _newton(problem: Problem, p: Tensor, *, limit: int = 12) -> tuple[Tensor | None, int]:
    """Newton's method with central differences, all columns in one ensemble solve."""
    tolerance, h = 1e-10 * max(1.0, problem.weight), 1e-5
    shifts = h * torch.eye(p.numel(), dtype=p.dtype).view(-1, *p.shape)
    for k in range(limit):
        value = _end_condition(problem, p)
        if not bool(torch.isfinite(value).all()):
            return None, k
        if float(value.abs().max()) < tolerance:
            return p, k
        ends = _end_condition(problem, torch.cat([p + shifts, p - shifts]))
        plus, minus = ends.flatten(1).chunk(2)
        slope = (plus - minus).T / (2 * h)
        if not bool(torch.isfinite(slope).all()):
            return None, k
        p = p - torch.linalg.solve(slope, value.flatten()).view_as(p)
    return None, limit
