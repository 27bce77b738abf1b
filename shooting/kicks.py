r"""Kicks: learned jumps of the particles' momenta at given depths, for losses along the way.

Where a loss is measured at depths t_k < T, the costates of the optimum jump there (the book's
chapter on intermediate losses, theorem on the jump conditions):

    p(t_k+) = p(t_k-) + lambda grad l_k(x(t_k)).

Particles do not know these gradients, so that their jumps are learned. Between kicks they follow
the shooting system, and R = H is constant on each segment, not over all depth. Positions are
continuous; momenta and controls are continuous from the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from shooting.adjoint import energy
from shooting.conservation import ERROR_PER_DRIFT, drift
from shooting.fields import VectorField
from shooting.flow import Path, Solver, Times, choose_step, shoot
from shooting.solvers import State, make_grid
from shooting.times import check_times, moves, nudge, numbers

SAME = 1e-6  # times may be rounded to float32; nearer than this part of its depth is at a kick


def check_kicks(kicks: object) -> tuple[float, ...]:
    """Depths of kicks as numbers.

    Raises:
        ValueError: If they are not positive and increasing, or nearer than `SAME`.
    """
    at = tuple(numbers(kicks, least=0))
    if not at:
        return ()
    if at[0] <= 0 or any(b <= a * (1 + SAME) for a, b in pairwise(at)):
        raise ValueError(
            f"expected increasing kick times after depth 0, where p(0) is learned itself, and "
            f"{SAME:g} of their depth apart or more, got {at}; try kicks=(0.25, 0.5, 0.75)"
        )
    return at


def near(at: Sequence[float], t: Sequence[float]) -> tuple[float, ...]:
    """Depths of kicks, each replaced by the one among t that rounding has made of it."""

    def snapped(k: float) -> float:
        nearest = min(t, key=lambda s: abs(s - k))
        return nearest if abs(nearest - k) <= SAME * k else k

    return tuple(map(snapped, at))


@dataclass(frozen=True)
class Kicks:
    """Jumps of the costates.

    Attributes:
        at: Depths t_1 < ... < t_M.
        jumps: What is added to p at each of them, ``(*runs, M, K, S)``.
    """

    at: tuple[float, ...]
    jumps: Tensor

    def jump(self, k: int) -> Tensor:
        """The k-th jump, ``(*runs, K, S)``."""
        return self.jumps[..., k, :, :]

    def at_nodes(self, t: Sequence[float]) -> Tensor:
        """The jump at each of some depths, zero where there is none, ``(*runs, nodes, K, S)``."""
        place = {s: k for k, s in enumerate(near(self.at, t))}
        padded = torch.cat([self.jumps, torch.zeros_like(self.jumps[..., :1, :, :])], dim=-3)
        return padded[..., [place.get(s, len(place)) for s in t], :, :]


@dataclass(frozen=True)
class Piece:
    """A part of a solve without a kick inside.

    Attributes:
        times: Its start, the times requested inside, its end; one time if its length is zero.
        kick: Which kick is met at its end, if one.
        asked: Whether its end is a requested time that no piece before has answered.
    """

    times: tuple[float, ...]
    kick: int | None
    asked: bool


def pieces(at: Sequence[float], t: Sequence[float]) -> Iterator[Piece]:
    """The pieces of a solve at monotone times, between the kicks on its way.

    The state at the first time has already been kicked if a kick lies there: a solve with
    increasing times kicks at the others, one with decreasing times takes it back first.

    Args:
        at: Depths of the kicks, increasing.
        t: Requested times, increasing or decreasing.
    """
    first, last = t[0], t[-1]
    if first < last:
        met = [(k, s) for k, s in enumerate(at) if first < s <= last]
    else:
        met = [(k, s) for k, s in enumerate(at) if last < s <= first][::-1]
    here = first
    for k, s in met:
        if s == here:
            yield Piece((s,), k, False)
        else:
            yield Piece((here, *_between(here, s, t), s), k, s in t)
        here = s
    if here != last:
        yield Piece((here, *_between(here, last, t), last), None, True)


def _between(a: float, b: float, t: Sequence[float]) -> list[float]:
    return [s for s in t if min(a, b) < s < max(a, b)]


def with_kicks(at: Sequence[float], times: Sequence[float]) -> list[float]:
    """Monotone times, together with the kicks between the first and the last."""
    low, high = sorted((times[0], times[-1]))
    inside = {s for s in at if low < s < high}
    return sorted({*times, *inside}, reverse=times[-1] < times[0])


def shoot_kicked(
    field: VectorField,
    q: Tensor,
    p: Tensor,
    z: Tensor,
    times: Times,
    kicks: Kicks,
    *,
    solver: Solver,
) -> Path:
    """`shooting.shoot` on each piece of depth between kicks.

    Args:
        field: The vector field.
        q: Particle states at the first time, ``(*runs, K, S)``.
        p: Costates there, likewise, after the kick if one lies there.
        z: Data states there, ``(*runs, n, S)``.
        times: Depths, increasing or decreasing. With decreasing times kicks are taken back. The
            derivative in a time at a kick is that from the right.
        kicks: When and by how much p jumps.
        solver: How to integrate; ``step="auto"`` is chosen once for all pieces.

    Returns:
        States at the requested times, p after the kick where one lies there.
    """
    if solver.step == "auto":
        step = kicked_step(field, q, p, z, times, kicks, solver=solver)
        solver = replace(solver, step=step)
    moved = moves(times)
    if moved is not None:
        z = _entered_at(field, q, p, z, moved[:1])
    runs = torch.broadcast_shapes(q.shape[:-2], z.shape[:-2])
    state = Path(*(y.expand(*runs, *y.shape[-2:]) for y in (q, p, z)))
    path = _march(field, state, check_times(times), kicks, solver)
    if moved is None:
        return path
    return Path(*nudge(lambda y: field.rates("theta", *y), path, moved))


def _march(
    field: VectorField, state: Path, t: Sequence[float], kicks: Kicks, solver: Solver
) -> Path:
    back, kept = t[-1] < t[0], [_row(state)]
    for piece in pieces(near(kicks.at, t), t):
        if len(piece.times) > 1:
            path = shoot(field, *state, piece.times, solver=solver)
            state = Path(*(y[..., -1, :, :] for y in path))
            kept.append(Path(*(y[..., 1:-1, :, :] for y in path)))
        before = state
        if piece.kick is not None:
            jump = kicks.jump(piece.kick)
            state = state._replace(p=state.p - jump if back else state.p + jump)
        if piece.asked:
            kept.append(_row(before if back else state))
    return Path(*(torch.cat(parts, dim=-3) for parts in zip(*kept, strict=True)))


def _row(state: Path) -> Path:
    return Path(*(y.unsqueeze(-3) for y in state))


def _entered_at(field: VectorField, q: Tensor, p: Tensor, z: Tensor, moved: Tensor) -> Tensor:
    """Data that enter a little later, taken back to where the solve starts: z, with a gradient."""

    def rhs(y: State) -> State:
        return field.rates("theta", *y)

    nothing = z[..., :0, :]
    later = nudge(rhs, tuple(y.unsqueeze(-3) for y in (q, p, nothing)), moved)
    return nudge(rhs, (*later[:2], z.unsqueeze(-3)), -moved)[2].squeeze(-3)


@torch.no_grad()
def kicked_drift(
    field: VectorField, q: Tensor, p: Tensor, times: Times, kicks: Kicks, *, solver: Solver
) -> Tensor:
    """By which part H moved between kicks, per run, the largest of the pieces.

    Args:
        field: The vector field.
        q: Particle states at the first time, ``(*runs, K, S)``.
        p: Costates there, likewise.
        times: Depths, the first and the last of which bound the solve.
        kicks: When and by how much p jumps.
        solver: How to integrate.
    """
    t = check_times(times)
    if solver.step == "auto":
        step = kicked_step(field, q, p, q[..., :0, :], t, kicks, solver=solver)
        solver = replace(solver, step=step)
    back, found, ends = t[-1] < t[0], [], [t[0], t[-1]]
    for piece in pieces(near(kicks.at, ends), ends):
        if len(piece.times) > 1:
            nodes = make_grid(piece.times, step=solver.step, most=solver.most_steps).nodes
            path = shoot(field, q, p, q[..., :0, :], nodes, solver=solver)
            found.append(drift(field, path.q, path.p))
            q, p = path.q[..., -1, :, :], path.p[..., -1, :, :]
        if piece.kick is not None:
            jump = kicks.jump(piece.kick)
            p = p - jump if back else p + jump
    return torch.stack(found).amax(0)


def kicked_step(
    field: VectorField,
    q: Tensor,
    p: Tensor,
    z: Tensor,
    times: Times,
    kicks: Kicks,
    *,
    solver: Solver,
) -> float:
    """The step under ``step="auto"``, one for all pieces; see `shooting.flow.shoot_step`."""
    t, fixed = check_times(times), Kicks(kicks.at, kicks.jumps.detach())
    q, p, z = q.detach(), p.detach(), z.detach()

    def lost(step: float) -> Tensor:
        how = replace(solver, step=step)
        return ERROR_PER_DRIFT * kicked_drift(field, q, p, t, fixed, solver=how)

    def solve(step: float) -> State:
        with torch.no_grad():
            return shoot_kicked(field, q, p, z, t, fixed, solver=replace(solver, step=step))

    return choose_step(lost, solve, t, q, solver)


def mean_penalty(
    field: VectorField, q: Tensor, p: Tensor, jumps: Tensor, lengths: Tensor
) -> Tensor:
    r"""Mean of R over depth: $\sum_k (t_k - t_{k-1}) H_k / T$, without a drift.

    With one, R varies on each interval, and the trapezoidal rule takes its values at both ends.

    Args:
        field: The vector field.
        q: Particle states at increasing nodes, the kicks among them, ``(*runs, nodes, K, S)``.
        p: Costates there, after the kicks.
        jumps: The kick at each node, perhaps zero.
        lengths: Of the intervals between the nodes, ``(nodes - 1,)``.
    """
    first, last = slice(None, -1), slice(1, None)
    if field.drift:
        left = (p - jumps)[..., last, :, :]
        level = field.penalty(field.theta(q[..., first, :, :], p[..., first, :, :]))
        level = (level + field.penalty(field.theta(q[..., last, :, :], left))) / 2
    else:
        level = energy(field, q[..., first, :, :], p[..., first, :, :])
    dt = lengths.to(level)
    mean: Tensor = (level * dt).sum(-1) / dt.sum()
    return mean
