"""alpha = 1 is enough for functions if sigma is tanh: keep v small, turn it, amplify it, read it.

Near 0 tanh is linear, so that theta3 turns a small v = eta (G x(0) + c) like a linear map, up to
eta^2. And v' = rate tanh(v) amplifies exactly: d/dt sinh(v) = rate sinh(v). So a small v can be
brought to sinh(v) = G x(0) + c + O(eta^2), where x reads psi(G x(0) + c), and back again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shooting import UpDown
from shooting.activations import Activation
from shooting.study.universality.embeddings import Embedding, Lift
from shooting.study.universality.pieces import Piece, control, retime
from shooting.study.universality.rectified import Layer, generators


def _psi(u: Tensor) -> Tensor:
    return u / (1 + u**2).sqrt()


PSI = Activation("psi", _psi, lambda u: (1 + u**2) ** -1.5, lambda u: -3 * u * (1 + u**2) ** -2.5)
"""tanh(arsinh(u)) = u / sqrt(1 + u^2): what x reads of an amplified v."""


def amplified_flow(
    layers: Sequence[Layer], b: Tensor, eta: float, *, amplify: bool = True, steps: int = 24
) -> Embedding:
    """An UpDown flow, alpha = 1, tanh, with x(1) = x + b + sum_k A_k psi(G_k x + c_k) + O(eta^2).

    Args:
        layers: The layers, in an order that makes neighbours similar (cheaper).
        b: Outer bias ``(d,)``.
        eta: Size at which v is turned, between 0 and 1.
        amplify: False reads the small v as it is, scaled up by theta1: only affine maps are left.
        steps: Runge-Kutta steps of each amplification; a turn takes a sixth of them.

    Returns:
        The embedding, timed so that its energy is least for this path.

    Raises:
        ValueError: If eta is not between 0 and 1.
    """
    if not 0 < eta < 1:
        raise ValueError(f"expected a size eta between 0 and 1, got {eta}; try 0.1")
    field = UpDown(len(b), 1, sigma="tanh")
    pieces: list[Piece] = [Piece(1.0, control(field, b1=b))] if bool(b.any()) else []
    for k, layer in enumerate(layers):
        if k:
            pieces += _turn(field, layers[k - 1], layer, eta, max(1, steps // 6))
        pieces += _read(field, layer, eta, steps) if amplify else [_peek(field, layer, eta)]
    first = layers[0]
    return Embedding(field, Lift(eta * first.G, eta * first.c), retime(field, pieces))


def _turn(field: UpDown, old: Layer, new: Layer, eta: float, steps: int) -> list[Piece]:
    """Turn v = eta (G x + c) about 0 by theta3, nearly a linear map, and shift it by b2."""
    change = new.G @ torch.linalg.inv(old.G)
    turns = [Piece(1.0, control(field, theta3=g), steps) for g in generators(change)]
    return [*turns, Piece(1.0, control(field, b2=eta * (new.c - change @ old.c)))]


def _read(field: UpDown, layer: Layer, eta: float, steps: int) -> list[Piece]:
    """Amplify sinh(v) by 1/eta, let x collect A tanh(v), and bring v back."""
    rate = -math.log(eta) * torch.eye(field.slots["v"], dtype=torch.float64)
    up, down = (Piece(1.0, control(field, theta3=r), steps) for r in (rate, -rate))
    return [up, Piece(1.0, control(field, theta1=layer.A)), down]


def _peek(field: UpDown, layer: Layer, eta: float) -> Piece:
    return Piece(1.0, control(field, theta1=layer.A / eta))
