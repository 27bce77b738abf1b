"""Bouncing balls, made as the published ones were, and the predictors that cost nothing.

Three balls of radius 1.2 fly in the box [0, 10]^2 (Sutskever et al. 2008). Each oddity of the
published simulation is kept: velocities are scaled jointly, walls reverse a velocity without moving
the ball out, and two balls exchange velocities as long as they overlap, approaching or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from shooting.errors import require_choice, require_count
from shooting.randomness import generator
from shooting.study.data.pixels import sha256, to_bytes
from shooting.study.paths import state_folder
from shooting.study.storage import CorruptFileError, atomic_write

BOX, RADIUS, BALLS, FRAMES = 10.0, 1.2, 3, 20
SUBSTEP = 0.5  # two substeps a frame
SPEED = 0.5  # joint: the sum of squared speeds is its square
DRAWN, SIDE = 32, 28  # frames are drawn at 32 x 32 and shrunk to 28 x 28
SPLITS = {"train": 10_000, "validation": 500, "test": 500}
SIDES = (SIDE, DRAWN)
SLICE = 20  # sequences whose checksum is committed
CHECKSUMS = {
    ("train", 28): "d0c9c4e80e22f96deb47527f6cbbb4fbbc1f39b256b1cfb30ce35c56c70e5efc",
    ("validation", 28): "1871d01c75d6ffca3953504320f7a36d2651887d9e94de70ad41cfb21b8aba58",
    ("test", 28): "c72c534e76e6af3c97a049f167d65b68d4b994d9bca1a93df68a95a730ef1bd3",
    ("train", 32): "ab8f2255f1ab12e525cac3be8ee5db307a62a8fe7f1d78d638237b9bdcb17265",
    ("validation", 32): "f7321e863ca00e823e2087ffd9d0f396936d4a2c6d086ae13559efddba160df9",
    ("test", 32): "fa127a1a9d971c9abbf419a9f6f4705b16220a1f6793720e62dcd5f1b292d70c",
}
CANDIDATES = 32  # positions drawn at a time; about one in seven is accepted


# --- dynamics ------------------------------------------------------------------------------


def initial(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """State of the first frame of one sequence, a function of split and index alone.

    Args:
        split: Key of `SPLITS`.
        index: Number of the sequence.

    Returns:
        Positions and velocities ``(3, 2)``.
    """
    g = generator(0, "balls", split, index)
    velocity = torch.randn(BALLS, 2, generator=g, dtype=torch.float64).numpy()
    velocity = SPEED * velocity / np.sqrt((velocity**2).sum())
    while True:
        # the published draw is from [2, 10]^2: no ball ever starts between 1.2 and 2
        unit = torch.rand(CANDIDATES, BALLS, 2, generator=g, dtype=torch.float64).numpy()
        fine = np.flatnonzero(admissible(2 + 8 * unit))
        if len(fine):
            return 2 + 8 * unit[fine[0]], velocity


def admissible(x: np.ndarray) -> np.ndarray:
    """Whether balls lie in the box and apart; positions ``(*n, balls, 2)``, result ``(*n,)``."""
    inside = ((x >= RADIUS) & (x <= BOX - RADIUS)).all((-2, -1))
    apart = [((x[..., i, :] - x[..., j, :]) ** 2).sum(-1) >= 4 * RADIUS**2 for i, j in pairs(x)]
    return np.logical_and.reduce([inside, *apart])


def pairs(x: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of balls i > j in the order in which collisions are resolved."""
    return ((i, j) for i in range(x.shape[-2]) for j in range(i))


