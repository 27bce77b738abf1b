"""Lemmas 5 and 6: time-varying shallow networks are UpDown flows, exactly.

The corrected statements. Lemma 5 needs theta2, b2 absolutely continuous (a jump of theta2 would be
a Dirac mass in its derivative) and v(0) = theta2(0) q(0) + b2(0), the bias included. Lemma 6 lets
all weights jump, at the price of one copy of the neurons per interval: alpha d >= k N.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting import UpDown
from shooting.fields import Control
from shooting.solvers import TABLEAUS, State, rk_step
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, control

Weights = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Lift:
    """The affine lift v(0) = Theta12 x(0) + b12.

    Attributes:
        weight: Theta12 ``(alpha d, d)``.
        bias: b12 ``(alpha d,)``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """States z(0) = [x | Theta12 x + b12], shape ``(n, S)``."""
        return torch.cat([x, x @ self.weight.T + self.bias], dim=-1)


@dataclass(frozen=True)
class Embedding:
    """An UpDown field with a lift and a control: everything a flow needs.

    Attributes:
        field: The UpDown field.
        lift: The affine lift.
        pieces: The control over depth.
    """

    field: UpDown
    lift: Lift
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class MovingNet:
    """A shallow network whose weights depend on time (the vector field of Lemmas 5 and 6).

    Attributes:
        at: The network at time t, a smooth function of a 0-d tensor t.
        length: How long it acts.
    """

    at: Callable[[Tensor], ShallowNet]
    length: float = 1.0

    def rates(self, t: float) -> tuple[Tensor, Tensor]:
        """The time derivatives of theta2 and b2, by automatic differentiation."""

        def inner(s: Tensor) -> tuple[Tensor, Tensor]:
            net = self.at(s)
            return net.W, net.c

        return _derivative(inner, t)


def _derivative(f: Weights, t: float) -> tuple[Tensor, Tensor]:
    time = torch.tensor(t, dtype=torch.float64)
    # two reverse passes: torch.func.jvp warns about TorchScript when it is first called
    out: tuple[Tensor, Tensor] = torch.autograd.functional.jvp(f, time, torch.ones_like(time))[1]
    return out


def inflation_for(neurons: int, dim: int) -> int:
    """The least inflation factor alpha with alpha d >= number of neurons."""
    return math.ceil(neurons / dim)


def lemma5(net: MovingNet, *, parts: int = 1, steps: int = 100) -> Embedding:
    """Lemma 5: v = theta2(t) q + b2(t) turns one time-varying network into an UpDown flow.

    Args:
        net: The network; theta2 and b2 continuous and piecewise C^1 over its length.
        parts: Equal pieces into which depth is cut, to compare the flows in between.
        steps: Runge-Kutta steps per piece.

    Returns:
        theta1 and b1 as given, theta2' and b2' + theta2 b1 driving v, theta3 = theta2 theta1.
    """
    first = net.at(torch.tensor(0.0, dtype=torch.float64))
    field = UpDown(first.dim, inflation_for(first.neurons, first.dim), sigma=first.sigma)
    start = first.padded(field.slots["v"])

    h = net.length / parts

    def piece(k: int) -> Piece:
        @functools.cache  # Runge-Kutta asks for the middle of a step twice
        def theta(t: float) -> Control:
            now = net.at(torch.tensor(k * h + t, dtype=torch.float64))
            return _follow(field, now, net.rates(k * h + t))

        return Piece(h, theta, steps)

    pieces = tuple(piece(k) for k in range(parts))
    return Embedding(field, Lift(start.W, start.c), pieces)


def _follow(field: UpDown, net: ShallowNet, rates: tuple[Tensor, Tensor]) -> Control:
    """The control that moves x by the network and keeps v = W x + c."""
    wide = net.padded(field.slots["v"])
    dw, dc = torch.zeros_like(wide.W), torch.zeros_like(wide.c)
    dw[: net.neurons], dc[: net.neurons] = rates
    return {
        "theta1": wide.A,
        "b1": wide.b.unsqueeze(-1),
        "theta2": dw,
        "b2": (dc + wide.W @ wide.b).unsqueeze(-1),
        "theta3": wide.W @ wide.A,
    }


def lemma6(nets: Sequence[MovingNet], *, steps: int = 50) -> Embedding:
    """Lemma 6: weights that jump, by one block of neurons for each interval.

    Block i follows W_i(t) q + c_i(t) on its own interval, waits at W_i(0) q + c_i(0) before, and
    is never read again after. So v is continuous although the weights are not.

    Args:
        nets: The network of each interval, in order; each as smooth as Lemma 5 asks.
        steps: Runge-Kutta steps per interval.

    Returns:
        The embedding, with alpha d at least the total number of neurons.
    """
    zero = torch.tensor(0.0, dtype=torch.float64)
    starts = [net.at(zero) for net in nets]
    dim, total = starts[0].dim, sum(s.neurons for s in starts)
    field = UpDown(dim, inflation_for(total, dim), sigma=starts[0].sigma)
    spots = _spots([s.neurons for s in starts])
    w, c = (torch.zeros(field.slots["v"], k, dtype=torch.float64) for k in (dim, 1))
    for spot, s in zip(spots, starts, strict=True):
        w[spot], c[spot] = s.W, s.c.unsqueeze(-1)

    def piece(net: MovingNet, spot: slice) -> Piece:
        return Piece(net.length, lambda t: _follow_block(field, net, spot, (w, c), t), steps)

    pieces = tuple(piece(net, spot) for net, spot in zip(nets, spots, strict=True))
    return Embedding(field, Lift(w, c.squeeze(-1)), pieces)


