"""Counting: how many numbers each parametrisation learns, and how many of them act (Appendix B)."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from shooting.fields import Field
from shooting.flow import Solver, shoot

Counts = dict[str, tuple[int, ...]]

TABLE_1_INFLATION = (4, 8, 16, 32, 64, 128)
TABLE_1: Counts = {
    "particles, K = 2": (28, 52, 100, 196, 388, 772),
    "particles, K = 5": (58, 106, 202, 394, 778, 1546),
    "particles, K = 15": (158, 286, 542, 1054, 2078, 4126),
    "particles, K = 25": (258, 466, 882, 1714, 3378, 6706),
    "dynamic direct": (153, 461, 1557, 5669, 21573, 84101),
    "static direct": (37, 105, 337, 1185, 4417, 17025),
}
TABLE_2_INFLATION = (16, 32, 64, 128)
TABLE_2: Counts = {
    "particles, K = 15": (1116, 2172, 4284, 8508),
    "particles, K = 25": (1796, 3492, 6884, 13668),
    "particles, K = 50": (3496, 6792, 13384, 26568),
    "static direct": (1282, 4610, 17410, 67586),
    "dynamic direct": (6026, 22282, 85514, 334858),
}


def control_count(dim: int, inflation: int) -> int:
    """P = 2 alpha d^2 + (alpha d)^2 + (alpha + 1) d: entries of theta for UpDown (3.9)."""
    a, d = inflation, dim
    return 2 * a * d**2 + (a * d) ** 2 + (a + 1) * d


def lift_count(dim: int, inflation: int) -> int:
    """alpha d (d + 1): entries of the affine lift v(0) = Theta12 x(0) + b12 (footnote 4)."""
    return inflation * dim * (dim + 1)


def particle_count(dim: int, inflation: int, *, particles: int) -> int:
    """2 K S with S = (alpha + 1) d, and the lift; static and dynamic particles alike."""
    return 2 * particles * (inflation + 1) * dim + lift_count(dim, inflation)


def direct_count(dim: int, inflation: int, *, blocks: int = 1) -> int:
    """B P and the lift: static direct for B = 1, dynamic direct for B = 5."""
    return blocks * control_count(dim, inflation) + lift_count(dim, inflation)


def break_even(dim: int, *, particles: int, blocks: int) -> int:
    """Least inflation factor from which on particles need fewer numbers than B direct blocks.

    With u = 2 K (alpha + 1) d against B P(alpha), a parabola in alpha that opens upwards: once
    below, particles stay below.

    Args:
        dim: Data dimension d.
        particles: Number K of particles.
        blocks: Number B of direct blocks.

    Returns:
        The least alpha >= 1 such that 2 K S < B P(alpha') for every alpha' >= alpha.
    """
    # B d^2 a^2 + (2 B d^2 + B d - 2 K d) a + (B d - 2 K d) > 0, divided by d
    a, b = blocks * dim, 2 * blocks * dim + blocks - 2 * particles
    c = blocks - 2 * particles
    root = (-b + math.sqrt(max(b * b - 4 * a * c, 0))) / (2 * a)
    return max(1, math.floor(root) + 1)


def conv_count(channels: int, kernel: int, *, depth: int) -> int:
    """D C^2 k^2: weights of D convolutional layers, biases left out as in Appendix B."""
    return depth * channels**2 * kernel**2


def conv_state(channels: int, height: int, width: int) -> int:
    """S = C H W: a particle of a convolutional field is an image, not a vector of C numbers."""
    return channels * height * width


def control_jacobian(
    field: Field, q: Tensor, p: Tensor, times: Tensor, *, step: float = 0.05, seed: int = 0
) -> Tensor:
    """Derivative of (q(0), p(0)) -> theta(.), sampled at `times`, in random coordinates of theta.

    The derivative J has as many rows as theta has samples. W J with a Gaussian W of a few more
    than 2 K S rows has the rank of J almost surely, and one backward pass over copies gives it.

    Args:
        field: The vector field.
        q: Particle states at t = 0, ``(K, S)``.
        p: Particle costates at t = 0, ``(K, S)``.
        times: Increasing times from 0, at least two.
        step: Step of the fixed-step solver.
        seed: Seed of W.

    Returns:
        W J, ``(2 K S + 8, 2 K S)``, q first.
    """
    start = torch.cat([q, p])
    rows = start.numel() + 8
    copies = start.detach().expand(rows, *start.shape).clone().requires_grad_()
    particles, costates = copies.split(len(q), dim=-2)
    solver = Solver(step=step, route="autograd", form="theta")
    path = shoot(field, particles, costates, particles[..., :0, :], times, solver=solver)
    theta = torch.cat([v.flatten(1) for v in field.theta(path.q, path.p).values()], dim=1)
    weights = torch.randn(theta.shape, generator=torch.Generator().manual_seed(seed)).to(theta)
    (jacobian,) = torch.autograd.grad((weights * theta).sum(), copies)
    return jacobian.flatten(1)


def numerical_rank(matrix: Tensor, *, rtol: float = 1e-9) -> int:
    """Number of singular values above rtol times the largest."""
    s = torch.linalg.svdvals(matrix)
    return int((s > rtol * s[..., :1]).sum())


def firing(field: Field, q: Tensor, p: Tensor, times: Tensor, *, step: float = 0.05) -> Tensor:
    """Which hidden unit of which particle fires at which time: booleans ``(times, K, D)``."""
    path = shoot(field, q, p, q[:0], times, solver=Solver(step=step, form="theta"))
    return field.split(path.q)["v"] > 0


def firing_groups(fires: Tensor) -> list[tuple[int, int]]:
    """Particles that always fire alike: the size of each group and its number of live units.

    A unit is live if it ever fires. A particle with a unit that starts or stops firing is a group
    of its own: no other has the same moments of change, except by chance.

    Args:
        fires: As returned by `firing`, at the steps of the solver.
    """
    patterns = fires.transpose(0, 1)  # (K, times, D)
    changes = (patterns != patterns[:, :1]).flatten(1).any(dim=1).tolist()
    live = [tuple(row) for row in patterns.any(dim=1).tolist()]
    constant = Counter(row for row, change in zip(live, changes, strict=True) if not change)
    single = [(1, sum(row)) for row, change in zip(live, changes, strict=True) if change]
    return [(size, sum(row)) for row, size in constant.items()] + single


def low_rank_dimension(rank: int, rows: int, columns: int) -> int:
    """Dimension of the set of matrices of at most this rank."""
    r = min(rank, rows, columns)
    return r * (rows + columns - r)


def relu_rank(field: Field, fires: Tensor) -> int:
    """Largest rank of (q(0), p(0)) -> theta(.) for a ReLU UpDown field, from the firing alone.

    theta depends on a group only through sum_j p_j (x_j, v_j, 1)^T, with v restricted to the live
    units and the 1 only if there are biases: a matrix of rank at most the size of the group. Of
    particles without a live unit, p_x does not act, except for its sum on the biases.

    Args:
        field: `UpDown` with ReLU, or the same without its biases.
        fires: As returned by `firing`, at the steps of the solver.

    Returns:
        A bound on the rank; `rank_scan` compares it with the rank of random ensembles.
    """
    bias = int(any(term.is_bias for term in field.terms))
    d, size = field.slots["x"], field.size
    total = 0
    for m, live in firing_groups(fires):
        rows = size if live else size - d
        total += low_rank_dimension(m, rows, d + live + bias)
        total += 0 if live else d * bias
    return total


def without_biases(field: Field) -> Field:
    """The same field with its bias terms left out."""
    return Field(field.slots, [t for t in field.terms if not t.is_bias])
