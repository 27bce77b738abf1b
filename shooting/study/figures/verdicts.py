"""All verdicts in one picture: effects of the claims on a logarithmic axis, rates below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shooting.study.claims.effects import Effect
from shooting.study.claims.links import title
from shooting.study.claims.registry import Claim
from shooting.study.claims.rule import NOT, NOT_RUN, PARTLY, REPRODUCED, Part, Verdict
from shooting.study.figures.style import PALETTE, WIDTH

Judged = tuple[Claim, Verdict]

REACH = 10.0  # the axis of effects ends here and at its inverse; what lies beyond is an arrow
SHAPES: Mapping[str, str] = {REPRODUCED: "o", PARTLY: "D", NOT: "X"}
COLOURS: Mapping[str, Any] = {REPRODUCED: PALETTE[0], PARTLY: PALETTE[1], NOT: "0.25"}
PALE = "0.5"  # of claims that were not run
ROW = 0.235  # inches
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)


def forest(verdicts: Sequence[Judged], *, colours: Mapping[str, Any] = COLOURS) -> Figure:
    """Each claim a row: its comparisons small, their median bold, shaped by the verdict.

    Args:
        verdicts: Claims with their verdicts, those of a page side by side.
        colours: By verdict.

    Returns:
        The figure: effects above, where 1 is no difference or the criterion; rates below.
    """
    rows = list(_rows(verdicts))
    rates = [(c, p) for c, v in verdicts for p in v.parts if p.is_rate]
    heights = [len(rows), max(len(rates), 1)]
    fig, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, ROW * (sum(heights) + 8)), height_ratios=heights
    )
    _effects(top, rows, colours)
    _rates(bottom, rates, colours)
    fig.legend(handles=_legend(colours), loc="outside upper center", ncols=4, fontsize=9)
    return fig


def median_effect(parts: Sequence[Part]) -> float:
    """Median of the effects of several comparisons, on the logarithmic axis.

    m = 2^median(log2 r), each r first brought onto the axis.
    """
    return float(np.exp2(np.median([np.log2(on_axis(p.effect.value)) for p in parts])))


def on_axis(effect: float) -> float:
    """An effect, or the end of the axis beyond which it lies."""
    return float(np.clip(effect, 1 / REACH, REACH))


def _rows(verdicts: Sequence[Judged]) -> Iterator[str | Judged]:
    """Headings and claims from top to bottom; claims about rates have a panel of their own."""
    for page, group in groupby(verdicts, lambda judged: judged[0].page):
        mine = [(c, v) for c, v in group if not any(p.is_rate for p in v.parts)]
        if mine:
            yield title(page.removeprefix("notebooks/")).partition(",")[0]
            yield from mine


def _effects(ax: Axes, rows: Sequence[str | Judged], colours: Mapping[str, Any]) -> None:
    labels = [row if isinstance(row, str) else _label(*row) for row in rows]
    for y, row in enumerate(rows):
        if not isinstance(row, str):
            _row(ax, y, row[1], colours)
    _label_rows(ax, labels)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        if isinstance(row, str):
            tick.set_fontweight("bold")
        elif row[1].status == NOT_RUN:
            tick.set_color(PALE)
    ax.axvline(1, color="0.3", lw=1)
    ax.set(xscale="log", xlim=(0.88 / REACH, REACH / 0.88))
    ax.set_xticks(TICKS, [f"{t:g}" for t in TICKS])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("← against the claim      effect      as claimed →")


def _label(claim: Claim, verdict: Verdict) -> str:
    held = sum(p.status == REPRODUCED for p in verdict.parts)
    count = f"{held}/{len(verdict.parts)}" if verdict.parts else verdict.status
    name = claim.id.replace("-released", "*") + "†" * claim.added
    return "  ".join(word for word in (claim.short, name, count) if word)


def _row(ax: Axes, y: float, verdict: Verdict, colours: Mapping[str, Any]) -> None:
    """Comparisons spread over the height of a row, and their median."""
    for part, lift in zip(verdict.parts, _spread(len(verdict.parts)), strict=True):
        _comparison(ax, y + lift, part.effect, colours[part.status])
    if verdict.parts:
        _bold(ax, median_effect(verdict.parts), y, verdict.status, colours)


def _comparison(ax: Axes, y: float, effect: Effect, colour: Any) -> None:
    """A point on its interval, or a hollow one where there is none; arrows lead off the axis."""
    face = colour if effect.interval else "white"
    ax.plot(on_axis(effect.value), y, _head(effect.value), color=colour, ms=2.6, mfc=face, mew=0.7)
    if effect.interval:
        ax.plot([on_axis(end) for end in effect.interval], [y, y], color=colour, lw=0.6, alpha=0.8)
        for end in (end for end in effect.interval if on_axis(end) != end):
            ax.plot(on_axis(end), y, _head(end), color=colour, ms=2.6)


def _bold(ax: Axes, x: float, y: float, status: str, colours: Mapping[str, Any]) -> None:
    ax.plot(x, y, SHAPES[status], color=colours[status], ms=8, mec="white", mew=0.8, zorder=4)


def _spread(count: int) -> np.ndarray:
    """Where the comparisons of a row are drawn, off its middle."""
    return np.linspace(-0.36, 0.36, count) if count > 1 else np.zeros(count)


def _head(effect: float) -> str:
    """A dot, or an arrow where the effect lies beyond the axis."""
    return ">" if effect > REACH else "<" if effect < 1 / REACH else "o"


def _rates(ax: Axes, rates: Sequence[tuple[Claim, Part]], colours: Mapping[str, Any]) -> None:
    for y, (_, part) in enumerate(rates):
        ours, claimed = (100 * x for x in part.medians)
        low, high = (100 * x for x in part.interval)
        ax.plot([low, high], [y, y], color=colours[part.status], lw=1.2)
        ax.plot(claimed, y, "|", color="0.1", ms=12, mew=1.6)
        _bold(ax, ours, y, part.status, colours)
    _label_rows(ax, [f"{part.what}  {claim.id}" for claim, part in rates])
    ax.set(xlim=(-3, 103), xlabel="runs that fit [%], and as claimed (|)")


def _label_rows(ax: Axes, labels: Iterable[str]) -> None:
    names = list(labels)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")


def _legend(colours: Mapping[str, Any]) -> list[Line2D]:
    shapes = [
        Line2D([], [], ls="", marker=SHAPES[s], color=colours[s], ms=8, label=s) for s in SHAPES
    ]
    one = "one comparison, 95 % interval"
    return [*shapes, Line2D([], [], color="0.4", lw=0.8, marker="o", ms=2.6, label=one)]
