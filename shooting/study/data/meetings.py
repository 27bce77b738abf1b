"""Bouncing balls told who meets when, and not where to.

A ball flies on sharp until its path leaves that of the ball alone. From then on it is spread out
around the path that it would have had. A predictor that has less error has to know more than that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shooting.study.data import bouncing_balls as balls
from shooting.study.data.trivial_predictors import SEEN, STEPS, TUNED, alone, blurred, picture

NAME = "… and who meets when, but not where to"
RATES = np.arange(0.45, 1.06, 0.15)  # of the spread, in pixels a frame
OUTSIDE = 10 * balls.BOX  # where a ball is not seen


def guess(test: int) -> tuple[np.ndarray, float]:
    """The prediction for test sequences, and its rate, fitted on `TUNED` training sequences.

    Args:
        test: Test sequences.

    Returns:
        Frames ``(test, 10, 28, 28)`` and pixels a frame.
    """
    truth = balls.sequences("train", TUNED)[:, SEEN : SEEN + STEPS] / 255
    tuned = parts("train", TUNED)
    rate = min(RATES, key=lambda r: float(((spread(tuned, r) - truth) ** 2).mean()))
    return spread(parts("test", test), rate), float(rate)


def parts(split: str, count: int) -> list[np.ndarray]:
    """Pictures of the balls that met others so many frames ago, by the number of frames.

    Args:
        split: Of which the sequences are.
        count: How many.

    Returns:
        Of age 0, not yet met, ``(count, 10, 28, 28)``; of age a those from the a-th step on.
    """
    x, v = (whole[:, SEEN - 1 : SEEN + STEPS] for whole in balls.trajectories(split, count))
    free = alone(x[:, 0], v[:, 0])
    age = ages(free, x[:, 1:])
    return [
        picture(np.where((age == a)[..., None], free, OUTSIDE)[:, max(a - 1, 0) :])
        for a in range(STEPS + 1)
    ]


def ages(free: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Frames since each ball left its free path, this one included; 0 before.

    Args:
        free: Paths of the balls alone ``(n, times, balls, 2)``.
        true: Their paths, likewise.

    Returns:
        Whole numbers ``(n, times, balls)``.
    """
    # rounding is far below, and a collision that matters far above
    left = (np.abs(free - true) > 1e-9).any(-1)
    found: np.ndarray = np.maximum.accumulate(left, axis=1).cumsum(1)
    return found


def spread(layers: Sequence[np.ndarray], rate: float) -> np.ndarray:
    """Frames ``(n, 10, 28, 28)`` in which a ball of age a is blurred by `rate` times a pixels."""
    frames = layers[0].copy()
    for a, layer in enumerate(layers[1:], 1):
        frames[:, a - 1 :] += blurred(layer, rate * a)
    return frames
