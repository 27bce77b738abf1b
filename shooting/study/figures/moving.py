"""A flow of the plane as a moving picture: one piece of HTML, no script, nothing to load.

Two drawings of the same frames: one that moves (SVG with SMIL) and a still of four depths. The
still is what is seen on paper, by readers who ask their system for less motion, and on request.
Lines and words take the colour of the page's text, so that both are readable in dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from matplotlib.colors import to_hex
from torch import Tensor

from shooting.parametrizations import DynamicParticles
from shooting.study.figures.style import PALETTE
from shooting.study.paths import figures_folder
from shooting.study.storage import atomic_write

WIDTH = 600  # of the drawing in its own units: whole numbers are then finer than a pixel
SECONDS = 7
# Shares of the period: rest at depth 0, move, rest at the end, fade, begin again.
START, END, FADE = 0.12, 0.72, 0.95
STILLS = 4
STYLE = """<style>
.moving{margin:1.2rem 0}.moving svg{display:block;width:100%;height:auto;max-width:44rem}
.moving text{fill:currentColor;font:16px sans-serif}
.moving .still text{font-size:26px}
.moving .still,.moving:has(input:checked) .moves{display:none}
.moving:has(input:checked) .still{display:block}
@media print{.moving .moves,.moving label{display:none!important}
.moving .still{display:block!important}}
@media (prefers-reduced-motion:reduce){.moving .moves,.moving label{display:none!important}
.moving .still{display:block!important}}
</style>"""


@dataclass(frozen=True)
class Frames:
    """What moves, at equally spaced depths from 0 to the end.

    Attributes:
        mesh: Images of a square grid of points ``(depths, n, n, 2)``.
        classes: Points of each class, ``(depths, points, 2)`` each.
        particles: Positions of the particles ``(depths, K, 2)``.
        momenta: Their momenta ``(depths, K, 2)``.
    """

    mesh: np.ndarray
    classes: Sequence[np.ndarray]
    particles: np.ndarray
    momenta: np.ndarray

    def __post_init__(self) -> None:
        depths = {len(part) for part in (self.mesh, *self.classes, self.particles, self.momenta)}
        if len(depths) > 1 or min(depths) < STILLS:
            raise ValueError(
                f"expected as many depths everywhere, at least {STILLS}, got {sorted(depths)}; "
                "try the same list of depths for the data and the particles"
            )


@torch.no_grad()
def film(
    flow: DynamicParticles,
    classes: Sequence[Tensor],
    *,
    edge: float,
    mesh: int = 13,
    count: int = 11,
) -> Frames:
    """Follow a square grid, points of each class and the particles through the plane.

    Args:
        flow: A model of states in the plane; its first run is shown.
        classes: Points of each class ``(n, 2)``.
        edge: Half-width of the square.
        mesh: Grid points on each side.
        count: Depths from 0 to 1.

    Returns:
        The frames.
    """
    depths, axis = torch.linspace(0, 1, count), torch.linspace(-edge, edge, mesh)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    square = flow(torch.stack([first.flatten(), second.flatten()], -1), depths)[0, ..., :2]
    q, p = flow.particle_path(depths)
    return Frames(
        square.unflatten(1, (mesh, mesh)).numpy(),
        [flow(points, depths)[0, ..., :2].numpy() for points in classes],
        q[0, ..., :2].numpy(),
        p[0, ..., :2].numpy(),
    )


def moving(frames: Frames, name: str, *, caption: str, alt: str) -> str:
    """The flow as HTML.

    Args:
        frames: What moves.
        name: Of the file that `save_movie` writes, which the page offers below.
        caption: Text below, may hold HTML.
        alt: What can be seen, for those who cannot.

    Returns:
        A figure element with its own style; under 150 kB for eleven depths of a 13 by 13 grid.
    """
    words = escape(alt, quote=True)
    return figure(name, movie(frames, words) + still(frames, words), "depths", caption)


def movie(frames: Frames, words: str) -> str:
    """The moving drawing alone, as a file of its own may hold it."""
    place = _Place.around(frames)
    drawn = _layers(frames, place, slice(None))
    below = rail(place.height + 24, "depth t = 0", "t = 1")
    fade = (
        f'<animate attributeName="opacity" dur="{SECONDS}s" repeatCount="indefinite" '
        f'values="0;1;1;0" keyTimes="0;{START / 3:.2f};{FADE};1"/>'
    )
    return svg("moves", place.height + 48, words, f"<g>{fade}{drawn}</g>{below}")


def still(frames: Frames, words: str) -> str:
    """Four depths side by side, two to a row."""
    place, depths = _Place.around(frames), len(frames.mesh)
    height = place.height + 40
    panels = []
    for n, k in enumerate(np.linspace(0, depths - 1, STILLS).round().astype(int)):
        column, row = n % 2, n // 2
        title = f'<text x="10" y="26">t = {k / (depths - 1):.1f}</text>'
        drawn = _layers(frames, place, slice(k, k + 1))
        panels.append(
            f'<g transform="translate({column * WIDTH / 2:g} {row * height / 2:g}) scale(.5)">'
            f'{title}<g transform="translate(0 30)">{drawn}</g></g>'
        )
    return svg("still", height, words, "".join(panels))


def save_movie(frames: Frames, name: str, alt: str) -> None:
    """Write the moving drawing as an SVG into ``$SHOOTING_FIGDIR``, if that is set."""
    write(name, movie(frames, escape(alt, quote=True)))


def write(name: str, drawing: str) -> None:
    """Write a drawing as an SVG into ``$SHOOTING_FIGDIR``, if that is set."""
    folder = figures_folder()
    if folder is not None:
        atomic_write(folder / f"{name}.svg", drawing.encode())


def figure(name: str, drawings: str, places: str, caption: str) -> str:
    """A figure element with its own style, around a drawing that moves and its still."""
    return (
        f'{STYLE}<figure class="moving" data-name="{name}">{drawings}'
        f'<label><input type="checkbox"> hold still: four {places} side by side</label>'
        f"<figcaption><p>{caption}</p></figcaption></figure>"
    )


def rail(low: int, first: str, last: str) -> str:
    """A dot that runs from the first to the last place, at this height."""
    return (
        f'<path d="M150 {low}H450" stroke="currentColor" stroke-opacity=".4"/>'
        f'<circle r="5" cy="{low}" fill="currentColor">{animate("cx", ["150", "450"])}</circle>'
        f'<text x="142" y="{low + 5}" text-anchor="end">{first}</text>'
        f'<text x="458" y="{low + 5}">{last}</text>'
    )


def svg(name: str, height: int, words: str, body: str) -> str:
    """A drawing `WIDTH` wide, of a class and with words for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{name}" role="img" aria-label="{words}" '
        f'viewBox="0 0 {WIDTH} {height}">{body}</svg>'
    )


