"""The plotting style of the book, and how a figure becomes files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Bbox
from PIL import Image

from shooting.study.figures.contrast import readable
from shooting.study.paths import figures_folder

# Okabe-Ito order of seaborn's "colorblind" palette: distinguishable in every common deficiency
PALETTE: list[tuple[float, float, float]] = [tuple(c) for c in sns.color_palette("colorblind")]
INKS = {readable(c) for c in PALETTE} - set(PALETTE)  # of words that name something in a colour
# Of paths in order; without the ends, which vanish on a dark page or on a white one
PATHS = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.2, 0.75, 256)), "paths")

WIDTH = 7.4  # inches: that of the text, so that letters have one size in all figures
COLOURS = 48  # of an inline figure, besides those of the palette

Colours = Mapping[str, Any]  # whatever Matplotlib takes for a colour, by the name of a model

MODEL_COLOURS: Colours = {
    "static_direct": PALETTE[7],
    "static_particles": PALETTE[1],
    "dynamic_particles": PALETTE[0],
    "dynamic_direct": PALETTE[2],
}

_STYLE: dict[Any, Any] = {
    "figure.figsize": (WIDTH, 3.4),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "svg.fonttype": "path",
    "svg.hashsalt": "shooting",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "cividis",
}


def use_style() -> None:
    """Switch the book's plotting style on (first cell of every notebook)."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(_STYLE)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        plt.switch_backend(mpl.get_backend())  # loads the notebook's backend, whose PNG we replace
        shell.display_formatter.formatters["image/png"].for_type(Figure, small_png)


@contextmanager
def laid_out(fig: Figure) -> Iterator[Bbox]:
    """A figure laid out once for all its files: matplotlib would do it twice for each of them.

    Words in a colour of the palette get a darker one of the same hue that can be read on white.

    Args:
        fig: The figure; its layout engine is taken off, so that drawing only draws.

    Yields:
        The box around everything in the figure, with the usual padding, in inches; a figure that is
        narrower than `WIDTH` gets white space at both sides.
    """
    for word in fig.findobj(Text):
        if (ink := readable(word.get_color())) != to_rgb(word.get_color()):
            word.set_color(ink)
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        if fig.get_layout_engine() is not None:
            fig.draw_without_rendering()
            fig.set_layout_engine(None)
        box = fig.get_tightbbox()
        missing = max(0.0, WIDTH - box.width)
        yield box.padded(missing / 2, 0).padded(mpl.rcParams["savefig.pad_inches"])


def small_png(fig: Figure) -> bytes:
    """A figure as PNG with a palette: a third of the size of true colour, alike to the eye.

    Thin lines of two similar colours would be merged by counting pixels, so the book's own
    colours are always among those kept.

    Args:
        fig: The figure.

    Returns:
        The bytes of the file.
    """
    raw, small = BytesIO(), BytesIO()
    with laid_out(fig) as box:
        fig.savefig(raw, format="png", dpi=fig.dpi, bbox_inches=box)
    image = Image.open(raw).convert("RGB")
    frequent = np.reshape(image.quantize(COLOURS).getpalette() or [], (-1, 3))
    inks = sorted(INKS & {to_rgb(word.get_color()) for word in fig.findobj(Text)})
    own = np.round(255 * np.array([(1, 1, 1), (0, 0, 0), *PALETTE, *inks, *_of_legends(fig)]))
    _with_palette(image, np.vstack([own, frequent])).save(small, format="png", optimize=True)
    return small.getvalue()


def _of_legends(fig: Figure) -> set[tuple[float, ...]]:
    """Colours on white of what legends show, which must not be taken for one another."""
    shown = [h for legend in fig.findobj(Legend) for h in legend.legend_handles]
    inks = [_ink(h) for h in shown if isinstance(h, (Line2D, Patch))]
    return {tuple(1 - a * (1 - np.array(rgb))) for *rgb, a in inks}


def _ink(handle: Line2D | Patch) -> tuple[float, ...]:
    if isinstance(handle, Patch):
        return to_rgba(handle.get_facecolor())
    marked = handle.get_marker() not in ("", "None", None, " ")
    ink = handle.get_markerfacecolor() if marked else handle.get_color()
    return to_rgba(handle.get_color() if _is_none(ink) else ink, handle.get_alpha())


def _is_none(ink: object) -> bool:
    return isinstance(ink, str) and ink == "none"


def _with_palette(image: Image.Image, palette: np.ndarray) -> Image.Image:
    """An image with each pixel at the nearest colour of a palette; PIL's own search is coarse."""
    red, green, blue = np.moveaxis(np.asarray(image, dtype=np.int32), -1, 0)
    codes, where = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
    nearest = ((colours[:, None] - palette) ** 2).sum(-1).argmin(1).astype(np.uint8)
    found = Image.fromarray(nearest[where].reshape(red.shape), mode="P")
    found.putpalette(palette.astype(np.uint8).tobytes())
    return found


class PlainLog(LogFormatter):
    """Labels of a logarithmic axis of few decades: 0.2 instead of 2·10⁻¹, as dense as usual."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick, empty where the usual formatter leaves it empty."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def save(fig: Figure, name: str, folder: Path | None = None) -> Figure:
    """Write a figure as SVG, PDF and PNG into a folder: ``$SHOOTING_FIGDIR``, if that is set.

    Each file is written beside its target and renamed, so that no half figure is ever left.

    Args:
        fig: The figure.
        name: File name without suffix.
        folder: Another folder than ``$SHOOTING_FIGDIR``.

    Returns:
        The same figure, so that a cell can end with this call.
    """
    folder = folder or figures_folder()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with laid_out(fig) as box:
            for kind in ("svg", "pdf", "png"):
                target = folder / f"{name}.{kind}"
                part = target.with_name(f".{name}.{os.getpid()}.{kind}")
                date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
                try:
                    fig.savefig(part, metadata=date, bbox_inches=box)
                    part.replace(target)
                except OSError as error:
                    if error.errno and not error.filename:  # a full disk does not say which
                        error.filename = str(part)
                    raise
                finally:
                    part.unlink(missing_ok=True)
    return fig
