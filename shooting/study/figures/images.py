"""Rotating threes: predicted sequences, errors over the angle, latent paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from shooting.study.data.rotating_mnist import ANGLES
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.rotating_mnist import HELD_OUT
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, Colours

DEGREES = np.degrees(ANGLES)
MARKERS = "^sDv*Ph"  # of predictors that cost nothing: colours are for models
ERRORS = (0.001, 0.002, 0.005, 0.01, 0.02)  # marks of an axis over little more than a decade
FLATTEST = 0.3  # least height of a panel of latent paths, over its width


def sequences(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Truth above prediction, one pair of rows per digit; the left-out angle is framed.

    Args:
        truth: Frames ``(n, 16, 28, 28)``.
        predicted: Likewise.

    Returns:
        The figure.
    """
    count, steps, side, _ = predicted.shape
    rows = np.stack([truth[:count], predicted], axis=1).reshape(2 * count, steps, side, side)
    wall = rows.transpose(0, 2, 1, 3).reshape(2 * count * side, steps * side)
    fig, ax = plt.subplots(figsize=(7.4, 7.4 * 2 * count / steps + 0.4))
    ax.imshow(wall, cmap="gray", vmin=0, vmax=255 if wall.dtype == np.uint8 else 1)
    ax.set_xticks((np.arange(steps) + 0.5) * side, [f"{d:.0f}°" for d in DEGREES], fontsize=8)
    names = ["truth", "prediction"] * count
    ax.set_yticks((np.arange(2 * count) + 0.5) * side, names, fontsize=8)
    ax.axvspan(HELD_OUT * side, (HELD_OUT + 1) * side - 1, fill=False, ec=PALETTE[1], lw=2)
    ax.hlines(np.arange(1, count) * 2 * side - 0.5, -0.5, steps * side - 0.5, color="w", lw=1.5)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    return fig


def error_by_angle(
    results: Sequence[Drawn], trivial: Mapping[str, float], *, colours: Colours = MODEL_COLOURS
) -> Figure:
    """Test error against the angle, one line per run, beside predictors that cost nothing.

    Args:
        results: Runs.
        trivial: Error of each trivial predictor at the left-out angle.
        colours: Of the models.

    Returns:
        The figure; the left-out angle is marked.
    """
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for r in results:
        label = f"{MODELS.get(r.config.model, r.config.model)}, {r.config.label}"
        ax.plot(DEGREES, r.arrays["misses"][0], "o-", ms=4, label=label,
                color=colours[r.config.model])  # fmt: skip
    ax.axvline(DEGREES[HELD_OUT], color="0.6", lw=6, alpha=0.35, zorder=0)
    for k, (name, value) in enumerate(trivial.items()):
        ax.plot(DEGREES[HELD_OUT], value, MARKERS[k], ms=7, mfc="none", color="0.15", label=name)
    ax.set(xlabel="angle [degrees]", ylabel="squared error per pixel", yscale="log")
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def error_by_dimension(
    results: Sequence[Drawn],
    variants: Sequence[Drawn],
    linear: Mapping[int, float],
    *,
    colours: Colours = MODEL_COLOURS,
) -> Figure:
    """Test error at the left-out angle against the latent dimension.

    Args:
        results: Runs of one model; each dimension may have several seeds.
        variants: Runs of `shooting.study.experiments.variants`, marked by their labels.
        linear: Error of the best affine map through so many dimensions.
        colours: Of the models.

    Returns:
        The figure; a line joins means over seeds, with a second one for the decoder's own error.
    """
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    dims = sorted({r.config.latent for r in results})
    for key, name, style in (("mse", "prediction", "o-"), ("decoder_mse", "its decoder", "s:")):
        of = {d: [r.metrics[key][0] for r in results if r.config.latent == d] for d in dims}
        model = results[0].config.model
        label, colour = f"{MODELS.get(model, model)}: {name}", colours[model]
        ax.plot(dims, [np.mean(of[d]) for d in dims], style, ms=4, color=colour, label=label)
        each = [(d, value) for d in dims for value in of[d]]
        ax.plot(*zip(*each, strict=True), style[0], ms=6, mfc="none", color=colour)
    for k, r in enumerate(variants):
        ax.plot(r.config.latent, r.metrics["mse"][0], MARKERS[k], ms=8,
                color=colours[r.config.model], mec="0.15", label=r.config.label)  # fmt: skip
    ax.plot(list(linear), list(linear.values()), "--", color="0.35", label="best linear map")
    ax.set(xlabel="latent dimension", ylabel="squared error per pixel", xscale="log", yscale="log")
    ax.set_xticks(list(linear), [str(d) for d in linear])
    ax.set_yticks(ERRORS, [f"{e:g}" for e in ERRORS])
    ax.minorticks_off()
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def latent_paths(results: Sequence[Drawn], count: int = 12) -> Figure:
    """Latent paths in the plane of each path's two principal components, coloured by angle.

    Args:
        results: Runs, one panel each.
        count: Paths a panel.

    Returns:
        The figure; titles give the mean circularity.
    """
    fig, axes = plt.subplots(1, len(results), figsize=(7.4, 2.9), squeeze=False)
    for ax, r in zip(axes[0], results, strict=True):
        for path in r.arrays["paths"][0][:count]:
            flat = plane(path)
            pieces = LineCollection(list(np.stack([flat[:-1], flat[1:]], 1)), lw=1, cmap="twilight")
            pieces.set_array(DEGREES[:-1])
            ax.add_collection(pieces)
        ax.autoscale_view()
        ax.set_aspect("equal")
        room = FLATTEST * np.ptp(ax.get_xlim()) / 2  # a straight path must not shrink its panel
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, (low + high) / 2 - room), max(high, (low + high) / 2 + room))
        ax.set_title(
            f"{MODELS[r.config.model]}\ncircularity {r.metrics['circularity'][0]:.2f}", fontsize=9
        )
        ax.set(xlabel="first component", ylabel="second component")
    return fig


def plane(path: np.ndarray) -> np.ndarray:
    """A path ``(16, d)`` in its two principal components, ``(16, 2)``; the start lies left."""
    centred = path - path.mean(0)
    main = np.linalg.svd(centred, full_matrices=False)[2][:2]
    flat = centred @ main.T
    return flat * np.where(flat[0] > 0, -1, 1)  # signs of components are arbitrary
