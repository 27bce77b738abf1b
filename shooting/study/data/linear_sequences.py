"""Whole sequences of rotating digits by affine maps, to be seen beside those of a model."""

from __future__ import annotations

import numpy as np

from shooting.study.data.rotating_mnist import ridge


def linear_sequences(
    train: np.ndarray, first: np.ndarray, penalty: float, dim: int | None = None
) -> np.ndarray:
    """Every frame from the first by an affine map of its own.

    Args:
        train: Sequences to fit, ``(m, times, side, side)``.
        first: First frames to continue, ``(n, side, side)``.
        penalty: Of the ridge, the same at every time.
        dim: Dimensions that each map may pass through, as in `linear_bottleneck`; all by default.

    Returns:
        Frames ``(n, times, side, side)``.
    """
    count, times, *image = train.shape
    x, flat = train[:, 0].reshape(count, -1), train.reshape(count, -1)
    asked = np.concatenate([x, first.reshape(len(first), -1)])
    found = ridge((x, flat), asked, penalty).reshape(len(asked), times, -1)  # one factorisation
    if dim is not None:
        offset = train.mean(0).reshape(times, -1)
        found = np.stack(
            [offset[k] + _projected(found[:, k] - offset[k], count, dim) for k in range(times)], 1
        )
    return found[count:].reshape(len(first), times, *image)


def _projected(centred: np.ndarray, fitted: int, dim: int) -> np.ndarray:
    """Rows on the `dim` main directions of the first `fitted` rows."""
    fit = centred[:fitted]
    main = np.linalg.eigh(fit.T @ fit)[1][:, -dim:]
    on_main: np.ndarray = centred @ main @ main.T
    return on_main
