"""How much a flow of given energy can stretch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.flow import Solver, shoot


def largest_stretch(
    field: Field, q: Tensor, p: Tensor, z: Tensor, *, horizon: float = 1.0
) -> float:
    """Largest operator norm of D phi_T over the points z: a lower bound of Lip(phi_T).

    Args:
        field: The vector field.
        q: Particle states ``(K, S)``.
        p: Particle costates ``(K, S)``.
        z: Points ``(n, S)``.
        horizon: The depth T.
    """
    return float(_stretches(field, q, p, z, horizon).max())


def least_stretch(field: Field, q: Tensor, p: Tensor, z: Tensor, *, horizon: float = 1.0) -> float:
    """Least singular value of D phi_T over the points z: 1 / a lower bound of Lip(phi_T^-1).

    It takes what `largest_stretch` takes.
    """
    return float(_stretches(field, q, p, z, horizon).min())


def _stretches(field: Field, q: Tensor, p: Tensor, z: Tensor, horizon: float) -> Tensor:
    """Singular values of D phi_T at each point, ``(n, S)``."""
    solver = Solver("classical", step=0.02, form="kernel")
    leaf = z.detach().clone().requires_grad_()
    end = shoot(field, q, p, leaf, [0.0, horizon], solver=solver).z[-1]
    rows = [
        torch.autograd.grad(end[:, k].sum(), leaf, retain_graph=True)[0] for k in range(field.size)
    ]
    return torch.linalg.svdvals(torch.stack(rows, dim=1))


def stretch_bound(
    field: Field, energy: float, *, horizon: float = 1.0, slope: float = 1.0, factor: float = 2.0
) -> float:
    """Bound exp(T c sqrt(2 H)) with c = max(1, Lip sigma) / sqrt(least weight of a matrix).

    Args:
        field: A field with scalar weights.
        energy: The Hamiltonian H.
        horizon: The depth T.
        slope: Lipschitz constant of sigma.
        factor: The 2 in front of H; another value gives a wrong bound, a control.
    """
    least = min(float(t.metric) for t in field.terms if not t.is_bias)
    c = max(1.0, slope) / math.sqrt(least)
    return math.exp(horizon * c * math.sqrt(factor * energy))