def substep(x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fly for half a time unit, then reverse at walls, then resolve overlapping pairs.

    Args:
        x: Positions ``(*n, balls, 2)``.
        v: Velocities, likewise.

    Returns:
        New positions and velocities.
    """
    x = x + SUBSTEP * v
    v = np.where(x < RADIUS, np.abs(v), v)  # positions stay: a ball sinks in by up to a quarter
    v = np.where(x > BOX - RADIUS, -np.abs(v), v)
    for i, j in pairs(x):
        v = collide(x, v, i, j)
    return x, v


def collide(x: np.ndarray, v: np.ndarray, i: int, j: int) -> np.ndarray:
    """Balls i and j of equal mass exchange their velocities along the line of centres.

    They do so whenever they overlap, also when they part already: a pair that still overlaps at the
    next substep swaps back (it sticks), as in the published data.

    Args:
        x: Positions ``(*n, balls, 2)``.
        v: Velocities, likewise.
        i: One ball.
        j: The other.

    Returns:
        New velocities; those of pairs apart are untouched.
    """
    gap = x[..., i, :] - x[..., j, :]
    distance = np.sqrt((gap**2).sum(-1, keepdims=True))
    along = gap / np.where(distance > 0, distance, 1)
    exchange = along * (along * (v[..., j, :] - v[..., i, :])).sum(-1, keepdims=True)
    exchange = np.where(distance < 2 * RADIUS, exchange, 0.0)
    v = v.copy()
    v[..., i, :] += exchange
    v[..., j, :] -= exchange
    return v


def simulate(x: np.ndarray, v: np.ndarray, frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories, all sequences at once; the first frame is the initial state.

    Args:
        x: Initial positions ``(*n, balls, 2)``.
        v: Initial velocities, likewise.
        frames: How many, one time unit apart.

    Returns:
        Positions and velocities ``(*n, frames, balls, 2)``.
    """
    states = [(x, v)]
    for _ in range(frames - 1):
        states.append(substep(*substep(*states[-1])))
    places, speeds = zip(*states, strict=True)
    return np.stack(places, axis=-3), np.stack(speeds, axis=-3)


def trajectories(split: str, count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of `count` sequences of a split, ``(count, 20, 3, 2)``."""
    states = [initial(split, index) for index in range(start, start + count)]
    x, v = (np.stack(part) for part in zip(*states, strict=True))
    return simulate(x, v)


# --- drawing -------------------------------------------------------------------------------


def draw(x: np.ndarray, side: int = DRAWN) -> np.ndarray:
    """Images of balls: the sum of exp(-(d/r)^8), at most 1.

    Args:
        x: Positions ``(*n, balls, 2)``; the first coordinate runs along columns.
        side: Pixels a side.

    Returns:
        Images ``(*n, side, side)`` in [0, 1].
    """
    centres = (np.arange(side) + 0.5) * BOX / side
    across, down = (((centres - x[..., k, None]) / RADIUS) ** 2 for k in (0, 1))
    image = np.zeros((*x.shape[:-2], side, side))
    for ball in range(x.shape[-2]):
        square = down[..., ball, :, None] + across[..., ball, None, :]
        square *= square
        square *= square
        image += np.exp(-square)
    return np.minimum(image, 1.0)


def shrink(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Antialiased bilinear shrinking, ``(*n, larger, larger)`` to ``(*n, side, side)``."""
    weights = triangle_weights(images.shape[-1], side)
    smaller: np.ndarray = weights @ images @ weights.T
    return smaller


def triangle_weights(larger: int, smaller: int) -> np.ndarray:
    """Rows of a triangle filter as wide as the scale, each of sum 1; ``(smaller, larger)``."""
    scale = larger / smaller
    centres = (np.arange(smaller) + 0.5) * scale
    distance = np.abs(np.arange(larger) + 0.5 - centres[:, None]) / scale
    weights = np.maximum(1 - distance, 0)
    rows: np.ndarray = weights / weights.sum(1, keepdims=True)
    return rows


def make(split: str, count: int, side: int = SIDE, start: int = 0) -> np.ndarray:
    """Simulate and draw sequences.

    Args:
        split: Key of `SPLITS`.
        count: How many.
        side: 28 (shrunk, as the published numbers used) or 32 (as drawn).
        start: Number of the first sequence.

    Returns:
        Frames ``(count, 20, side, side)``, uint8.
    """
    frames = np.empty((count, FRAMES, side, side), np.uint8)
    positions = trajectories(split, count, start)[0]
    for k in range(count):  # one sequence at a time fits into the processor's cache
        images = draw(positions[k])
        frames[k] = to_bytes(images if side == DRAWN else shrink(images, side))
    return frames


# --- the cache -----------------------------------------------------------------------------


def sequences(split: str, count: int | None = None, side: int = SIDE) -> np.ndarray:
    """The first sequences of a split, made once and then read from the state folder.

    Args:
        split: Key of `SPLITS`.
        count: How many; all by default.
        side: 28 or 32.

    Returns:
        Frames ``(count, 20, side, side)``, uint8, read-only.

    Raises:
        ValueError: If split, count or side is unknown.
        CorruptFileError: If the file, or what this machine makes, is not what was committed.
    """
    count = _check(split, count, side)
    path = cache_path(split, count, side)
    if path.exists():
        frames = _read(path, (count, FRAMES, side, side))
    else:
        frames = make(split, count, side)
        _check_slice(frames, split, side, "other numbers come out of this machine's arithmetic")
        atomic_write(path, sha256(frames).encode() + frames.tobytes())
    _check_slice(frames, split, side, f"{path} holds other balls; {_remedies(path)}")
    frames.flags.writeable = False
    return frames


def cache_path(split: str, count: int, side: int) -> Path:
    """Where sequences are kept: a checksum of 64 letters, then the bytes of the frames."""
    return state_folder() / "data" / f"balls-{split}-{count}-{side}.bin"


def _check(split: str, count: int | None, side: int) -> int:
    require_choice(split, SPLITS, "a split")
    require_choice(side, SIDES, "a side")
    most = SPLITS[split]
    return most if count is None else require_count(count, "the count", most=most)


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    data = path.read_bytes()
    claimed, content = data[:64].decode(errors="replace"), data[64:]
    if hashlib.sha256(content).hexdigest() != claimed or len(content) != np.prod(shape):
        raise CorruptFileError(
            f"expected in {path.name} the frames it was written with, got others; {_remedies(path)}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _remedies(path: Path) -> str:
    return (
        f"delete {path}, so that the balls are simulated again in a minute, or name another "
        "folder in $SHOOTING_STATE"
    )


def _check_slice(frames: np.ndarray, split: str, side: int, why: str) -> None:
    if len(frames) < SLICE:
        return
    found, known = sha256(frames[:SLICE]), CHECKSUMS[split, side]
    if found != known:
        raise CorruptFileError(
            f"expected the first balls of {split} with sha256 {known[:12]}…, got {found[:12]}…: "
            f"{why}"
        )
