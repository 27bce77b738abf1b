"""The discrete adjoint of any field: each stage is evaluated again and differentiated by autograd.

Kept are the stages' states alone, so that memory does not grow with what a field computes inside;
the price is a second evaluation of each stage on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.adjoint.solve import Rates, Tape, march, march_back
from shooting.fields import Control, VectorField
from shooting.solvers import Grid, Tableau

Slope = Callable[[int, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Stagewise:
    """Engine whose slope is any differentiable function.

    Attributes:
        slope: From step, state and controls to the slope of the state.
        grid: Where to step, what to return, and the block of each step.
        tableau: The method.
    """

    slope: Slope
    grid: Grid
    tableau: Tableau

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """See `Engine`."""
        self._refuse_captured(w, theta)
        path, tapes = march(self._rates(theta), w, self.grid, self.tableau)
        return path, tuple(t for tape in tapes for t in tape) if keep else ()

    def reference(self, w: Tensor, theta: Tensor | None) -> Tensor:
        """See `Engine`."""
        return march(self._rates(theta), w, self.grid, self.tableau)[0]

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """See `Engine`."""
        theta_bar = None if theta is None else torch.zeros_like(theta)

        def transpose(step: int, kept: Tape, k_bar: Tensor) -> Tensor:
            inputs = [t.detach().requires_grad_() for t in (kept[0], theta) if t is not None]
            with torch.enable_grad():
                slope = self.slope(step, inputs[0], inputs[1] if theta is not None else None)
            w_bar, *rest = torch.autograd.grad(
                slope, inputs, k_bar, allow_unused=True, materialize_grads=True
            )
            if theta_bar is not None:
                theta_bar.add_(rest[0])
            return w_bar

        tapes = [(w,) for w in tape]
        return [march_back(transpose, tapes, path_bar, self.grid, self.tableau), theta_bar]

    def _rates(self, theta: Tensor | None) -> Rates:
        return lambda step, w: (self.slope(step, w, theta), (w,))

    def _refuse_captured(self, w: Tensor, theta: Tensor | None) -> None:
        """A feature with weights of its own would get no gradient here, without a word."""
        with torch.enable_grad():
            slope = self.slope(0, w.detach(), None if theta is None else theta.detach())
        if slope.requires_grad:
            raise ValueError(
                "expected a field without learned numbers of its own on route 'adjoint', got one "
                "whose features ask for gradients; try route='autograd'"
            )


def shooting(
    field: VectorField, particles: int, grid: Grid, tableau: Tableau, *, form: str
) -> Stagewise:
    """Engine of the shooting system (3.4); rows of w are [q; z; p].

    Args:
        field: Any vector field.
        particles: Number K of particles.
        grid: Where to step and what to return.
        tableau: The method.
        form: ``theta`` or ``kernel``.
    """

    def slope(step: int, w: Tensor, theta: Tensor | None) -> Tensor:
        q, z, p = w.split([particles, w.shape[1] - 2 * particles, particles], dim=1)
        dq, dp, dz = field.rates(form, q, p, z)
        return torch.cat([dq, dz, dp], dim=1)

    return Stagewise(slope, grid, tableau)


def carrying(field: VectorField, grid: Grid, tableau: Tableau) -> Stagewise:
    """Engine of z' = f(z, theta), theta constant on blocks and packed by `pack`."""

    def slope(step: int, z: Tensor, theta: Tensor | None) -> Tensor:
        assert theta is not None
        return field.velocity(z, unpack(field, theta[:, grid.blocks[step]]))

    return Stagewise(slope, grid, tableau)


def pack(field: VectorField, theta: Control) -> Tensor:
    """All controls ``(*runs, B, out, F)`` as one tensor ``(*runs, B, numbers)``."""
    return torch.cat([theta[name].flatten(-2) for name in field.shapes], dim=-1)


def unpack(field: VectorField, packed: Tensor) -> Control:
    """Inverse of `pack` for one block ``(*runs, numbers)``."""
    parts = packed.split([out * width for out, width in field.shapes.values()], dim=-1)
    shapes = field.shapes.items()
    return {k: t.unflatten(-1, s) for (k, s), t in zip(shapes, parts, strict=True)}
