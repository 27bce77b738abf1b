"""alpha = 1 is enough for functions if sigma is ReLU: exact for d = 1, by mixing for d >= 2.

d = 1. Taylor's formula g(x) = g(a) + g'(a)(x - a) + int_a^b g''(s) relu(x - s) ds is a flow: v runs
through s (x(0) - a), ..., s (x(0) - b) while x collects the integral.

d >= 2. A large bias makes ReLU linear, v' = theta3 v + b2 then turns v = G x(0) + c by any linear
map with positive determinant, and x collects one layer theta1 relu(G x(0) + c) after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting import UpDown
from shooting.activations import activation
from shooting.fields import Control
from shooting.study.universality.embeddings import Embedding, Lift
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, control, retime

Scalar = Callable[[Tensor], Tensor]


# --- d = 1: every C^2 function, exactly ----------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A C^2 function of one variable with its derivatives, on an interval.

    Attributes:
        value: g.
        slope: g'.
        bend: g''.
        start: Left end a.
        end: Right end b.
    """

    value: Scalar
    slope: Scalar
    bend: Scalar
    start: float
    end: float


def quadratic_like() -> Curve:
    """The paper's non-injective x^2 + 3/(1 + x^2) on [-1.5, 1.5]."""
    return Curve(
        lambda x: x**2 + 3 / (1 + x**2),
        lambda x: 2 * x - 6 * x / (1 + x**2) ** 2,
        lambda x: 2 - 6 / (1 + x**2) ** 2 + 24 * x**2 / (1 + x**2) ** 3,
        -1.5,
        1.5,
    )


def taylor_flow(g: Curve, pieces: int, *, scale: float = 1.0, arc_length: bool = True) -> Embedding:
    """An UpDown flow with d = alpha = 1 and x(1) = g(x(0)) on [a, b].

    Args:
        g: The function.
        pieces: Steps in which v runs through the interval; the flow is exact, its integration
            fourth order where x(0) is one of their ends and second order elsewhere (kinks).
        scale: v(0) = scale (x(0) - a).
        arc_length: Run through the graph of g' at unit cost rate, the cheapest timing; False
            runs at constant speed in x.

    Returns:
        The embedding; its energy tends to `taylor_energy`.
    """
    field = UpDown(1, 1, sigma="relu")
    nodes = torch.linspace(g.start, g.end, pieces + 1, dtype=torch.float64)
    mid, ds = (nodes[1:] + nodes[:-1]) / 2, (g.end - g.start) / pieces
    first = _tangent_length(g, scale)
    sizes = ds * torch.sqrt((g.bend(mid) / scale) ** 2 + scale**2)
    if not arc_length:
        sizes = torch.full_like(sizes, float(sizes.mean()))
    total = first + float(sizes.sum())

    def sweep(s: float, time: float) -> Piece:
        def theta(t: float) -> Control:
            here = torch.tensor([[s + ds * t / time]], dtype=torch.float64)
            speed = ds / time
            b2 = torch.full((1,), -scale * speed, dtype=torch.float64)
            return control(field, theta1=g.bend(here) * speed / scale, b2=b2)

        return Piece(time, theta)

    run = zip(nodes.tolist(), (sizes / total).tolist(), strict=False)
    sweeps = [sweep(s, time) for s, time in run]
    lift = Lift(torch.full((1, 1), scale).double(), torch.full((1,), -scale * g.start).double())
    # a function that touches the diagonal at a is its own tangent there: nothing to replace
    tangent = [_tangent(field, g, scale, first / total)] if first > 0 else []
    return Embedding(field, lift, (*tangent, *sweeps))


def _tangent(field: UpDown, g: Curve, scale: float, time: float) -> Piece:
    """Replace x by the tangent of g at a, v = scale (x(0) - a) >= 0 being at rest."""
    a = torch.tensor([[g.start]], dtype=torch.float64)
    theta1 = (g.slope(a) - 1) / (scale * time)
    return Piece(time, control(field, theta1=theta1, b1=(g.value(a) - a) / time))


def _tangent_length(g: Curve, scale: float) -> float:
    a = torch.tensor(g.start, dtype=torch.float64)
    return math.hypot(float(g.slope(a) - 1) / scale, float(g.value(a) - a))


def taylor_energy(g: Curve, *, scale: float = 1.0, nodes: int = 20001) -> float:
    """Half the squared length: (|tangent| + length of the graph of g' / scale over scale x)^2 / 2.

    For scale 1 the second summand is the arc length of the graph of g'.
    """
    s = torch.linspace(g.start, g.end, nodes, dtype=torch.float64)
    rate = torch.sqrt((g.bend(s) / scale) ** 2 + scale**2)
    return (_tangent_length(g, scale) + float(torch.trapezoid(rate, s))) ** 2 / 2


