"""The convex trap as a moving picture: runs side by side while they are trained.

HTML without script, as in `moving`: the still that replaces it on paper, on request and for readers
who ask for less motion shows four epochs of each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.colors import to_hex

from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import marks
from shooting.study.experiments.convexity import (
    best_convex,
    named,
    second_differences,
    tolerance,
)
from shooting.study.figures.convex_trap import BENT, FREE, Row, X
from shooting.study.figures.moving import WIDTH, attribute, figure, line, rail, svg, write
from shooting.study.figures.style import PALETTE

HEIGHT = 200  # of a panel
EVERY = 2  # points of the grid: enough for the eye
FINE = 2  # whole numbers of the drawing per unit, so that lines look smooth
STILLS = (10, 50, 100, 200)


class Panel:
    """One run's curves in the coordinates of a drawing.

    Args:
        row: Name, filmed record and run.
        epochs: Looks to show.
        width: Of the panel.
    """

    def __init__(self, row: Row, epochs: Sequence[int], width: float) -> None:
        self.name, record, run = row
        self.target, self.width = named(record.config.function), width
        looks = list(marks(record.config))
        self.curves = record.arrays["film"][run, [looks.index(e) for e in epochs]]
        low, high = (float(f(self.target(X))) for f in (np.min, np.max))
        self.low, self.high = low - 0.3 * (high - low), high + 0.15 * (high - low)

    def place(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Points of the drawing in units of 1 / `FINE`, whole numbers, ``(n, 2)``."""
        across = 10 + (self.width - 20) * (x + BOUND) / (2 * BOUND)
        up = 30 + (HEIGHT - 30) * (self.high - y) / (self.high - self.low)
        points = np.stack([across, np.clip(up, -HEIGHT, 2 * HEIGHT)], -1)
        return (FINE * points).round().astype(int)

    def draw(self, chosen: slice) -> str:
        """Target, best convex function, and the learned curve at the chosen looks."""
        best = best_convex(self.target, points=len(X))
        fixed = (
            f'<path d="{line(self.place(X, self.target(X)))}" stroke="currentColor" '
            'stroke-width="3" stroke-dasharray="10 8"/>'
            f'<path d="{line(self.place(X, best.values))}" stroke="{to_hex(PALETTE[2])}" '
            'stroke-width="4"/>'
        )
        lines = [line(self.place(X, c)[::EVERY]) for c in self.curves[chosen]]
        bends = [self._bent(c) for c in self.curves[chosen]]
        moved = (
            f'<path{attribute("d", lines)}</path>', f'<path{attribute("d", bends)}</path>'
        )  # fmt: skip
        return (
            f'<g fill="none" transform="scale({1 / FINE:g})">{fixed}'
            f'<g stroke="{to_hex(FREE)}" stroke-width="5">{moved[0]}</g>'
            f'<g stroke="{to_hex(BENT)}" stroke-width="12">{moved[1]}</g></g>'
        )

    def _bent(self, curve: np.ndarray) -> str:
        """A short piece at each point that bends downwards, and a piece of length zero elsewhere.

        Frames can then be turned into each other, as all have as many pieces.
        """
        points = self.place(X, curve)
        down = second_differences(curve) < -tolerance(curve)
        pieces = []
        for k in range(1, len(X) - 1, EVERY):
            bent = down[max(0, k - EVERY) : k].any()
            a, b = (points[k - 1], points[k + 1]) if bent else (points[k], points[k])
            pieces.append(f"M{a[0]} {a[1]}L{b[0]} {b[1]}")
        return "".join(pieces)


def movie(rows: Sequence[Row], words: str, *, last: int = 200) -> str:
    """The moving drawing, from the second look to epoch `last`."""
    width = WIDTH / len(rows)
    epochs = [e for e in marks(rows[0][1].config) if 0 < e <= last]
    body = "".join(
        f'<g transform="translate({n * width:g} 0)"><text x="12" y="20">{escape(panel.name)}'
        f"</text>{panel.draw(slice(None))}</g>"
        for n, panel in enumerate(Panel(row, epochs, width) for row in rows)
    )
    below = rail(HEIGHT + 24, f"epoch {epochs[0]}", str(epochs[-1]))
    return svg("moves", HEIGHT + 48, words, body + below)


def still(rows: Sequence[Row], words: str) -> str:
    """Four epochs side by side, a line per run."""
    width, height = WIDTH / len(STILLS), HEIGHT * 0.62
    panels = []
    for n, row in enumerate(rows):
        panel = Panel(row, STILLS, WIDTH / 2.5)
        for k, epoch in enumerate(STILLS):
            title = f"{panel.name}, {epoch}" if k == 0 else f"{epoch}"
            panels.append(
                f'<g transform="translate({k * width:g} {n * height:g}) scale(.6)">'
                f'<text x="10" y="22">{escape(title)}</text>{panel.draw(slice(k, k + 1))}</g>'
            )
    return svg("still", round(height * len(rows)), words, "".join(panels))


def moving(rows: Sequence[Row], name: str, *, caption: str, alt: str) -> str:
    """Runs side by side as HTML.

    Args:
        rows: Names, filmed records and runs.
        name: Of the file that `save_movie` writes, which the page offers below.
        caption: Text below, may hold HTML.
        alt: What can be seen, for those who cannot.

    Returns:
        A figure element with its own style.
    """
    words = escape(alt, quote=True)
    return figure(name, movie(rows, words) + still(rows, words), "epochs", caption)


def save_movie(rows: Sequence[Row], name: str, alt: str) -> None:
    """Write the moving drawing as an SVG into ``$SHOOTING_FIGDIR``, if that is set."""
    write(name, movie(rows, escape(alt, quote=True)))
