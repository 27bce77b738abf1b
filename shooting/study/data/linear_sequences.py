"""Whole sequences of rotating digits by affine maps, to be seen beside those of a model."""

from __future__ import annotations

import numpy as np

from shooting.study.data.rotating_mnist import Pair, choose_penalty, pairs, ridge


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


def without_frame(train: np.ndarray, first: np.ndarray, index: int, dim: int) -> np.ndarray:
    """One frame from the first by affine maps that were fitted without that frame, as a model is.

    One map leads to the frame before. A second one, fitted to all pairs of neighbouring frames but
    the two with that frame, leads on. Cross-validation of the first chooses the penalty of both.

    Args:
        train: Sequences to fit, ``(m, times, side, side)``, in which each step is the same turn.
        first: First frames, ``(n, side, side)``.
        index: The frame, at least 2.
        dim: Dimensions that the whole map passes through, as in `linear_bottleneck`.

    Returns:
        Frames ``(n, pixels)``.
    """
    before, step = pairs(train, index - 1), _steps(train, index)
    asked = np.concatenate([before[0], first.reshape(len(first), -1)])
    penalty = choose_penalty(before)
    found = ridge(step, ridge(before, asked, penalty), penalty)
    offset = found[: len(train)].mean(0)
    return offset + _projected(found - offset, len(train), dim)[len(train) :]


def _steps(frames: np.ndarray, without: int) -> Pair:
    """Neighbouring frames as rows, all sequences at one time after the other."""
    kept = [k for k in range(frames.shape[1] - 1) if without not in (k, k + 1)]
    flat = frames.reshape(*frames.shape[:2], -1)
    here, there = (np.concatenate([flat[:, k + j] for k in kept]) for j in (0, 1))
    return here, there


def _projected(centred: np.ndarray, fitted: int, dim: int) -> np.ndarray:
    """Rows on the `dim` main directions of the first `fitted` rows."""
    fit = centred[:fitted]
    main = np.linalg.eigh(fit.T @ fit)[1][:, -dim:]
    on_main: np.ndarray = centred @ main @ main.T
    return on_main