# --- d >= 2: linear mixing -----------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """d neurons A relu(G x + c), det G > 0.

    Attributes:
        G: Inner weights ``(d, d)``.
        c: Inner biases ``(d,)``.
        A: Outer weights ``(d, d)``.
    """

    G: Tensor
    c: Tensor
    A: Tensor


def generators(m: Tensor) -> list[Tensor]:
    """Matrices L_1, L_2 with exp(L_2) exp(L_1) = m: logarithms of the two polar factors.

    Raises:
        ValueError: If det m <= 0, or the rotation has eigenvalue -1 (turn half-way first).
    """
    if not float(torch.linalg.det(m)) > 0:
        raise ValueError(
            f"expected a matrix with positive determinant, got {float(torch.linalg.det(m)):.3g}; "
            "swap two rows, since linear flows keep the orientation"
        )
    u, s, vh = torch.linalg.svd(m)
    stretch = vh.T @ torch.diag(s.log()) @ vh
    values, vectors = torch.linalg.eig(u @ vh)
    spin = (vectors @ torch.diag(1j * values.angle()) @ torch.linalg.inv(vectors)).real
    if (
        float((torch.linalg.matrix_exp(spin) - u @ vh).abs().max()) > 1e-9
        or float((spin + spin.T).abs().max()) > 1e-9
    ):
        raise ValueError(
            "expected a rotation without eigenvalue -1, got a half turn; insert a layer between"
        )
    return [part for part in (stretch, spin) if float(part.abs().max()) > 1e-12]


def mixing_flow(
    layers: Sequence[Layer], b: Tensor, radius: float, *, steps: int = 4, linear: bool = True
) -> Embedding:
    """An UpDown flow, alpha = 1, with x(1) = x + b + sum_k A_k relu(G_k x + c_k) if |x| <= radius.

    Args:
        layers: The layers, in an order that makes neighbours similar (cheaper).
        b: Outer bias ``(d,)``.
        radius: Radius of the ball of starting points.
        steps: Runge-Kutta steps of each turn of v.
        linear: False leaves the large bias out, so that ReLU cuts v while it turns: must fail.

    Returns:
        The embedding, timed so that its energy is least for this path.
    """
    field = UpDown(len(b), 1, sigma="relu")
    g, offset = layers[0].G, layers[0].c
    pieces: list[Piece] = []
    for k, layer in enumerate(layers):
        if k:
            turns = generators(layer.G @ torch.linalg.inv(g))
            pieces += _turn(field, g, offset, layer.c, turns, radius, steps, linear)
            g, offset = layer.G, layer.c
        collect = {"theta1": layer.A} | ({} if k else {"b1": b})
        pieces.append(Piece(1.0, control(field, **collect)))
    lift = Lift(layers[0].G, layers[0].c)
    return Embedding(field, lift, retime(field, pieces))


def _turn(
    field: UpDown,
    g: Tensor,
    old: Tensor,
    new: Tensor,
    turns: Sequence[Tensor],
    radius: float,
    steps: int,
    linear: bool,
) -> list[Piece]:
    """Shift v up into the region where ReLU is linear, turn it about its offset, shift it down."""
    stretch = math.exp(sum(float(torch.linalg.matrix_norm(t + t.T, 2)) / 2 for t in turns))
    lift = 1.01 * radius * stretch * float(torch.linalg.matrix_norm(g, 2))
    high = torch.full_like(old, lift) if linear else old
    pieces = [Piece(1.0, control(field, b2=high - old))]
    pieces += [Piece(1.0, control(field, theta3=t, b2=-t @ high), steps) for t in turns]
    return [*pieces, Piece(1.0, control(field, b2=new - high))]


def turning_features(count: int, *, spread: float = 1.0) -> list[Layer]:
    """Layers with G_k the rotations of the plane by 2 pi k / count and scattered c_k, A_k = 0."""
    golden, out = (math.sqrt(5) - 1) / 2, []
    for k in range(count):
        phi = 2 * math.pi * k / count
        g = torch.tensor(
            [[math.cos(phi), -math.sin(phi)], [math.sin(phi), math.cos(phi)]], dtype=torch.float64
        )
        c = [spread * (2 * ((k * golden + shift) % 1) - 1) for shift in (0.0, 0.5)]
        out.append(Layer(g, torch.tensor(c, dtype=torch.float64), torch.zeros_like(g)))
    return out


def as_network(layers: Sequence[Layer], b: Tensor) -> ShallowNet:
    """The layers as one shallow ReLU network of d times as many neurons."""
    a = torch.cat([layer.A for layer in layers], 1)
    w = torch.cat([layer.G for layer in layers])
    return ShallowNet(a, w, torch.cat([layer.c for layer in layers]), b, activation("relu"))


def with_outer(layers: Sequence[Layer], net: ShallowNet) -> list[Layer]:
    """The layers with the outer weights of a network that has their inner weights."""
    parts = net.A.split(net.dim, dim=1)
    return [Layer(layer.G, layer.c, a) for layer, a in zip(layers, parts, strict=True)]
