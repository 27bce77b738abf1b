"""The discrete adjoint: the exact gradient of a fixed-step solve, as one node of autograd.

A solve packs everything that moves into one tensor w ``(R, rows, S)`` and is described by an
`Engine`: the slope of w, and the transposed derivative of the slope. `Solve` runs the stages of a
Runge-Kutta method forward, keeps them, and runs their transposes backward, which costs a few
dozen operations per stage where autograd records hundreds. The result equals autograd's up to
rounding: it is the gradient of the discrete solution, not a discretised costate equation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from shooting.solvers import Grid, Tableau
from shooting.transforms import unmixed

Tape = tuple[Tensor, ...]
Rates = Callable[[int, Tensor], tuple[Tensor, Tape]]
Transpose = Callable[[int, Tape, Tensor], Tensor]


class Engine(Protocol):
    """One way to run a solve and its transpose."""

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """Path ``(R, times, rows, S)``, and what `backward` needs if `keep`."""

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """Gradients with respect to w and theta, given the path's."""

    def reference(self, w: Tensor, theta: Tensor | None) -> Tensor:
        """The path by differentiable PyTorch operations, for second derivatives."""


class Solve(torch.autograd.Function):
    """A whole solve as one node; differentiating twice falls back on the reference."""

    @staticmethod
    def forward(ctx: Any, engine: Engine, w: Tensor, theta: Tensor | None, keep: bool) -> Tensor:
        """Run the engine; save inputs and tape."""
        with unmixed(w):
            path, tape = engine.forward(w, theta, keep)
        ctx.engine, ctx.controlled = engine, theta is not None
        ctx.save_for_backward(w, *([theta] if theta is not None else []), *tape)
        return path

    @staticmethod
    def backward(ctx: Any, path_bar: Tensor) -> tuple[Tensor | None, ...]:
        """Transpose the solve."""
        w, *rest = ctx.saved_tensors
        theta = rest.pop(0) if ctx.controlled else None
        with unmixed(w):
            if torch.is_grad_enabled():  # create_graph=True: someone wants to differentiate again
                return None, *_differentiable(ctx, w, theta, path_bar), None
            return None, *ctx.engine.backward(tuple(rest), theta, path_bar), None


def _differentiable(
    ctx: Any, w: Tensor, theta: Tensor | None, path_bar: Tensor
) -> list[Tensor | None]:
    # aliases: if theta depends on w, that path is autograd's, which would count it again
    w, theta = w.view_as(w), None if theta is None else theta.view_as(theta)
    path = ctx.engine.reference(w, theta)
    needs = [t is not None and need for t, need in zip((w, theta), ctx.needs_input_grad[1:3])]
    inputs = [t for t, need in zip((w, theta), needs, strict=True) if t is not None and need]
    found = iter(torch.autograd.grad(path, inputs, path_bar, create_graph=True))
    return [next(found) if need else None for need in needs]


def run(engine: Engine, w: Tensor, theta: Tensor | None = None) -> Tensor:
    """Run a solve and record it for autograd if a gradient is wanted.

    Args:
        engine: How to run it.
        w: Packed initial state ``(R, rows, S)``.
        theta: Packed controls, if the engine takes any.

    Returns:
        Packed states at the requested times ``(R, times, rows, S)``.
    """
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (w, theta))
    path: Tensor = Solve.apply(engine, w, theta, keep)  # type: ignore[no-untyped-call]
    return path


# --- Runge-Kutta and its transpose -----------------------------------------------------------


def march(rates: Rates, w: Tensor, grid: Grid, tableau: Tableau) -> tuple[Tensor, list[Tape]]:
    """Explicit Runge-Kutta: W_i = w + h sum_l a_il k_l, w+ = w + h sum_i b_i k_i.

    Args:
        rates: (step, W) to the slope k and what its transpose needs.
        w: Initial state ``(R, rows, S)``.
        grid: Where to step and what to return.
        tableau: The method.

    Returns:
        States at the requested times ``(R, times, rows, S)``, and one tape per stage.
    """
    kept, tapes = [w], []
    for k, h in enumerate(grid.lengths()):
        slopes: list[Tensor] = []
        for row in tableau.a:
            slope, tape = rates(k, _combine(w, slopes, row, h))
            slopes.append(slope)
            tapes.append(tape)
        w = _combine(w, slopes, tableau.b, h)
        if k + 1 in grid.outputs:
            kept.append(w)
    return torch.stack(kept, dim=1), tapes


def march_back(
    transpose: Transpose, tapes: Sequence[Tape], path_bar: Tensor, grid: Grid, tableau: Tableau
) -> Tensor:
    """Transpose of `march`: k_i' = h b_i w' + h sum_l a_li W_l', w' += sum_i W_i'.

    Args:
        transpose: (step, tape, k') to W', the transposed derivative of the slope.
        tapes: One per stage, from `march`.
        path_bar: Gradient with respect to the path ``(R, times, rows, S)``.
        grid: As in `march`.
        tableau: As in `march`.

    Returns:
        Gradient with respect to the initial state.
    """
    at = {node: i for i, node in enumerate(grid.outputs)}
    w_bar, lengths, stages = path_bar[:, -1], grid.lengths(), len(tableau.b)
    for k in reversed(range(grid.steps)):
        stage_bars: list[Tensor] = []  # of stages i + 1, ..., last
        for i in reversed(range(stages)):
            column = [tableau.a[j][i] for j in range(i + 1, stages)]
            k_bar = _combine(w_bar * (lengths[k] * tableau.b[i]), stage_bars, column, lengths[k])
            stage_bars.insert(0, transpose(k, tapes[k * stages + i], k_bar))
        w_bar = _combine(w_bar, stage_bars, (1.0,) * stages, 1.0)
        if k in at:
            w_bar = w_bar + path_bar[:, at[k]]
    return w_bar


def _combine(w: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """w + h sum_i weights_i slopes_i; after the first term in place, which halves the traffic."""
    used = [(h * c, k) for c, k in zip(weights, slopes, strict=True) if c]
    if not used:
        return w
    total = torch.add(w, used[0][1], alpha=used[0][0])
    for c, k in used[1:]:
        total.add_(k, alpha=c)
    return total
