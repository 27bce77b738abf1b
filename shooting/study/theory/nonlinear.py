"""Fields that are nonlinear in their parameters: the shallow hidden layer (3.7) under shooting.

The control is theta = argmax_theta H(q, p, theta), H = sum_j p_j . f(q_j, theta) - R(theta). All
entries of theta are packed into one vector ``(*runs, size)`` in the order a, w, c, b.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from shooting.activations import activation
from shooting.hamiltonian import HamiltonianFn
from shooting.solvers import TABLEAUS, make_grid, rk_step

Penalty = Callable[["Shallow", Tensor], Tensor]
Solve = Callable[[Tensor, Tensor, Tensor], Tensor]


class Layer(NamedTuple):
    """theta1 = a^T ``(m, d)``, theta2 = w ``(m, d)``, b2 = c ``(m,)``, b1 = b ``(d,)`` of (3.7)."""

    a: Tensor
    w: Tensor
    c: Tensor
    b: Tensor


@dataclass(frozen=True)
class Shallow:
    """f(x) = theta1 sigma(theta2 x + b2) + b1, Eq. (3.7).

    Attributes:
        dim: Dimension d.
        neurons: Number m of hidden neurons.
        sigma: Activation.
        bias: Whether b1 is there.
    """

    dim: int
    neurons: int
    sigma: str = "relu"
    bias: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of entries of a, w, c, b."""
        m, d = self.neurons, self.dim
        return m * d, m * d, m, d if self.bias else 0

    @property
    def size(self) -> int:
        """Length of theta."""
        return sum(self.sizes)

    def split(self, theta: Tensor) -> Layer:
        """Cut theta into its four parts."""
        a, w, c, b = theta.split(self.sizes, dim=-1)
        shape = (self.neurons, self.dim)
        return Layer(a.unflatten(-1, shape), w.unflatten(-1, shape), c, b)

    def join(self, layer: Layer) -> Tensor:
        """Inverse of `split` for a single theta."""
        return torch.cat([part.flatten() for part in layer])

    def velocity(self, x: Tensor, theta: Tensor) -> Tensor:
        """f(x, theta) for rows x ``(*runs, n, d)``."""
        a, w, c, b = self.split(theta)
        hidden = activation(self.sigma).value(x @ w.transpose(-1, -2) + c.unsqueeze(-2))
        out = hidden @ a
        return out + b.unsqueeze(-2) if self.bias else out


# --- penalties -------------------------------------------------------------------------------


def quadratic(net: Shallow, theta: Tensor) -> Tensor:
    """R = |theta|^2 / 2 over all entries."""
    return 0.5 * (theta**2).sum(-1)


def barron(net: Shallow, theta: Tensor) -> Tensor:
    """R = |shl|_B^2 / 2 with |shl|_B^2 = m sum_j |a_j|^2 (|w_j|_1 + |c_j|)^2; b1 is free of charge.

    For f = sum_j a_j sigma(w_j x + c_j) the prefactor is m. Appendices A.2 and A.6 print 1/m,
    which belongs to f = (1/m) sum_j a_j sigma(w_j x + c_j).
    """
    return 0.5 * net.neurons * _path_norms(net, theta)


def barron_as_printed(net: Shallow, theta: Tensor) -> Tensor:
    """The same with the printed prefactor 1/m."""
    return 0.5 / net.neurons * _path_norms(net, theta)


def path_euclidean(net: Shallow, theta: Tensor) -> Tensor:
    """R = (m/2) sum_j |a_j|^2 |(w_j, c_j)|_2^2: `barron` with the 2-norm, hence differentiable."""
    a, w, c, _ = net.split(theta)
    inner = (w**2).sum(-1) + c**2
    return 0.5 * net.neurons * ((a**2).sum(-1) * inner).sum(-1)


def _path_norms(net: Shallow, theta: Tensor) -> Tensor:
    a, w, c, _ = net.split(theta)
    return ((a**2).sum(-1) * (w.abs().sum(-1) + c.abs()) ** 2).sum(-1)


def duplicate(net: Shallow, theta: Tensor) -> tuple[Shallow, Tensor]:
    """Every neuron twice, with half the outer weight: another network, the same function."""
    a, w, c, b = net.split(theta)
    twice = Shallow(net.dim, 2 * net.neurons, net.sigma, net.bias)
    parts = Layer(torch.cat([a, a]) / 2, torch.cat([w, w]), torch.cat([c, c]), b)
    return twice, twice.join(parts)


# --- Hamiltonian and argmax ------------------------------------------------------------------


