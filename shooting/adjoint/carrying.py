"""Data carried by given controls of a dense field, in fused theta-form: one product per stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.adjoint.merged import knows
from shooting.adjoint.solve import Rates, Tape, march, march_back
from shooting.fields import Control, Field, VectorField
from shooting.solvers import Grid, Tableau


@dataclass(frozen=True)
class Carrying:
    """Engine of z' = Theta phi(z), Theta constant on blocks; one product per stage.

    Attributes:
        field: The vector field.
        grid: Where to step, what to return, and the block of each step.
        tableau: The method.
    """

    field: Field
    grid: Grid
    tableau: Tableau

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """See `Engine`; theta ``(R, B, S, F)`` as packed by `fuse`."""
        path, tapes = march(self._rates(theta), w, self.grid, self.tableau)
        return path, tuple(t for tape in tapes for t in tape) if keep else ()

    def reference(self, w: Tensor, theta: Tensor | None) -> Tensor:
        """See `Engine`."""
        return march(self._rates(theta), w, self.grid, self.tableau)[0]

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """See `Engine`."""
        assert theta is not None
        theta_bar = torch.zeros_like(theta)

        def transpose(step: int, kept: Tape, k_bar: Tensor) -> Tensor:
            block, (z,) = self.grid.blocks[step], kept
            theta_bar[:, block].baddbmm_(k_bar.mT, self._features(z))
            return self._pull_back(z, torch.bmm(k_bar, theta[:, block]))

        tapes = [(z,) for z in tape]
        return [march_back(transpose, tapes, path_bar, self.grid, self.tableau), theta_bar]

    def _rates(self, theta: Tensor | None) -> Rates:
        assert theta is not None

        def rates(step: int, z: Tensor) -> tuple[Tensor, Tape]:
            now = theta[:, self.grid.blocks[step]]
            return torch.bmm(self._features(z), now.mT), (z,)

        return rates

    def _features(self, z: Tensor) -> Tensor:
        return stacked(self.field, z)

    def _pull_back(self, z: Tensor, phi_bar: Tensor) -> Tensor:
        parts, at = self.field.split(z), 0
        out: dict[str, Tensor] = {}
        for phi, width in self.field.columns.values():
            if phi.reads:
                for slot, back in phi.pull_back(parts, phi_bar[..., at : at + width]).items():
                    out[slot] = out[slot] + back if slot in out else back
            at += width
        return self.field.pack({k: out[k] if k in out else 0 * part for k, part in parts.items()})


def dense(field: VectorField) -> Field:
    """A field whose features of plain slots can stand side by side.

    Raises:
        ValueError: If the field is another.
    """
    if isinstance(field, Field) and knows(field):
        return field
    raise ValueError(
        f"expected a field of terms that read plain slots, got {field}; try route='autograd'"
    )


def stacked(field: Field, z: Tensor) -> Tensor:
    """The distinct features side by side, ``(..., n, F)``, in the order of `fuse`."""
    parts = field.split(z)
    return torch.cat([phi.value(parts) for phi, _ in field.columns.values()], dim=-1)


def fuse(field: Field, theta: Control) -> Tensor:
    """One matrix Theta ``(*runs, B, S, F)`` with z' = Theta phi(z), from the named controls."""
    first = next(iter(theta.values()))
    rows = []
    for out, size in field.slots.items():
        row = []
        for key, (_, width) in field.columns.items():
            found = [theta[name] for name in field.readers(out, key)]
            row.append(sum(found, first.new_zeros(())).expand(*first.shape[:-2], size, width))
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)
