"""Fields that break Proposition 7 or Theorem 1 as printed: why each hypothesis is needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shooting import UpDown
from shooting.activations import Activation, activation
from shooting.study.universality.embeddings import Embedding, Lift
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, control
from shooting.study.universality.targets import Target

SQUARE = Activation("square", torch.square, lambda v: 2 * v, lambda v: 2 * torch.ones_like(v))


def tight_ball_network(eps: float = 0.01, steepness: float = 10.0) -> ShallowNet:
    """eps + M relu(x - 1): eps-close to 0 on [-1, 1], wild one step outside.

    The point x = 1 drifts out at once and ends at 1 + eps (e^M - 1)/M. Proposition 7 as printed
    asks for closeness only on a ball that holds the *true* flow, and would claim an error of eps.
    """
    one = torch.ones(1, 1, dtype=torch.float64)
    return ShallowNet(steepness * one, one, -one[0], eps * one[0], activation("relu"))


def tight_ball_exit(eps: float = 0.01, steepness: float = 10.0) -> float:
    """Where x(0) = 1 really ends, minus 1."""
    return eps * math.expm1(steepness) / steepness


def quartic_flow(*, wait: bool = True) -> Embedding:
    """UpDown with sigma(v) = v^2 and d = alpha = 1 in three pieces: x(1) = x + x^2 + x^4, exactly.

    From v = x(0): x gains v^2; then v falls by x to -x(0)^2; then x gains v^2 again. Networks with
    this sigma are of degree two, so that what they cannot reach, a flow may.

    Args:
        wait: Whether v moves in the second piece; without it the map is of degree two, a control.
    """
    field, one = UpDown(1, 1, sigma=SQUARE), torch.ones(1, 1, dtype=torch.float64)
    push = Piece(1 / 3, control(field, theta1=3 * one))
    fall = Piece(1 / 3, control(field, theta2=-3 * one if wait else 0 * one))
    return Embedding(field, Lift(one, 0 * one[0]), (push, fall, push))


def branching_field() -> Target:
    """tau tanh(4 x / tau^2), tau = |t - 1/2|: continuous, Lipschitz at each t, several flows.

    Its Lipschitz constant at time t is 4/tau, so there is none that serves all t.
    """

    def field(t: float, x: Tensor) -> Tensor:
        tau = abs(t - 0.5)
        return tau * torch.tanh(4 * x / tau**2) if tau > 0 else 0 * x

    return Target(field, 1, 1.0, "branching field")


def branching_rate() -> float:
    """The positive kappa with tanh(4 kappa) = 2 kappa: x = kappa (t - 1/2)^2 leaves 0."""
    kappa = 0.5
    for _ in range(60):  # a contraction near its fixed point
        kappa = math.tanh(4 * kappa) / 2
    return kappa


def branches(t: float) -> Tensor:
    """Three solutions of the branching field through x(1/2) = 0, at a time t >= 1/2, ``(3, 1)``."""
    signs = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    return signs * branching_rate() * (t - 0.5) ** 2


def square_root_field() -> Target:
    """w = sqrt|x|: continuous, not Lipschitz at 0, where the flow branches."""
    return Target(lambda t, x: x.abs().sqrt(), 1, 1.0, "square root")


def wrong_shape() -> Target:
    """A field that forgets one coordinate."""
    return Target(lambda t, x: x[:, :1], 2, 1.0, "one coordinate short")


def pole() -> Target:
    """A field that is infinite at the origin: x / |x|^2."""
    return Target(lambda t, x: x / (x**2).sum(1, keepdim=True), 2, 1.0, "pole")
