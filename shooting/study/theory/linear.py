"""The one case in closed form: f = A x, where the equation for the weights closes (EPDiff)."""

from __future__ import annotations

import torch
from torch import Tensor

from shooting.fields import Field, Term


def linear_field(dim: int) -> Field:
    """The field f = A x with R = |A|^2 / 2."""
    return Field({"x": dim}, [Term("A", "x", "x")])


def closed_form(q: Tensor, p: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """x(t) = exp(t W) exp(t A0^T) x0 and A(t) = exp(t W) A0 exp(-t W), W = A0 - A0^T.

    Args:
        q: Initial states ``(K, d)``.
        p: Initial costates ``(K, d)``; A0 = sum_j p_j q_j^T.
        t: Depth.

    Returns:
        States ``(K, d)`` and A(t) ``(d, d)``.
    """
    a = p.T @ q
    turn = torch.linalg.matrix_exp(t * (a - a.T))
    move = turn @ torch.linalg.matrix_exp(t * a.T)
    return q @ move.T, turn @ a @ turn.T