def _spots(sizes: Sequence[int]) -> list[slice]:
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _follow_block(
    field: UpDown, net: MovingNet, spot: slice, waiting: tuple[Tensor, Tensor], t: float
) -> Control:
    """The control of Lemma 6 while block `spot` is the one that x reads."""
    now, rates = net.at(torch.tensor(t, dtype=torch.float64)), net.rates(t)
    a = torch.zeros(field.shapes["theta1"], dtype=torch.float64)
    w = waiting[0].clone()
    dw, dc = torch.zeros_like(w), torch.zeros_like(waiting[1])
    a[:, spot], w[spot] = now.A, now.W
    dw[spot], dc[spot] = rates[0], rates[1].unsqueeze(-1)
    b = now.b.unsqueeze(-1)
    return {"theta1": a, "b1": b, "theta2": dw, "b2": dc + w @ b, "theta3": w @ a}


def stack(nets: Sequence[ShallowNet]) -> tuple[UpDown, Lift, Control]:
    """Lemma 6 for constant networks on equal intervals: V = W q + c for all blocks at once.

    Args:
        nets: The network of each interval.

    Returns:
        The field, the lift, and the control as blocks for `shooting.carry`: theta2 = 0,
        theta3 = W theta1, b2 = W b1.
    """
    dim, total = nets[0].dim, sum(net.neurons for net in nets)
    field = UpDown(dim, inflation_for(total, dim), sigma=nets[0].sigma)
    rows = field.slots["v"]
    w, c = torch.zeros(rows, dim, dtype=torch.float64), torch.zeros(rows, dtype=torch.float64)
    theta1 = torch.zeros(len(nets), dim, rows, dtype=torch.float64)
    for k, spot in enumerate(_spots([net.neurons for net in nets])):
        w[spot], c[spot], theta1[k][:, spot] = nets[k].W, nets[k].c, nets[k].A
    return field, Lift(w, c), _blocks(field, w, theta1, nets)


def share(nets: Sequence[ShallowNet]) -> tuple[UpDown, Lift, Control]:
    """Networks with the same inner weights: one block of neurons serves every interval.

    Then theta2 is constant and Lemma 5 applies although theta1 and b1 jump: alpha d >= N is
    enough, the factor k of Lemma 6 is not needed.

    Args:
        nets: The network of each interval, all with equal (W, c).

    Returns:
        As `stack`.

    Raises:
        ValueError: If the inner weights differ.
    """
    first = nets[0]
    if not all(torch.equal(n.W, first.W) and torch.equal(n.c, first.c) for n in nets):
        raise ValueError(
            "expected networks with equal inner weights W and c, got different ones; use `stack`"
        )
    field = UpDown(first.dim, inflation_for(first.neurons, first.dim), sigma=first.sigma)
    wide = [net.padded(field.slots["v"]) for net in nets]
    theta1 = torch.stack([net.A for net in wide])
    return field, Lift(wide[0].W, wide[0].c), _blocks(field, wide[0].W, theta1, nets)


def _blocks(field: UpDown, w: Tensor, theta1: Tensor, nets: Sequence[ShallowNet]) -> Control:
    b1 = torch.stack([net.b for net in nets]).unsqueeze(-1)
    zero = control(field)["theta2"].expand(len(nets), -1, -1)
    return {"theta1": theta1, "b1": b1, "theta2": zero, "b2": w @ b1, "theta3": w @ theta1}


def flow_of(nets: Sequence[MovingNet], x: Tensor, *, parts: int = 1, steps: int = 50) -> Tensor:
    """The flow q' = shl_t(q) itself, without any v: the witness for Lemmas 5 and 6.

    Args:
        nets: The networks, one after the other.
        x: Starting points ``(n, d)``.
        parts: Outputs per network, equally spaced.
        steps: Runge-Kutta steps per output.

    Returns:
        The points at the start and at each output, ``(1 + parts len(nets), n, d)``.
    """
    kept = [x]
    for net in nets:

        def rhs(t: float, y: State, net: MovingNet = net) -> State:
            return (net.at(torch.tensor(t, dtype=torch.float64))(y[0]),)

        h = net.length / (parts * steps)
        for k in range(parts * steps):
            (x,) = rk_step(rhs, k * h, h, (x,), TABLEAUS["classical"])
            if (k + 1) % steps == 0:
                kept.append(x)
    return torch.stack(kept)
