"""Drawing helpers of the universality chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from torch import Tensor

from shooting.study.figures.style import PALETTE, PATHS
from shooting.study.universality.approximation import Approximation

# shows the frame that the slider stands at, in every panel of its figure
_TURN = (
    "const f=this.closest('figure');"
    "f.querySelector('output').value=(this.value/this.max).toFixed(2);"
    "for(const g of f.querySelectorAll('g[data-frame]'))"
    "g.style.display=g.dataset.frame===this.value?'':'none'"
)
_ROW = "display:flex;gap:0.5rem;align-items:center;margin:0.5rem 0"
_WORDS = "color:inherit;font-weight:inherit;text-align:left"  # the theme's grey vanishes at night


def disk_lines(radius: float = 1.0, *, lines: int = 9, points: int = 41) -> Tensor:
    """Chords of a disk, upright and level, as polylines ``(2 lines, points, 2)``."""
    offset = radius * torch.linspace(-1, 1, lines + 2, dtype=torch.float64)[1:-1, None]
    along = torch.linspace(-1, 1, points, dtype=torch.float64) * (radius**2 - offset**2).sqrt()
    still = offset.expand_as(along)
    return torch.cat([torch.stack([along, still], -1), torch.stack([still, along], -1)])


def circle(radius: float = 1.0, *, points: int = 161) -> Tensor:
    """A closed circle as one polyline ``(1, points, 2)``."""
    angle = torch.linspace(0, 2 * torch.pi, points, dtype=torch.float64)
    return radius * torch.stack([angle.cos(), angle.sin()], -1).unsqueeze(0)


def moved(lines: Tensor, flow: Callable[[Tensor], Tensor]) -> Tensor:
    """Polylines carried by a flow with outputs ``(times, n, 2)``: ``(times, lines, points, 2)``."""
    path = flow(lines.reshape(-1, 2))
    return path.view(len(path), *lines.shape)


def draw_disk(ax: Axes, grid: Tensor, rim: Tensor, *, colour: object = PALETTE[0]) -> None:
    """The image of the disk's chords, and of its rim, which is drawn heavier."""
    ax.add_collection(LineCollection([np.asarray(c) for c in grid], colors=colour, linewidths=0.7))
    ax.add_collection(LineCollection([np.asarray(c) for c in rim], colors="0.15", linewidths=1.3))
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_shadow(ax: Axes, grid: Tensor, rim: Tensor) -> None:
    """The true image, heavy and orange, to be drawn under an approximation."""
    for lines, width in ((grid, 1.6), (rim, 3.0)):
        curves = [np.asarray(c) for c in lines]
        ax.add_collection(LineCollection(curves, colors=PALETTE[1], linewidths=width, alpha=0.5))


def draw_flows(axes: np.ndarray, found: Sequence[Approximation]) -> None:
    """The disk carried by approximations of one field, the true flow underneath, orange.

    Args:
        axes: A row for each approximation, a column for each depth; the start is left out.
        found: Approximations of one target.
    """
    count = axes.shape[1]
    lines = disk_lines(lines=7, points=25), circle(points=81)
    true = [moved(c, partial(found[0].target.flow, times=count + 1)) for c in lines]
    for row, f in zip(axes, found, strict=True):
        grid, rim = (moved(c, partial(f.flow, times=count + 1)) for c in lines)
        for k, ax in enumerate(row, start=1):
            draw_shadow(ax, true[0][k], true[1][k])
            draw_disk(ax, grid[k], rim[k])
        row[0].set_ylabel(f"k = {len(f.nets)}")
    title_depths(axes[0], [k / count for k in range(1, count + 1)])
    share_limits(axes)


def title_depths(row: Iterable[Axes], depths: Sequence[float]) -> None:
    """Write the depth over each panel of a row."""
    for ax, t in zip(row, depths, strict=True):
        ax.set_title(f"t = {t:.2g}")


def draw_frames(axes: np.ndarray, flow: Callable[[Tensor], Tensor]) -> None:
    """The disk at equispaced depths from start to end, one panel for each.

    Args:
        axes: The panels.
        flow: Points ``(n, 2)`` to paths ``(len(axes), n, 2)``.
    """
    inner, outer = (moved(lines, flow) for lines in (disk_lines(), circle()))
    for k, ax in enumerate(axes):
        draw_disk(ax, inner[k], outer[k])
    title_depths(axes, [k / (len(axes) - 1) for k in range(len(axes))])
    share_limits(axes)


def draw_bounds(
    ax: Axes,
    sizes: Sequence[int],
    errors: Mapping[str, Sequence[float]],
    bounds: Mapping[str, Sequence[float]],
) -> None:
    """Errors (solid, named at their ends) and their bounds (dashed) against a size.

    Args:
        ax: The panel; both axes become logarithmic.
        sizes: Sizes of the constructions.
        errors: Errors at these sizes, by name.
        bounds: Their bounds, by the same names.
    """
    for k, (name, values) in enumerate(errors.items()):
        ax.loglog(sizes, values, "o-", color=PALETTE[k], ms=4)
        ax.loglog(sizes, bounds[name], "s--", color=PALETTE[k], ms=3, lw=1.1)
    ends = {name: values[-1] for name, values in errors.items()}
    label_ends(ax, sizes[-1], ends, PALETTE)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()


