"""Fixed-step Runge-Kutta methods on a grid that meets every requested time and block end."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import cast

import torch
from torch import Tensor

from shooting.errors import require_count, require_real, shown
from shooting.times import check_times, refuse_moving

State = tuple[Tensor, ...]
RightHandSide = Callable[[float, State], State]
MOST_STEPS = 10**6  # of one solve: more are a mistake, unless they are asked for


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit Runge-Kutta method.

    Attributes:
        name: Key in `TABLEAUS`.
        a: Strictly lower triangular stage coefficients, row by row.
        b: Weights of the stages.
        order: Order of convergence for smooth vector fields.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int

    @property
    def c(self) -> tuple[float, ...]:
        """Stage times, the row sums of a."""
        return tuple(sum(row) for row in self.a)


TABLEAUS = {
    t.name: t
    for t in (
        Tableau("euler", ((),), (1.0,), 1),
        Tableau("midpoint", ((), (0.5,)), (0.0, 1.0), 2),
        # Kutta's 3/8 rule: the method that torchdiffeq, hence the published runs, call "rk4"
        Tableau(
            "rk4",
            ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
            (1 / 8, 3 / 8, 3 / 8, 1 / 8),
            4,
        ),
        Tableau(
            "classical",
            ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
            (1 / 6, 1 / 3, 1 / 3, 1 / 6),
            4,
        ),
    )
}


@dataclass(frozen=True)
class Grid:
    """Nodes of a fixed-step solve.

    Attributes:
        nodes: Increasing or decreasing times, one more than steps.
        outputs: Index among the nodes of each requested time.
        blocks: For each step, the index of the block of depth it lies in.
    """

    nodes: tuple[float, ...]
    outputs: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.nodes) - 1

    def lengths(self) -> tuple[float, ...]:
        """Length of each step, negative where times decrease."""
        return tuple(b - a for a, b in zip(self.nodes, self.nodes[1:], strict=False))

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Runs of steps within one block, as (block, first step, one past the last step)."""
        first = 0
        for k in range(1, self.steps + 1):
            if k == self.steps or self.blocks[k] != self.blocks[first]:
                yield self.blocks[first], first, k
                first = k

    def reversed(self) -> Grid:
        """The same nodes and blocks, met from the other end."""
        outputs = tuple(self.steps - k for k in self.outputs[::-1])
        return Grid(self.nodes[::-1], outputs, self.blocks[::-1])


def make_grid(
    times: Tensor | Sequence[float | Tensor],
    *,
    step: float | str,
    blocks: int = 1,
    span: tuple[float, float] | None = None,
    most: int = MOST_STEPS,
) -> Grid:
    """Place steps of at most `step` so that requested times and block ends are nodes.

    Times in single precision give the steps that exact ones would: what rounding may add to a gap
    adds no step, and moves no block end off a requested time.

    Args:
        times: Increasing or decreasing times, the first being the initial one; at least two.
        step: Upper bound of the step length, a number; each gap is divided evenly.
        blocks: Number of equal blocks of depth.
        span: First and last depth of the interval that the blocks divide; without it the interval
            of the times.
        most: Steps that are not a mistake.

    Returns:
        The grid. Each step lies in exactly one block.

    Raises:
        ValueError: If times are not monotone or finite, or ask for a gradient, the step is not
            positive, the span no interval, or the steps or blocks are more than `most`.
    """
    t = check_times(times)
    refuse_moving(times)
    blocks = require_count(blocks, "the number of blocks", most=most)
    return place_steps(t, check_step(step), blocks, check_span(span), most)


def check_span(span: object) -> tuple[float, float] | None:
    """First and last depth as numbers.

    Raises:
        ValueError: If they are not two, in this order.
    """
    if span is None:
        return None
    try:
        first, last = (require_real(end, "an end") for end in cast(Sequence[object], span))
        if first < last:
            return first, last
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"expected a span of two depths, the first below the last, got {shown(span)}; try "
        "span=(0, 1)"
    )


def place_steps(
    t: Sequence[float],
    step: float,
    blocks: int = 1,
    span: tuple[float, float] | None = None,
    most: int = MOST_STEPS,
) -> Grid:
    """Like `make_grid`, for times and a step that have been checked."""
    # a training solves on the same grid at every step; the compiler looks through no cache
    place = _placed if torch.compiler.is_compiling() else _remembered
    return place(tuple(t), step, blocks, span, most)


