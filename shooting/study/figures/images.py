"""Rotating threes: predicted sequences, errors at the left-out angle, latent paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from shooting.study.data.rotating_mnist import ANGLES
from shooting.study.experiments.latent import components, shares
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.rotating_mnist import HELD_OUT
from shooting.study.figures.regression import Drawn
from shooting.study.figures.style import MODEL_COLOURS, PALETTE, WIDTH, Colours

DEGREES = np.degrees(ANGLES)
MARKERS = "^sDv*Ph"  # of predictors that cost nothing: colours are for models
ERRORS = (0.001, 0.002, 0.005, 0.01, 0.02)  # marks of an axis over little more than a decade
SCALE = 0.88  # of a wall of images, beside its names


def predictions(truth: np.ndarray, predicted: Mapping[str, np.ndarray]) -> Figure:
    """Whole sequences: truth above each prediction, one block of rows per digit.

    Args:
        truth: Frames ``(n, 16, 28, 28)``, bytes or in [0, 1]; of further digits none is drawn.
        predicted: Likewise, by the name at the left of the row.

    Returns:
        The figure; the left-out angle is framed.
    """
    names = ["truth", *predicted]
    count = min(map(len, predicted.values()))
    stacked = np.stack([truth[:count], *(p[:count] for p in predicted.values())], axis=1)
    rows = stacked.reshape(-1, *stacked.shape[2:])
    high, steps, side, _ = rows.shape
    wall = rows.transpose(0, 2, 1, 3).reshape(high * side, steps * side)
    fig, ax = plt.subplots(figsize=(WIDTH, SCALE * WIDTH * high / steps + 0.4))
    top = 255 if wall.dtype == np.uint8 else 1
    ax.imshow(wall, cmap="gray", vmin=0, vmax=top, interpolation="none")  # keeps an SVG small
    ax.set_xticks((np.arange(steps) + 0.5) * side, [f"{d:.0f}°" for d in DEGREES], fontsize=8)
    ax.set_yticks((np.arange(high) + 0.5) * side, names * count, fontsize=8)
    ax.axvspan(HELD_OUT * side, (HELD_OUT + 1) * side - 1, fill=False, ec=PALETTE[1], lw=2)
    between = np.arange(1, count) * len(names) * side - 0.5
    ax.hlines(between, -0.5, steps * side - 0.5, color="w", lw=1.5)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    return fig


def error_left_out(
    results: Sequence[Drawn],
    trivial: Mapping[str, float],
    *,
    digits: int = 100,
    colours: Colours = MODEL_COLOURS,
) -> Figure:
    """Test error at the left-out angle, a labelled dot for each predictor, the lowest on top.

    Args:
        results: Runs.
        trivial: Error of each trivial predictor.
        digits: Test digits behind the standard error of a run.
        colours: Of the models.

    Returns:
        The figure; the bar through a run's dot is one standard error to each side.
    """
    rows = [(value, 0.0, name, "0.35") for name, value in trivial.items()]
    for r in results:
        spread = float(r.metrics["mse_std"][0]) / digits**0.5
        model = r.config.model
        name, colour = MODELS.get(model, model), colours[model]
        rows.append((float(r.metrics["mse"][0]), spread, name, colour))
    rows.sort(key=lambda row: row[0])
    fig, ax = plt.subplots(figsize=(WIDTH, 0.32 * len(rows) + 0.6))
    for k, (value, spread, _, colour) in enumerate(rows):
        ax.errorbar(value, k, xerr=spread or None, fmt="o", color=colour)
        ax.annotate(f"{value:.4f}", (value + spread, k), xytext=(7, 0), fontsize=9,
                    textcoords="offset points", va="center", color="0.25")  # fmt: skip
    ax.set_yticks(range(len(rows)), [name for *_, name, _ in rows])
    ax.set(xscale="log", xlabel="squared error per pixel at 72°, test digits")
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0.0008, 0.07))
    marks = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
    ax.set_xticks(marks, [f"{mark:g}" for mark in marks])
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    return fig


def one_path(result: Drawn, digit: int = 0) -> Figure:
    """One latent path on equal axes with the digits that are drawn from it; a circle beside it.

    Args:
        result: A run.
        digit: Which of the test digits whose drawings are kept.

    Returns:
        The figure. Left: the path in its own two principal components. Right: the same digits on a
        circle, what a path that turns would look like.
    """
    path = components(result.arrays["paths"][0][digit : digit + 1])[0, :, :2]
    frames = result.arrays["predicted"][0][digit]
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 1.9), width_ratios=(3.4, 1))
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
    for ax, points, away, every in ((left, path, (0, 20), 1), (right, circle, (0, 0), 3)):
        ax.plot(*points.T, color="0.6", lw=1.0)
        ax.scatter(*points.T, c=DEGREES, cmap="twilight", s=22, zorder=3, edgecolor="0.3", lw=0.4)
        for k in range(0, len(points) - (every > 1), every):  # a circle ends where it starts
            picture = OffsetImage(frames[k], zoom=0.72, cmap="gray", norm=Normalize(0, 255))
            ax.add_artist(AnnotationBbox(picture, points[k], away, frameon=False,
                                         boxcoords="offset points"))  # fmt: skip
        ax.set_aspect("equal")
    length = np.abs(path[:, 0]).max()
    left.set(xlabel="first component", ylabel="second", yticks=[0])
    left.set(xlim=(-1.07 * length, 1.07 * length), ylim=(-0.08 * length, 0.25 * length))
    right.set(xticks=[], yticks=[], xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    for spine in right.spines.values():
        spine.set_visible(False)
    model = MODELS.get(result.config.model, result.config.model)
    left.set_title(f"{model}: a straight path", fontsize=9)
    right.set_title("if the path turned", fontsize=9)
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
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
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
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def latent_picture(
    results: Sequence[Drawn], contrast: np.ndarray | None = None, count: int = 30
) -> Figure:
    """Latent paths by the paper's recipe, and below them the same paths on equal axes.

    The recipe: each path in its own two principal components, all of a model in one panel, each
    axis with a scale of its own and without numbers, coloured by the angle.

    Args:
        results: Runs, one column each.
        contrast: Paths ``(n, 16, d)`` of a last column: what turning paths would look like.
        count: Paths a panel.

    Returns:
        The figure; the upper panels say how much of the variance their vertical axis has.
    """
    columns = {MODELS[r.config.model]: r.arrays["paths"][0][:count] for r in results}
    columns |= {} if contrast is None else {"for contrast: a circle": contrast}
    fig, axes = plt.subplots(2, len(columns), figsize=(WIDTH, 3.9), squeeze=False,
                             gridspec_kw={"height_ratios": (3, 2)})  # fmt: skip
    for (above, below), (name, paths) in zip(axes.T, columns.items(), strict=True):
        flat, part = components(paths)[..., :2], float(np.median(shares(paths)[:, 1]))
        for ax in (above, below):
            _overlay(ax, flat)
            ax.set(xticks=[], yticks=[])
        above.set_title(name, fontsize=9)
        above.set_xlabel(f"vertical axis: {_percent(part)}\nof the variance", fontsize=8)
        below.set_aspect("equal", adjustable="datalim")
    for ax, words in zip(axes[:, 0], ("the paper's recipe", "equal axes"), strict=True):
        ax.set_ylabel(words)
    scale = fig.colorbar(axes[0, 0].collections[0], ax=axes, location="bottom", aspect=50,
                         shrink=0.6, pad=0.03, ticks=[0, 90, 180, 270, 360])  # fmt: skip
    scale.outline.set_visible(False)
    scale.set_label("angle [degrees]", fontsize=8)
    return fig


def _overlay(ax: Axes, flat: np.ndarray) -> None:
    """Paths ``(n, 16, 2)`` in one panel, coloured by the angle."""
    for path in flat:
        pieces = LineCollection(list(np.stack([path[:-1], path[1:]], 1)), lw=1, cmap="twilight")
        pieces.set_array(DEGREES[:-1])
        pieces.set_clim(0, 360)
        pieces.set_rasterized(True)
        ax.add_collection(pieces)
    ax.autoscale_view()


def _percent(part: float) -> str:
    """A share in per cent: plain where it can be read, else a power of ten."""
    if part >= 1e-3:
        return f"{100 * part:.2g} %"
    digits, power = f"{100 * part:.0e}".split("e")
    return f"${digits}\\cdot10^{{{int(power)}}}$ %"
