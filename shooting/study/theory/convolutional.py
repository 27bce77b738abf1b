"""Convolutional shooting: particles are images, the control is a kernel.

f(x) = w * sigma(x) + b with C channels, odd k x k kernels and periodic edges, and the penalty
R = (m/2) |w|^2 + (m_b/2) |b|^2. States and costates have shape ``(K, C, height, width)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from shooting.activations import Activation, activation
from shooting.hamiltonian import System
from shooting.solvers import TABLEAUS, make_grid, runge_kutta


@dataclass(frozen=True)
class ConvField:
    """A convolutional vector field that is linear in its kernel.

    Attributes:
        channels: Number C of channels.
        kernel: Odd side length k of the kernel.
        sigma: Name of the activation.
        weight: Penalty weight m of the kernel.
        bias_weight: Penalty weight m_b of the bias.
    """

    channels: int
    kernel: int = 3
    sigma: str = "tanh"
    weight: float = 1.0
    bias_weight: float = 1.0

    @property
    def activation(self) -> Activation:
        """The activation with its derivative."""
        return activation(self.sigma)

    def wrapped(self, x: Tensor) -> Tensor:
        """x continued periodically by half a kernel on each side."""
        edge = self.kernel // 2
        return functional.pad(x, (edge, edge, edge, edge), mode="circular")

    def theta(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """w = (1/m) sum_j corr(p_j, sigma(q_j)), ``(C, C, k, k)``; b = (1/m_b) sum_ju p_j(u)."""
        features = self.wrapped(self.activation.value(q))
        c, k = self.channels, self.kernel
        w = conv2d_weight(features, (c, c, k, k), p)
        return w / self.weight, p.sum((0, 2, 3)) / self.bias_weight

    def velocity(self, x: Tensor, theta: tuple[Tensor, Tensor]) -> Tensor:
        """w * sigma(x) + b, shape of x: images of any size."""
        w, b = theta
        return functional.conv2d(self.wrapped(self.activation.value(x)), w, b)

    def pull_back(self, x: Tensor, p: Tensor, theta: tuple[Tensor, Tensor]) -> Tensor:
        """(d_x f)^T p = sigma'(x) . (w^T * p): kernels flipped and channels swapped."""
        flipped = theta[0].transpose(0, 1).flip((2, 3))
        return self.activation.slope(x) * functional.conv2d(self.wrapped(p), flipped)

    def penalty(self, theta: tuple[Tensor, Tensor]) -> Tensor:
        """R(w, b)."""
        w, b = theta
        return 0.5 * (self.weight * (w**2).sum() + self.bias_weight * (b**2).sum())

    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        """H(q, p) = sum_j <p_j, f(q_j)> - R at the maximising kernel."""
        theta = self.theta(q, p)
        return (p * self.velocity(q, theta)).sum() - self.penalty(theta)


def conv_system(field: ConvField) -> System:
    """The shooting system (3.4): q' = w * sigma(q) + b, p' = -sigma'(q) . (w^T * p)."""

    def system(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        theta = field.theta(q, p)
        return field.velocity(q, theta), -field.pull_back(q, p, theta)

    return system


def conv_shoot(
    field: ConvField, q: Tensor, p: Tensor, x: Tensor, *, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Shoot image particles over [0, 1] with data images, of their own size, riding along.

    Args:
        field: The convolutional field.
        q: Particle images at t = 0, ``(K, C, h, w)``.
        p: Their costates.
        x: Data images ``(n, C, H, W)``; n may be 0.
        steps: Number of steps of the classical Runge-Kutta method.

    Returns:
        Particles, costates and data at t = 1.
    """

    def rhs(t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        theta = field.theta(state[0], state[1])
        back = field.pull_back(state[0], state[1], theta)
        return field.velocity(state[0], theta), -back, field.velocity(state[2], theta)

    grid = make_grid([0.0, 1.0], step=1 / steps)
    q, p, x = runge_kutta(rhs, (q, p, x), grid, TABLEAUS["classical"])[-1]
    return q, p, x


def tile(q: Tensor, p: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Periodic particles on a grid `times` as long and wide, with the same kernel: p / times^2."""
    return q.repeat(1, 1, times, times), p.repeat(1, 1, times, times) / times**2