def check_step(step: object) -> float:
    """A positive length of a step, as it came.

    Raises:
        ValueError: If it is none.
    """
    plain = isinstance(step, Real) and not isinstance(step, bool)
    try:
        if plain and 0 < float(cast(Real, step)) < math.inf:
            return cast(float, step)
    except OverflowError:
        pass
    raise ValueError(f"expected a positive step length, got {shown(step)}; try step=0.1")


def _placed(
    t: tuple[float, ...], step: float, blocks: int, span: tuple[float, float] | None, most: int
) -> Grid:
    if t[0] > t[-1]:
        return _increasing(t[::-1], step, blocks, span or (t[-1], t[0]), most).reversed()
    return _increasing(t, step, blocks, span or (t[0], t[-1]), most)


_remembered = functools.lru_cache(maxsize=8)(_placed)


def _increasing(
    t: tuple[float, ...], step: float, blocks: int, span: tuple[float, float], most: int
) -> Grid:
    if not t[-1] - t[0] <= most * step:
        raise ValueError(
            f"expected at most {most} steps, got times from {t[0]:g} to {t[-1]:g} with "
            f"step={step:g}; take longer steps, or allow more, as in Solver(most_steps={10 * most})"
        )
    start, length = span[0], span[1] - span[0]
    single = all(_short(s) for s in t)  # perhaps rounded, which can shift each time by this much
    rounding = 2.0 ** (-23 if single else -52)
    gap = min(b - a for a, b in zip(t, t[1:], strict=False))
    # within the rounding of equal times
    close = min(max(1e-6 * gap, 2 * rounding * max(map(abs, t))), gap / 2)
    ends = [start + length * k / blocks for k in range(1, blocks)]
    within = [e for e in ends if t[0] < e < t[-1] and all(abs(e - s) > close for s in t)]
    stops, asked = sorted([*t, *within]), set(t)
    nodes, outputs, owners = [t[0]], [0], []
    for a, b in zip(stops, stops[1:], strict=False):
        slack = min(0.5, 1e-6 + 2 * rounding * max(abs(a), abs(b)) / step)
        n = max(1, math.ceil((b - a) / step - slack))  # an eighth digit must not add a step
        nodes += [a + (b - a) * k / n for k in range(1, n)] + [b]
        part = max(0.0, blocks * ((a + b) / 2 - start) / length)
        owners += [int(part) if part < blocks - 1 else blocks - 1] * n
        outputs += [len(nodes) - 1] * (b in asked)
    return Grid(tuple(nodes), tuple(outputs), tuple(owners))


def _short(s: float) -> bool:
    """Whether single precision holds a number exactly, by splitting off its first 24 bits."""
    scaled = (2.0**29 + 1) * s
    return scaled - (scaled - s) == s


def runge_kutta(rhs: RightHandSide, state: State, grid: Grid, tableau: Tableau) -> list[State]:
    """Integrate and return the state at each requested time.

    Args:
        rhs: f(t, state), a tuple of tensors like the state.
        state: Initial state.
        grid: Where to step and what to return.
        tableau: The method.

    Returns:
        One state per requested time, the first being the initial one.
    """
    wanted, kept = set(grid.outputs), [state]
    for k, h in enumerate(grid.lengths()):
        state = rk_step(rhs, grid.nodes[k], h, state, tableau)
        if k + 1 in wanted:
            kept.append(state)
    return kept


def rk_step(rhs: RightHandSide, t: float, h: float, state: State, tableau: Tableau) -> State:
    """One Runge-Kutta step from t to t + h."""
    slopes: list[State] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        slopes.append(rhs(t + c * h, advance(state, slopes, row, h)))
    return advance(state, slopes, tableau.b, h)


def advance(state: State, slopes: Sequence[State], weights: Sequence[float], h: float) -> State:
    """Evaluate state + h sum_i weights_i slopes_i, skipping zero weights."""
    for w, slope in zip(weights, slopes, strict=True):
        if w:
            state = tuple(torch.add(y, k, alpha=h * w) for y, k in zip(state, slope, strict=True))
    return state