def control_hamiltonian(
    net: Shallow, penalty: Penalty, q: Tensor, p: Tensor, theta: Tensor
) -> Tensor:
    """H(q, p, theta) = sum_j p_j . f(q_j, theta) - R(theta), shape ``(*runs)``."""
    return (p * net.velocity(q, theta)).sum((-1, -2)) - penalty(net, theta)


def homogeneity_law(a: float, b: float, penalty: Tensor | float) -> Tensor | float:
    """H = (b/a - 1) R where f is a-homogeneous and R b-homogeneous in theta."""
    return (b / a - 1) * penalty


def stationarity(net: Shallow, penalty: Penalty, q: Tensor, p: Tensor, theta: Tensor) -> Tensor:
    """dH/dtheta, which the third equation of (3.8) asks to vanish."""
    theta = theta.detach().requires_grad_()
    (slope,) = torch.autograd.grad(control_hamiltonian(net, penalty, q, p, theta).sum(), theta)
    return slope


def ascend(
    net: Shallow,
    penalty: Penalty,
    q: Tensor,
    p: Tensor,
    theta: Tensor,
    *,
    rate: float = 0.1,
    iterations: int = 3000,
) -> Tensor:
    """Maximise H(q, p, .) by plain gradient steps, all runs ``(*runs, size)`` at once."""
    for _ in range(iterations):
        theta = theta + rate * stationarity(net, penalty, q, p, theta)
    return theta


def newton_argmax(net: Shallow, penalty: Penalty, *, steps: int = 20, tol: float = 1e-13) -> Solve:
    """A rule (q, p, theta) -> stationary theta by Newton's method from the given theta.

    Args:
        net: The layer.
        penalty: R, twice differentiable near the solution.
        steps: Largest number of Newton steps.
        tol: Stop once the largest entry of dH/dtheta is below this.

    Returns:
        The rule; it follows one branch, and fails where the Hessian becomes singular.
    """

    def solve(q: Tensor, p: Tensor, theta: Tensor) -> Tensor:
        q, p = q.detach(), p.detach()
        for _ in range(steps):
            theta = theta.detach().requires_grad_()
            value = control_hamiltonian(net, penalty, q, p, theta)
            (slope,) = torch.autograd.grad(value, theta, create_graph=True)
            if float(slope.detach().abs().max()) < tol:
                break
            rows = [torch.autograd.grad(s, theta, retain_graph=True)[0] for s in slope]
            theta = theta.detach() - torch.linalg.solve(torch.stack(rows), slope.detach())
        return theta.detach()

    return solve


def unrolled_argmax(
    net: Shallow,
    penalty: Penalty,
    *,
    iterations: int,
    rate: float,
    cold: Tensor | None = None,
    through: bool = False,
) -> Solve:
    """A rule (q, p, theta) -> theta by a fixed number of gradient steps (Appendix A.6).

    Args:
        net: The layer.
        penalty: R.
        iterations: Number of gradient steps.
        rate: Their length.
        cold: Where every call starts; None starts from the given theta (warm).
        through: Whether the result remains differentiable in q and p.

    Returns:
        The rule.
    """

    def solve(q: Tensor, p: Tensor, theta: Tensor) -> Tensor:
        theta = (theta if cold is None else cold).detach().requires_grad_()
        with torch.enable_grad():
            for _ in range(iterations):
                value = control_hamiltonian(net, penalty, q, p, theta)
                (slope,) = torch.autograd.grad(value, theta, create_graph=through)
                theta = theta + rate * slope
                theta = theta if through else theta.detach().requires_grad_()
        return theta if through else theta.detach()

    return solve


def unrolled_energy(net: Shallow, penalty: Penalty, solve: Solve, theta: Tensor) -> HamiltonianFn:
    """H_k(q, p) = H(q, p, theta_k(q, p)) for a rule that is differentiable through.

    Shooting with the canonical equations of H_k itself conserves H_k, however crude theta_k is.
    """

    def energy(q: Tensor, p: Tensor) -> Tensor:
        return control_hamiltonian(net, penalty, q, p, solve(q, p, theta))

    return energy


class Course(NamedTuple):
    """A trajectory sampled at its steps: H, R ``(steps + 1,)`` and theta ``(steps + 1, size)``."""

    energy: Tensor
    penalty: Tensor
    theta: Tensor
    q: Tensor
    p: Tensor


