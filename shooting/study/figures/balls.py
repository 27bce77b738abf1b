"""Bouncing balls: predicted sequences and errors over the steps ahead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.experiments.bouncing_balls import PREDICTED, SEEN
from shooting.study.experiments.models import MODELS
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours, PlainLog

STEPS = np.arange(1, 11)
GREYS = ("0.65", "0.45", "0.25")
STYLES = ("o-", "s--", "^-.")  # runs of one model, one after the other


def sequences(truth: np.ndarray, predicted: Sequence[np.ndarray], names: Sequence[str]) -> Figure:
    """Truth above predictions; the frames that the encoder has seen are framed.

    Args:
        truth: Frames ``(n, 20, 28, 28)``, uint8; frames 0 to 12 are drawn.
        predicted: For each model, likewise.
        names: Of the models.

    Returns:
        The figure, one block of rows per sequence.
    """
    last = PREDICTED.stop
    count, side = len(predicted[0]), truth.shape[-1]
    rows = np.stack([truth[:count], *predicted], axis=1)[:, :, :last].reshape(-1, last, side, side)
    high = len(predicted) + 1
    wall = rows.transpose(0, 2, 1, 3).reshape(-1, last * side)
    fig, ax = plt.subplots(figsize=(WIDTH, WIDTH * len(rows) / last + 0.4))
    ax.imshow(wall, cmap="gray", vmin=0, vmax=255)
    ax.set_xticks((np.arange(last) + 0.5) * side, [str(k) for k in range(last)], fontsize=8)
    ax.set_yticks((np.arange(len(rows)) + 0.5) * side, ["truth", *names] * count, fontsize=8)
    ax.axvspan(-0.5, SEEN * side - 0.5, fill=False, ec=PALETTE[1], lw=2)
    ax.vlines(np.arange(1, last) * side - 0.5, -0.5, len(wall) - 0.5, color="0.35", lw=0.5)
    ax.hlines(np.arange(1, len(rows)) * side - 0.5, -0.5, last * side - 0.5, color="0.35", lw=0.5)
    ax.hlines(np.arange(1, count) * high * side - 0.5, -0.5, last * side - 0.5, color="w", lw=2)
    ax.set_xlabel("frame")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    return fig


def recorded(
    truth: np.ndarray, results: Sequence[Drawn], names: Sequence[str] | None = None, count: int = 2
) -> Figure:
    """Whole sequences of recorded runs below the truth: what the encoder sees, and the next ten.

    Args:
        truth: Frames of the test sequences, ``(n, 20, 28, 28)``, uint8, in their order.
        results: Runs, a row each.
        names: Of the runs; model and protocol by default.
        count: Scenes.

    Returns:
        The figure.
    """
    labels = names or [
        f"{MODELS.get(r.config.model, r.config.model)}, {r.config.protocol}" for r in results
    ]
    return sequences(truth, [r.arrays["predicted"][0][:count] for r in results], labels)


def error_by_step(
    results: Sequence[Drawn],
    others: Mapping[str, Sequence[float]],
    *,
    names: Sequence[str] | None = None,
    colours: Colours = MODEL_COLOURS,
) -> Figure:
    """Test error against the steps ahead, one line per run, beside other predictors.

    Args:
        results: Runs; those of one model have its colour, and each a style of its own.
        others: Errors ``(10,)`` by name, drawn dashed.
        names: Of the runs; the models' names by default.
        colours: Of the models.

    Returns:
        The figure.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    labels = names or [MODELS.get(r.config.model, r.config.model) for r in results]
    _by_step(ax, results, labels, others, colours)
    return fig


def _by_step(
    ax: Axes,
    results: Sequence[Drawn],
    names: Sequence[str],
    others: Mapping[str, Sequence[float]],
    colours: Colours,
) -> None:
    for k, (name, errors) in enumerate(others.items()):
        ax.plot(STEPS, errors, label=name, **_dashed(k))
    for r, name, style in zip(results, names, _styles(results), strict=True):
        error = r.arrays["misses"][0][PREDICTED]
        ax.plot(STEPS, error, style, ms=4, label=name, color=colours[r.config.model])
    ax.set(xlabel="steps ahead", ylabel="squared error per pixel", yscale="log", xticks=STEPS)
    ax.yaxis.set_major_formatter(PlainLog())
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def at_length(
    results: Sequence[Drawn],
    names: Sequence[str],
    levels: Mapping[str, float],
    others: Mapping[str, Sequence[float]],
    *,
    colours: Colours = MODEL_COLOURS,
) -> Figure:
    """Runs, finished or not: validation error after each epoch, test error against steps ahead.

    Args:
        results: Runs, in the colours of their models.
        names: Of the runs.
        levels: Errors of others by name, dashed levels in the upper picture.
        others: Errors ``(10,)`` of others by name, dashed in the lower picture.
        colours: Of the models.

    Returns:
        The figure; the axis of epochs ends with the longest run that was asked for.
    """
    fig, (upper, lower) = plt.subplots(2, figsize=(WIDTH, 7.0))
    _by_epoch(upper, results, names, levels, colours)
    _by_step(lower, results, names, others, colours)
    return fig


def _by_epoch(
    ax: Axes,
    results: Sequence[Drawn],
    names: Sequence[str],
    levels: Mapping[str, float],
    colours: Colours,
) -> None:
    for k, (name, level) in enumerate(levels.items()):
        ax.axhline(level, label=name, **_dashed(k))
    for r, name, style in zip(results, names, _styles(results), strict=True):
        errors = r.arrays["validation"][0]
        epochs = np.arange(1, len(errors) + 1)
        ax.plot(epochs, errors, style, ms=2.5, lw=1.2, label=name, color=colours[r.config.model])
    last = max(r.config.epochs for r in results)
    ax.set(xlabel="epoch", ylabel="squared error per pixel", yscale="log", xlim=(0, last + 1))
    ax.yaxis.set_major_formatter(PlainLog())
    ax.yaxis.set_minor_formatter(PlainLog(minor_thresholds=(2, 0.5)))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _styles(results: Sequence[Drawn]) -> list[str]:
    """A style for each run: runs of one model, which share its colour, differ."""
    drawn: Counter[str] = Counter()
    found = []
    for r in results:
        found.append(STYLES[drawn[r.config.model] % len(STYLES)])
        drawn[r.config.model] += 1
    return found


def _dashed(k: int) -> dict[str, Any]:
    """The look of the k-th line that is no run of ours."""
    return {"ls": (0, (1 + k // 3 * 3, 1.5)), "color": GREYS[k % 3]}
