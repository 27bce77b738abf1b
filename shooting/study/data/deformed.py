"""Digits bent a little: more training digits than there are, without another data set."""

from __future__ import annotations

import functools

import numpy as np
import torch

from shooting.randomness import generator
from shooting.study.data.pixels import to_bytes
from shooting.study.data.rotating_mnist import SIDE, SOURCES, ndimage, rotate, threes

TURN, SCALE, SHEAR, SHIFT, BEND = 0.2, 0.12, 0.15, 1.0, 0.8  # radians, log, 1, pixels, pixels
SMOOTH = 5.0  # pixels over which the bending varies


def bent(digits: np.ndarray, g: torch.Generator) -> np.ndarray:
    """Each digit through its own small affine map and smooth displacement.

    The turn stays below half a step of 24 degrees, so that no copy shows a digit at an angle that
    is left out of the loss.

    Args:
        digits: Images ``(n, 28, 28)``.
        g: Where the deformations are drawn from.

    Returns:
        Images ``(n, 28, 28)``, float64, not negative.
    """
    tools = ndimage()
    grid = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    out = np.empty(digits.shape)
    for k, digit in enumerate(digits):
        noise = torch.randn(2, SIDE, SIDE, generator=g, dtype=torch.float64).numpy()
        field = np.stack([tools.gaussian_filter(part, SMOOTH) for part in noise])
        places = np.einsum("ij,jab->iab", _affine(g), grid) + BEND * field / field.std()
        places += _uniform(g, 2)[:, None, None] * SHIFT + (SIDE - 1) / 2
        out[k] = tools.map_coordinates(digit.astype(np.float64), places, order=1)
    return out


def _uniform(g: torch.Generator, count: int) -> np.ndarray:
    drawn: np.ndarray = (2 * torch.rand(count, generator=g, dtype=torch.float64) - 1).numpy()
    return drawn


def _affine(g: torch.Generator) -> np.ndarray:
    turn, shear, *scales = _uniform(g, 4) * (TURN, SHEAR, SCALE, SCALE)
    c, s = np.cos(turn), np.sin(turn)
    matrix: np.ndarray = (
        np.array([[c, -s], [s, c]]) @ [[1, shear], [0, 1]] @ np.diag(np.exp(scales))
    )
    return matrix


@functools.cache
def deformed_sequences(source: str, copies: int, seed: int) -> np.ndarray:
    """Sequences of bent copies of the training digits, by the same recipe as the digits' own.

    Args:
        source: Key of `shooting.study.data.rotating_mnist.SOURCES`.
        copies: Copies of each training digit.
        seed: Of the deformations.

    Returns:
        Frames ``(copies * n, 16, 28, 28)``, uint8, read-only.
    """
    digits = threes(source)[: SOURCES[source].train]
    drawn = [bent(digits, generator(seed, "deformed", copy)) for copy in range(copies)]
    frames = to_bytes(rotate(np.concatenate(drawn)))
    frames.flags.writeable = False
    return frames
