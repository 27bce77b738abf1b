"""Controls that vary with depth, given piece by piece, and what they cost.

`shooting.carry` knows controls that are constant on equal blocks. The constructions of Appendix D
also need pieces of unequal length and weights that change inside a piece: `drive` integrates
those, and never evaluates a weight outside the piece it belongs to, so that jumps cost no order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.fields import Control, Field
from shooting.solvers import TABLEAUS, State, rk_step


@dataclass(frozen=True)
class Piece:
    """A stretch of depth with its control.

    Attributes:
        length: Its length, positive.
        control: theta(t) for t in [0, length], the time counted from the start of the piece;
            or a control that does not depend on t.
        steps: Number of Runge-Kutta steps over the piece.
    """

    length: float
    control: Control | Callable[[float], Control]
    steps: int = 1

    def __post_init__(self) -> None:
        if not self.length > 0 or self.steps < 1:
            raise ValueError(
                f"expected a piece of positive length with at least one step, got length "
                f"{self.length} and {self.steps} steps; leave empty pieces out"
            )

    def theta(self, t: float) -> Control:
        """The control at time t after the start of the piece."""
        return self.control(t) if callable(self.control) else self.control


def control(field: Field, **given: Tensor) -> Control:
    """A control of a field from the terms that are not zero.

    Args:
        field: The vector field.
        **given: Weights by name; a bias may come as a vector.

    Returns:
        The full control, the missing weights zero.

    Raises:
        ValueError: If a name is unknown or a shape wrong.
    """
    unknown = sorted(set(given) - set(field.shapes))
    if unknown:
        raise ValueError(f"expected weights among {sorted(field.shapes)}, got {unknown}; rename")
    out = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in field.shapes.items()}
    for name, value in given.items():
        full = value.unsqueeze(-1) if value.dim() == 1 else value
        if tuple(full.shape) != field.shapes[name]:
            raise ValueError(
                f"expected {name} of shape {field.shapes[name]}, got {tuple(value.shape)}; "
                "check the dimension d and the inflation factor α"
            )
        out[name] = full
    return out


def drive(field: Field, pieces: Sequence[Piece], z: Tensor, *, method: str = "classical") -> Tensor:
    """Move data by a control given piece by piece.

    Args:
        field: The vector field.
        pieces: The control, in order.
        z: Initial states ``(n, S)``.
        method: A fixed-step method of `TABLEAUS`.

    Returns:
        The states at the start and at the end of every piece, ``(pieces + 1, n, S)``.
    """
    tableau, kept = TABLEAUS[method], [z]
    for piece in pieces:

        def rhs(t: float, y: State, piece: Piece = piece) -> State:
            return (field.velocity(y[0], piece.theta(t)),)

        h = piece.length / piece.steps
        for k in range(piece.steps):
            (z,) = rk_step(rhs, k * h, h, (z,), tableau)
        kept.append(z)
    return torch.stack(kept)


def energy(field: Field, pieces: Sequence[Piece], *, nodes: int = 8) -> float:
    """The energy, integral of R(theta(t)) over depth, by Simpson's rule on every piece.

    Args:
        field: The vector field, whose weights define R.
        pieces: The control.
        nodes: Intervals of Simpson's rule, even; constant pieces are exact with any.
    """
    total = 0.0
    for piece in pieces:
        if not callable(piece.control):
            total += piece.length * float(field.penalty(piece.control))
            continue
        h = piece.length / nodes
        r = [float(field.penalty(piece.theta(k * h))) for k in range(nodes + 1)]
        total += h / 3 * (r[0] + 4 * sum(r[1::2]) + 2 * sum(r[2:-1:2]) + r[-1])
    return total


def length(field: Field, piece: Piece) -> float:
    """The length of a constant piece: its duration times sqrt(2 R).

    Raises:
        ValueError: If the control of the piece varies.
    """
    if callable(piece.control):
        raise ValueError("expected a constant piece, got one whose control varies; cut it up")
    return piece.length * float((2 * field.penalty(piece.control)).sqrt())


def retime(field: Field, pieces: Sequence[Piece], *, depth: float = 1.0) -> tuple[Piece, ...]:
    """Traverse constant pieces at unit cost rate: the cheapest timing of the same path.

    A linear field run s times as fast moves the data along the same path in 1/s of the time. By
    the Cauchy-Schwarz inequality the energy of all timings is at least (sum of lengths)^2 / (2 T),
    with equality when every piece lasts in proportion to its length.

    Args:
        field: The vector field.
        pieces: Constant pieces, of any durations.
        depth: Total duration T afterwards.

    Returns:
        The same pieces with new durations and rescaled controls; those that cost nothing are
        dropped, since they move nothing.
    """
    sizes = [length(field, p) for p in pieces]
    total, out = sum(sizes), []
    for p, size in zip(pieces, sizes, strict=True):
        if size > 0:
            new = depth * size / total
            theta = {k: v * (p.length / new) for k, v in p.theta(0.0).items()}
            out.append(Piece(new, theta, p.steps))
    return tuple(out)