def label_ends(
    ax: Axes, x: float, ends: Mapping[str, float], colours: Sequence[object], *, apart: float = 1.5
) -> None:
    """Names beside the right ends of curves on a logarithmic axis, none upon another.

    Args:
        ax: The panel.
        x: Where the curves end.
        ends: Their last values, by name.
        colours: Their colours, in the same order.
        apart: Least quotient of the heights of two names.
    """
    height = 0.0
    for k in sorted(range(len(ends)), key=list(ends.values()).__getitem__):
        name, value = list(ends.items())[k]
        height = max(value, apart * height)
        ax.annotate(
            name, (x, height), xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=9, color=colours[k], annotation_clip=False,
        )  # fmt: skip


def draw_fan(ax: Axes, depth: Tensor, paths: Tensor) -> np.ndarray:
    """Paths of numbers over depth, coloured by their start.

    Args:
        ax: The panel.
        depth: Depths ``(times,)``.
        paths: Values ``(times, n)``, starts in order.

    Returns:
        The colours ``(n, 4)``.
    """
    colours: np.ndarray = PATHS(np.linspace(0, 1, paths.shape[1]))
    ax.set_prop_cycle(color=colours)
    ax.plot(depth, paths, lw=1.0)
    return colours


def share_limits(axes: np.ndarray) -> None:
    """One window for all panels, so that they can be compared by eye."""
    boxes = np.array([ax.axis() for ax in axes.flat])
    low, high = boxes.min(0), boxes.max(0)
    for ax in axes.flat:
        ax.axis((low[0], high[1], low[2], high[3]))


def flow_slider(found: Sequence[Approximation], caption: str, *, frames: int = 9) -> str:
    """The true flow and its approximations side by side, as HTML with a slider for depth.

    Without scripts the last frame shows. Needs no file and no network.

    Args:
        found: Approximations of one target.
        caption: What is seen; also read out in place of the drawings.
        frames: Number of depths, equispaced.
    """
    lines = disk_lines(lines=7, points=21), circle(points=61)
    flows = [partial(found[0].target.flow, times=frames)]
    flows += [partial(f.flow, times=frames) for f in found]
    paths = [[moved(c, flow) for c in lines] for flow in flows]
    names = ["true flow", *(f"UpDown, k = {len(f.nets)}" for f in found)]
    box = _window(torch.cat([rim.reshape(-1, 2) for _, rim in paths]))
    panels = [
        _panel(k, name, [_frame(*(c[t] for c in path)) for t in range(frames)], box)
        for k, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    last = frames - 1
    return (
        f'<figure class="flow-slider" role="group" aria-label="{escape(caption)}">'
        f'<div style="display:flex;gap:0.5rem">{"".join(panels)}</div>'
        f'<label style="{_ROW}">depth t <input type="range" min="0" max="{last}" value="{last}" '
        f'oninput="{_TURN}" style="flex:1;max-width:20rem">'
        f'<output>1.00</output></label><figcaption style="{_WORDS}">{caption}</figcaption></figure>'
    )


def _points(curve: Tensor) -> str:
    """A polyline in hundredths, the second axis pointing down as in all of SVG."""
    steps = (100 * curve * torch.tensor([1.0, -1.0], dtype=curve.dtype)).round().int().tolist()
    return " ".join(f"{x},{y}" for x, y in steps)


def _frame(grid: Tensor, rim: Tensor) -> str:
    chords = "".join(f'<polyline points="{_points(c)}"/>' for c in grid)
    return chords + f'<polyline points="{_points(rim[0])}" stroke-width="4"/>'


def _window(points: Tensor, *, margin: int = 8) -> str:
    low = (100 * points.amin(0)).floor().int() - margin
    high = (100 * points.amax(0)).ceil().int() + margin
    (left, bottom), (right, top) = low.tolist(), high.tolist()
    return f"{left} {-top} {right - left} {top - bottom}"


def _panel(index: int, name: str, drawn: Sequence[str], box: str) -> str:
    """One panel; those of approximations show the true flow underneath, broad and orange."""
    colour, groups = to_hex(PALETTE[0 if index else 1]), []
    for k, body in enumerate(drawn):
        hidden = "" if k == len(drawn) - 1 else ' style="display:none"'
        under = f'<use href="#flow-true-{k}" opacity="0.45" stroke-width="5"/>' if index else ""
        label = "" if index else f'<g id="flow-true-{k}" stroke="{colour}">'
        inner = f"{label}{body}</g>" if label else f'{under}<g stroke="{colour}">{body}</g>'
        groups.append(f'<g data-frame="{k}"{hidden}>{inner}</g>')
    return (
        '<div style="flex:1;min-width:0;text-align:center;line-height:1.2">'
        f'<svg viewBox="{box}" aria-hidden="true" fill="none" stroke-width="1.5" '
        f'style="width:100%;max-height:16rem">{"".join(groups)}</svg>{name}</div>'
    )
