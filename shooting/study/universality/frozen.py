"""One-line universality: with v frozen, UpDown is the identity plus any shallow network.

theta2 = theta3 = 0 and b2 = 0 keep v = Theta12 x(0) + b12 for all depth, so that
x(1) = x(0) + A sigma(W x(0) + c) + b. Shallow networks are dense in C(compact, R^d) for every
continuous sigma that is no polynomial (Leshno et al.), and so are these maps, injective or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from shooting import UpDown
from shooting.randomness import generator
from shooting.study.universality.approximation import Ball, field_error, sample
from shooting.study.universality.bounds import Bound, ball_cover
from shooting.study.universality.embeddings import Embedding, Lift, inflation_for
from shooting.study.universality.networks import ShallowNet, fit_outer, random_features
from shooting.study.universality.pieces import Piece, control
from shooting.study.universality.targets import Smoothness, Target

Map = Callable[[Tensor], Tensor]


def complex_square(x: Tensor) -> Tensor:
    """z -> z^2 on points ``(n, 2)``: two-to-one away from 0, |D^2| = 2."""
    return torch.stack([x[:, 0] ** 2 - x[:, 1] ** 2, 2 * x[:, 0] * x[:, 1]], 1)


def freeze(net: ShallowNet) -> Embedding:
    """The UpDown flow with x(1) = x(0) + net(x(0)): v never moves."""
    field = UpDown(net.dim, inflation_for(net.neurons, net.dim), sigma=net.sigma)
    wide = net.padded(field.slots["v"])
    piece = Piece(1.0, control(field, theta1=wide.A, b1=wide.b))
    return Embedding(field, Lift(wide.W, wide.c), (piece,))


def fit_map(
    function: Map,
    dim: int,
    neurons: int,
    *,
    radius: float = 1.0,
    sigma: str = "tanh",
    ridge: float = 1e-11,
    slope: float = 1.0,
    seed: int = 0,
) -> ShallowNet:
    """A network close to g - id on B(0, radius), so that its frozen flow is close to g."""
    x = ball_cover(dim, 1.05 * radius, radius / (200 if dim == 1 else 30))
    features = random_features(
        dim, neurons, 1.05 * radius, generator(seed, "features"), slope=slope
    )
    return fit_outer(features, x, [function(x) - x], sigma=sigma, ridge=ridge)[0]


def map_error(
    net: ShallowNet, function: Map, curvature: float, *, radius: float = 1.0, rho: float = 0.005
) -> Bound:
    """sup over B(0, radius) of |x + net(x) - g(x)|, sampled and bounded (|D^2 g| <= curvature)."""
    # only the second derivative of g is known, and it is enough
    unknown = Bound(0.0, math.inf)
    ball = Ball(unknown, radius, unknown, Smoothness(0.0, curvature, 0.0))
    gap = Target(lambda t, x: function(x) - x, net.dim, radius, "g - id")
    return field_error([net], ball, sample(gap, ball, rho=rho), times=1)


def winding_number(curve: Tensor) -> int:
    """How often a closed curve ``(m, 2)`` runs around 0.

    A flow of the plane maps the unit circle to a simple closed curve, hence with number -1, 0 or 1;
    z^2 has 2. Curves closer than 1 = min |z^2| share their number (a homotopy that misses 0), so
    every injective continuous map of the disk is at distance at least 1 from z -> z^2.
    """
    following = curve.roll(-1, 0)
    cross = curve[:, 0] * following[:, 1] - curve[:, 1] * following[:, 0]
    angle = torch.atan2(cross, (curve * following).sum(1))
    return round(float(angle.sum()) / (2 * math.pi))


def rescale_lift(net: ShallowNet, scale: float) -> ShallowNet:
    """(W, c) -> s (W, c), A -> A / s: the same function if sigma is ReLU, at 1/s^2 of the cost.

    Raises:
        ValueError: If sigma is not positively homogeneous or the scale is not positive.
    """
    if net.sigma.name not in ("relu", "identity") or not scale > 0:
        raise ValueError(
            f"expected a positively homogeneous activation and a positive scale, got "
            f"{net.sigma.name!r} and {scale}; use ReLU"
        )
    return replace(net, A=net.A / scale, W=net.W * scale, c=net.c * scale)


def absorb_bias(net: ShallowNet) -> ShallowNet:
    """Turn b into the outer weight of one more neuron, relu(0 x + 1) = 1, and set b = 0."""
    a = torch.cat([net.A, net.b.unsqueeze(1)], 1)
    w = torch.cat([net.W, torch.zeros_like(net.W[:1])])
    c = torch.cat([net.c, torch.ones_like(net.c[:1])])
    return replace(net, A=a, W=w, c=c, b=torch.zeros_like(net.b))


def lift_cost(lift: Lift) -> float:
    """(|Theta12|^2 + |b12|^2) / 2, what a penalised lift pays per unit of its weight."""
    return float(((lift.weight**2).sum() + (lift.bias**2).sum()) / 2)
