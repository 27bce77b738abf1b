"""alpha = 1 is enough for flows: switch so fast between d-neuron fields that only their sum shows.

While x rests (theta1 = b1 = theta3 = 0), v' = (W' - W) x / delta + (c' - c) / delta retunes
v = W x + c to W' x + c' exactly, because x is available to v. In between, x follows the field of
the d neurons that v holds. Running through all fields again and again is a splitting method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from shooting import UpDown
from shooting.solvers import TABLEAUS, State, rk_step
from shooting.study.universality.embeddings import Embedding, Lift
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import Piece, control, retime

Schedule = list[tuple[int, float]]


def split(net: ShallowNet) -> list[ShallowNet]:
    """Cut a network into networks of d neurons whose sum it is (the first carries b)."""
    d = net.dim
    wide = net.padded(-(-net.neurons // d) * d)
    parts = [
        replace(wide, A=wide.A[:, k : k + d], W=wide.W[k : k + d], c=wide.c[k : k + d])
        for k in range(0, wide.neurons, d)
    ]
    return [parts[0], *(replace(p, b=torch.zeros_like(p.b)) for p in parts[1:])]


def schedule(fields: int, slots: int, order: int) -> Schedule:
    """Which field acts for how long: Lie (order 1) or Strang (order 2) splitting.

    Args:
        fields: Number M of fields.
        slots: Number n of time slots of length 1/n.
        order: 1 or 2.

    Returns:
        Pairs (field, duration); equal neighbours are merged.
    """
    if order not in (1, 2) or fields < 1 or slots < 1:
        raise ValueError(
            f"expected order 1 (Lie) or 2 (Strang) and positive counts, got order {order}, "
            f"{fields} fields and {slots} slots; try order=2"
        )
    there = [(m, 1 / slots / order) for m in range(fields)]
    slot = there + there[::-1] * (order - 1)
    merged: Schedule = []
    for m, time in slot * slots:
        if merged and merged[-1][0] == m:
            time += merged.pop()[1]
        merged.append((m, time))
    return merged


def chatter(
    parts: Sequence[ShallowNet], slots: int, *, order: int = 1, retune: bool = True, steps: int = 2
) -> Embedding:
    """An UpDown flow with alpha = 1 close to the flow of sum_m parts_m.

    Args:
        parts: Fields of d neurons each.
        slots: Number n of slots of the splitting.
        order: 1 (Lie) or 2 (Strang).
        retune: False leaves the retuning out, which must fail.
        steps: Runge-Kutta steps of each move.

    Returns:
        The embedding, timed so that its energy is least for this path.
    """
    field = UpDown(parts[0].dim, 1, sigma=parts[0].sigma)
    pieces, now = [], parts[0]
    for m, time in schedule(len(parts), slots, order):
        if retune and parts[m] is not now:
            change = {"theta2": parts[m].W - now.W, "b2": parts[m].c - now.c}
            pieces.append(Piece(1.0, control(field, **change)))
            now = parts[m]
        pieces.append(Piece(time, _move(field, parts[m]), steps))
    return Embedding(field, Lift(parts[0].W, parts[0].c), retime(field, pieces))


def _move(field: UpDown, net: ShallowNet) -> dict[str, Tensor]:
    """x follows the net, v = W x + c follows x."""
    return control(field, theta1=net.A, b1=net.b, b2=net.W @ net.b, theta3=net.W @ net.A)


def splitting(
    parts: Sequence[ShallowNet], slots: int, x: Tensor, *, order: int = 1, steps: int = 2
) -> Tensor:
    """The splitting method itself, without any v: what the chattering flow must reproduce."""
    for m, time in schedule(len(parts), slots, order):
        net = parts[m]

        def rhs(t: float, y: State, net: ShallowNet = net) -> State:
            return (net(y[0]),)

        for _ in range(steps):
            (x,) = rk_step(rhs, 0.0, time / steps, (x,), TABLEAUS["classical"])
    return x
