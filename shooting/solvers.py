"""Fixed-step Runge-Kutta methods on a grid that meets every requested time and block end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = tuple[Tensor, ...]
RightHandSide = Callable[[float, State], State]


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
        nodes: Increasing times, one more than steps.
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
        """Length of each step."""
        return tuple(b - a for a, b in zip(self.nodes, self.nodes[1:], strict=False))

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Runs of steps within one block, as (block, first step, one past the last step)."""
        first = 0
        for k in range(1, self.steps + 1):
            if k == self.steps or self.blocks[k] != self.blocks[first]:
                yield self.blocks[first], first, k
                first = k


def make_grid(times: Tensor | Sequence[float], *, step: float | str, blocks: int = 1) -> Grid:
    """Place steps of at most `step` so that requested times and block ends are nodes.

    Args:
        times: Increasing times, the first being the initial time; at least two.
        step: Upper bound of the step length, a number; each gap is divided evenly.
        blocks: Number of equal blocks of depth between the first and the last time.

    Returns:
        The grid. Each step lies in exactly one block.

    Raises:
        ValueError: If times do not increase or are not finite, or the step is not positive.
    """
    t = check_times(times)
    if isinstance(step, str) or not 0 < step < math.inf:
        raise ValueError(f"expected a positive step length, got {step!r}; try step=0.1")
    start, length = t[0], t[-1] - t[0]
    ends = [start + length * k / blocks for k in range(1, blocks)]
    close = 1e-6 * min(b - a for a, b in zip(t, t[1:], strict=False))  # rounding of equal times
    stops = sorted([*t, *(e for e in ends if all(abs(e - s) > close for s in t))])
    nodes, outputs, owners = [t[0]], [0], []
    for a, b in zip(stops, stops[1:], strict=False):
        n = max(1, math.ceil((b - a) / step - 1e-6))  # an eighth digit must not add a step
        nodes += [a + (b - a) * k / n for k in range(1, n)] + [b]
        owners += [min(blocks - 1, int(blocks * ((a + b) / 2 - start) / length))] * n
        outputs += [len(nodes) - 1] * (b in t)
    return Grid(tuple(nodes), tuple(outputs), tuple(owners))


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


def check_times(times: Tensor | Sequence[float]) -> list[float]:
    """Times as numbers, refused unless there are two, finite and strictly increasing.

    Raises:
        ValueError: If they are not.
    """
    t = [float(s) for s in times]
    if len(t) < 2 or not all(math.isfinite(s) for s in t):
        raise ValueError(f"expected at least two finite times, got {t}; try times=[0, 1]")
    for a, b in zip(t, t[1:], strict=False):
        if b <= a:
            raise ValueError(
                f"expected strictly increasing times, got {b:g} after {a:g}; sort them, and to "
                "integrate backwards negate the vector field"
            )
    return t