def optimal_flow(
    net: Shallow,
    penalty: Penalty,
    q: Tensor,
    p: Tensor,
    theta: Tensor,
    solve: Solve,
    *,
    steps: int,
    horizon: float = 1.0,
) -> Course:
    """Shooting (3.8) with corrected signs: q' = f, p' = -(d_q f)^T p, theta from `solve`.

    By the envelope theorem the derivative of max_theta H in q and p needs no derivative of theta.

    Args:
        net: The layer.
        penalty: R.
        q: Particle states at t = 0, ``(K, d)``.
        p: Particle costates at t = 0, ``(K, d)``.
        theta: First guess of the control.
        solve: Rule (q, p, last theta) -> theta.
        steps: Number of steps of the classical Runge-Kutta method.
        horizon: Final time.

    Returns:
        The trajectory.
    """
    last = [theta]

    def rhs(t: float, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        last[0] = solve(y[0], y[1], last[0])
        where = y[0].detach().requires_grad_()
        velocity = net.velocity(where, last[0])
        (back,) = torch.autograd.grad((y[1] * velocity).sum(), where)
        return velocity.detach(), -back

    grid = make_grid([0.0, horizon], step=horizon / steps)
    state: tuple[Tensor, ...] = (q, p)
    rows = []
    for k in range(steps + 1):
        now = solve(state[0], state[1], last[0])
        energy = control_hamiltonian(net, penalty, state[0], state[1], now)
        rows.append((energy, penalty(net, now), now, *state))
        if k < steps:
            state = rk_step(rhs, 0.0, grid.lengths()[k], state, TABLEAUS["classical"])
    return Course(*(torch.stack([r.detach() for r in part]) for part in zip(*rows, strict=True)))


# --- the ill-posed argmax: ReLU with quadratic penalty, d = 1 --------------------------------


def gain(q: Tensor, p: Tensor, angle: Tensor) -> Tensor:
    """g(u) = |sum_j p_j relu(w q_j + c)| for unit directions u = (w, c) = (cos, sin), d = 1.

    Args:
        q: Particle states ``(K, 1)``.
        p: Particle costates ``(K, 1)``.
        angle: Angles, any shape.

    Returns:
        g, shape of angle.
    """
    active = torch.relu(angle.cos()[..., None] * q[:, 0] + angle.sin()[..., None])
    return (active * p[:, 0]).sum(-1).abs()


def threshold(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """tau(q, p) = max_u g(u), exactly, and the angle where it is attained (d = 1).

    Between two kinks g is |A cos + B sin|, so that the maximum lies at a kink or along +-(A, B).
    """
    kinks = torch.atan2(-q[:, 0], torch.ones_like(q[:, 0]))
    edges = torch.cat([kinks, kinks + math.pi]).remainder(2 * math.pi).sort().values
    after = torch.cat([edges[1:], edges[:1] + 2 * math.pi])
    middle = (edges + after) / 2
    active = (middle.cos()[:, None] * q[:, 0] + middle.sin()[:, None] > 0).to(p)
    peak = torch.atan2((active * p[:, 0]).sum(-1), (active * p[:, 0] * q[:, 0]).sum(-1))
    candidates = torch.cat([edges, peak, peak + math.pi])
    values = gain(q, p, candidates)
    return values.max(), candidates[values.argmax()]


def stationary_ray(net: Shallow, q: Tensor, p: Tensor, *, length: float) -> Tensor:
    """Stationary theta, |a_1| = |(w_1, c_1)| = length, of quadratic R at tau(q, p) = 1, d = 1."""
    _, angle = threshold(q, p)
    sign = (torch.relu(angle.cos() * q[:, 0] + angle.sin()) * p[:, 0]).sum().sign()
    a, w, c, b = net.split(torch.zeros(net.size).to(q))
    a[0, 0], w[0, 0], c[0] = length * sign, length * angle.cos(), length * angle.sin()
    return net.join(Layer(a, w, c, p.sum(0) if net.bias else b))


def gradient_descent(
    net: Shallow,
    penalty: Penalty,
    q: Tensor,
    p: Tensor,
    theta: Tensor,
    *,
    rate: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Minimise R - p.f by plain gradient descent.

    Returns:
        The norm of the hidden part (a, w, c) and the value of R - p.f at every iteration.
    """
    hidden = net.size - net.sizes[-1]
    norms, values = [], []
    for _ in range(iterations):
        theta = theta.detach().requires_grad_()
        value = -control_hamiltonian(net, penalty, q, p, theta)
        (slope,) = torch.autograd.grad(value, theta)
        norms.append(theta[:hidden].detach().norm())
        values.append(value.detach())
        theta = theta - rate * slope
    return torch.stack(norms), torch.stack(values)