@dataclass(frozen=True)
class _Place:
    """Maps the plane to the drawing: the second axis points up, whole numbers come out."""

    left: float
    top: float
    scale: float
    height: int

    @classmethod
    def around(cls, frames: Frames) -> _Place:
        every = [frames.mesh, *frames.classes, frames.particles]
        flat = np.concatenate([part.reshape(-1, 2) for part in every])
        low, high = flat.min(0), flat.max(0)
        margin = 0.03 * (high - low).max()
        scale = WIDTH / (high[0] - low[0] + 2 * margin)
        height = round(float(scale * (high[1] - low[1] + 2 * margin)))
        return cls(float(low[0] - margin), float(high[1] + margin), float(scale), height)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        moved = np.stack([points[..., 0] - self.left, self.top - points[..., 1]], -1)
        return (self.scale * moved).round().astype(int)


def _layers(frames: Frames, place: _Place, depths: slice) -> str:
    """Grid, classes, and on top the particles, at some depths."""
    mesh = place(frames.mesh[depths])
    tracks = [mesh[:, i] for i in range(mesh.shape[1])]
    tracks += [mesh[:, :, j] for j in range(mesh.shape[2])]
    grid = "".join(f"<path{attribute('d', [line(f) for f in track])}</path>" for track in tracks)
    drawn = f'<g fill="none" stroke="currentColor" stroke-opacity=".3">{grid}</g>'
    for colour, points in zip((PALETTE[1], PALETTE[0]), frames.classes, strict=True):
        dots = _dots(place(points[depths]), 4)
        drawn += f'<g fill="{to_hex(colour)}">{dots}</g>'
    reach = 0.13 * WIDTH / place.scale / max(1e-9, float(np.abs(frames.momenta).max()))
    tips = place(frames.particles[depths] + reach * frames.momenta[depths])
    centres = place(frames.particles[depths])
    drawn += f'<g stroke="currentColor" stroke-width="2.5">{_arrows(centres, tips)}</g>'
    return drawn + f'<g fill="currentColor">{_dots(centres, 7)}</g>'


def _dots(points: np.ndarray, radius: int) -> str:
    """Circles at points ``(depths, n, 2)``."""
    return "".join(
        f'<circle r="{radius}"{_attributes(("cx", "cy"), track)}</circle>'
        for track in points.transpose(1, 2, 0)
    )


def _arrows(starts: np.ndarray, ends: np.ndarray) -> str:
    """Lines between points ``(depths, n, 2)``."""
    both = np.concatenate([starts, ends], -1)
    return "".join(
        f"<line{_attributes(('x1', 'y1', 'x2', 'y2'), track)}</line>"
        for track in both.transpose(1, 2, 0)
    )


def line(points: np.ndarray) -> str:
    """A line through points ``(n, 2)``: the first place, then steps."""
    steps = np.diff(points, axis=0)
    return f"M{points[0, 0]} {points[0, 1]}l" + " ".join(f"{dx} {dy}" for dx, dy in steps)


def attribute(name: str, values: Sequence[str]) -> str:
    """The end of an opening tag: the first value and, if there are more, their animation."""
    return f' {name}="{values[0]}">' + (animate(name, values) if len(values) > 1 else "")


def _attributes(names: Sequence[str], tracks: np.ndarray) -> str:
    first = "".join(f' {n}="{track[0]}"' for n, track in zip(names, tracks, strict=True))
    more = tracks.shape[1] > 1
    moves = [animate(n, [str(v) for v in t]) for n, t in zip(names, tracks, strict=True) if more]
    return f"{first}>{''.join(moves)}"


def animate(name: str, values: Sequence[str]) -> str:
    """The values over the moving share of the period, at rest before and after."""
    times = np.linspace(START, END, len(values))
    keys = ";".join(f"{t:.3g}" for t in (0, *times, 1))
    listed = ";".join([values[0], *values, values[-1]])
    return (
        f'<animate attributeName="{name}" dur="{SECONDS}s" repeatCount="indefinite" '
        f'keyTimes="{keys}" values="{listed}"/>'
    )
