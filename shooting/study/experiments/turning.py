"""A rotation as a shooting solution: where variants of the image experiment start.

Frames of a rotating picture turn in planes, each by a whole multiple of the step. Such a rotation
is a stationary solution of the shooting system: if each plane of v turns by v' = A v with A
antisymmetric, A 1 = 0 and all units active, then v' = theta3 σ(v) with theta3 = A, the costates
obey p' = -theta3^T p = A p, and w3 theta3 = Σ p σ(v)^T satisfies (A G)' = A G - G A = 0 for G = A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shooting.adjoint import dense
from shooting.parametrizations import DynamicParticles
from shooting.study.data.rotating_mnist import SIDE

LEVEL = 4.0  # v of a unit at rest: far enough from 0 that no digit switches it off
REACH = 3.0  # distance of the particles from there


@dataclass(frozen=True)
class Turning:
    """Planes in which the frames turn, slowest first.

    Attributes:
        mean: Mean frame, ``(784,)``.
        planes: Orthonormal pairs of images, ``(784, 2 m)``; the mean digit of frame 1 lies on the
            first of each pair.
        phases: Angle by which each plane turns from frame to frame, ``(m,)``, in radians, from the
            first image of the pair towards the second.
        start: Affine map from frame 0 to the coordinates in the planes, ``(785, 2 m)``.
    """

    mean: np.ndarray
    planes: np.ndarray
    phases: np.ndarray
    start: np.ndarray


def fit_turning(frames: np.ndarray, planes: int, left_out: int, penalty: float = 1.0) -> Turning:
    """Fit one rotation to all steps between neighbouring frames, but for those at the left-out one.

    Frames 0 and 15, which no spline has blurred, serve only to fit the start.

    Args:
        frames: Training sequences ``(n, 16, 28, 28)``.
        planes: Number m of planes.
        left_out: Index of the frame that must not be seen.
        penalty: Of the ridge from frame 0.
    """
    rows = frames.reshape(len(frames), -1, SIDE**2)
    seen = [k for k in range(1, 15) if k != left_out]
    mean = rows[:, seen].mean((0, 1))
    spread = (rows[:, seen] - mean).reshape(-1, SIDE**2)
    main = np.linalg.eigh(spread.T @ spread)[1][:, ::-1][:, : 2 * planes]
    low = (rows - mean) @ main
    steps = [k for k in seen if k + 1 in seen]
    before, after = (np.concatenate([low[:, k + d] for k in steps]) for d in (0, 1))
    rotation = nearest_rotation(after.T @ before)
    phases, turned = oriented(*planes_of(rotation), low[:, 1].mean(0))
    target = low[:, 1] @ rotation @ turned  # frame 1, turned back
    return Turning(mean, main @ turned, phases, _ridge(rows[:, 0], target, penalty))


def nearest_rotation(moments: np.ndarray) -> np.ndarray:
    """R of determinant 1 with the largest ``tr(R^T moments)``: the orthogonal Procrustes problem.

    Without the determinant a pair of eigenvalues 1 and -1, which is no plane, can come along.
    """
    left, _, right = np.linalg.svd(moments)
    left[:, -1] *= np.linalg.det(left @ right)  # 1 or -1, at the smallest singular value
    return left @ right


def planes_of(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes of a rotation of even size: angles ``(m,)`` and bases ``(2 m, 2 m)``, slowest first.

    The basis within a plane, and with it the sign of the angle, is left to rounding: see
    `oriented`.
    """
    from scipy.linalg import schur  # an extra, as for the frames themselves

    t, q = schur(rotation, output="real")
    size, k, found, single = len(t), 0, [], []
    while k < size:
        if k + 1 < size and abs(t[k + 1, k]) > 1e-8:
            found.append((np.arctan2(t[k + 1, k], t[k, k]), q[:, k : k + 2]))
            k += 2
        else:
            single.append(q[:, k])  # eigenvalue 1 or -1: at rest, or of no use
            k += 1
    found += [(0.0, np.stack(pair, 1)) for pair in zip(single[::2], single[1::2], strict=True)]
    found.sort(key=lambda pair: abs(pair[0]))
    return np.array([p for p, _ in found]), np.concatenate([b for _, b in found], axis=1)


def oriented(
    phases: np.ndarray, bases: np.ndarray, digit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same planes, each with the basis that a digit gives it, and angles of 0 or more.

    A rotation determines its planes but no basis within them; taken from the Schur form, that
    basis would differ between processors, and training with Adam from it too.

    Args:
        phases: Angles, ``(m,)``.
        bases: Of the planes, ``(2 m, 2 m)``.
        digit: Coordinates ``(2 m,)`` of what lies on the first axis of each plane.
    """
    one, two = bases[:, 0::2], bases[:, 1::2]
    along, across = digit @ one, digit @ two
    length = np.hypot(along, across)
    if not length.all():
        raise ValueError(
            f"expected a digit with a part in each plane, got none in {np.sum(length == 0)} of "
            f"{len(length)}; fit fewer planes"
        )
    along, across = along / length, across / length
    turn = np.where(phases < 0, -1.0, 1.0)
    pairs = np.stack([along * one + across * two, turn * (along * two - across * one)], axis=-1)
    return np.abs(phases), pairs.reshape(bases.shape)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Rows for the pixels, then one for the constant."""
    centre, offset = x.mean(0), y.mean(0)
    gram = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, (x - centre).T @ (y - offset))
    return np.vstack([weight, offset - centre @ weight])


def active_basis(width: int, planes: int) -> Tensor:
    """Orthonormal columns orthogonal to the vector of ones, ``(width, 2 planes)``."""
    if 2 * planes >= width:
        raise ValueError(
            f"expected fewer than {width / 2:g} planes in {width} units, got {planes}; widen v"
        )
    ones = torch.ones(width, 1, dtype=torch.float64)
    trial = torch.cat([ones, torch.eye(width, dtype=torch.float64)[:, : 2 * planes]], dim=1)
    return torch.linalg.qr(trial)[0][:, 1:]


def generators(speeds: Tensor, basis: Tensor) -> Tensor:
    """Antisymmetric matrices that turn plane j of `basis` at `speeds[..., j]`."""
    first, second = basis[:, 0::2], basis[:, 1::2]
    turn = torch.einsum("ij,...j,kj->...ik", second, speeds, first)
    return turn - turn.transpose(-1, -2)


@torch.no_grad()
def start_turning(flow: DynamicParticles, matrices: Tensor) -> None:
    """Place the particles so that theta3 is the given rotation and all else is 0.

    Particle k rests at the constant but for unit k; its costate is column k of the rotation. The
    costates of x, and x itself, are 0, so that theta1 and theta2 are.

    Args:
        flow: UpDown particles, as many as there are hidden units; changed in place.
        matrices: Antisymmetric, rows summing to 0, ``(*runs, width, width)``.
    """
    parts, width = dict(flow.named_parameters()), matrices.shape[-1]
    if flow.particles != width:
        raise ValueError(f"expected {width} particles, one a hidden unit, got {flow.particles}")
    weight = next(t.metric for t in dense(flow.field).terms if t.name == "theta3")
    parts["x"].zero_()
    parts["v"].copy_(LEVEL + REACH * torch.eye(width))
    parts["p"].zero_()
    costates = float(weight) / (REACH * flow.momentum_scale) * matrices.transpose(-1, -2)
    parts["p"][..., -width:].copy_(costates)
