"""The discrete adjoint: the exact gradient of a fixed-step solve, as one node of autograd.

A solve packs everything that moves into one tensor w ``(R, rows, S)`` and is described by an
`Engine`: the slope of w, and the transposed derivative of the slope. `Solve` runs the stages of a
Runge-Kutta method forward, keeps them, and runs their transposes backward, which costs a few
dozen operations per stage where autograd records hundreds. The result equals autograd's up to
rounding: it is the gradient of the discrete solution, not a discretised costate equation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any, Protocol

import torch
from torch import Tensor

from shooting.activations import Activation
from shooting.fields import Control, Field
from shooting.solvers import Grid, Tableau

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
        path, tape = engine.forward(w, theta, keep)
        ctx.engine, ctx.controlled = engine, theta is not None
        ctx.save_for_backward(w, *([theta] if theta is not None else []), *tape)
        return path

    @staticmethod
    def backward(ctx: Any, path_bar: Tensor) -> tuple[Tensor | None, ...]:
        """Transpose the solve."""
        w, *rest = ctx.saved_tensors
        theta = rest.pop(0) if ctx.controlled else None
        if torch.is_grad_enabled():  # create_graph=True: someone wants to differentiate again
            return None, *_differentiable(ctx, w, theta, path_bar), None
        return None, *ctx.engine.backward(tuple(rest), theta, path_bar), None


def _differentiable(
    ctx: Any, w: Tensor, theta: Tensor | None, path_bar: Tensor
) -> list[Tensor | None]:
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


# --- the shooting system in kernel form ------------------------------------------------------


@dataclass(frozen=True)
class Merged:
    """A field whose terms share Gram matrices: one per feature, one product per output slot.

    Attributes:
        slots: Place of each slot in a state.
        features: Slot index and whether activated, of each distinct feature but the constant.
        gain: gain[o][f]: sum of 1/w_b over the terms that feed slot o with feature f.
        bias: The same for the constant feature.
        sigma: The activation.
    """

    slots: tuple[slice, ...]
    features: tuple[tuple[int, bool], ...]
    gain: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    sigma: Activation

    @property
    def curved(self) -> bool:
        """Whether sigma'' is not identically zero."""
        return self.sigma.curvature is not torch.zeros_like


@functools.lru_cache(maxsize=32)  # a field never changes, and every solve asks
def merge(field: Field) -> Merged:
    """Group the terms of a field with scalar weights."""
    names = list(field.slots)
    features = tuple(dict.fromkeys((t.of, t.activated) for t in field.terms if t.of))
    gain = {(o, f): 0.0 for o in names for f in (*features, None)}
    for t in field.terms:
        assert not isinstance(t.weight, Tensor)
        gain[t.out, (t.of, t.activated) if t.of else None] += 1 / t.weight
    ends = [sum(list(field.slots.values())[: i + 1]) for i in range(len(names))]
    return Merged(
        tuple(slice(e - size, e) for e, size in zip(ends, field.slots.values(), strict=True)),
        tuple((names.index(str(of)), activated) for of, activated in features),
        tuple(tuple(gain[o, f] for f in features) for o in names),
        tuple(gain[o, None] for o in names),
        field.sigma,
    )


@dataclass(frozen=True)
class Shooting:
    """Engine of the shooting system (3.4) in kernel form; rows of w are [q; z; p].

    Attributes:
        field: The vector field, with scalar weights.
        particles: Number K of particles.
        grid: Where to step and what to return.
        tableau: The method.
    """

    field: Field
    particles: int
    grid: Grid
    tableau: Tableau
    merged: Merged = attribute(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "merged", merge(self.field))

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """See `Engine`."""
        path, tapes = march(self._keeping(keep), w, self.grid, self.tableau)
        return path, tuple(t for tape in tapes for t in tape)

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """See `Engine`."""
        size = 1 + len(self.merged.slots) + len(self.merged.features)
        tapes = [tape[i : i + size] for i in range(0, len(tape), size)]
        return [march_back(self.transpose, tapes, path_bar, self.grid, self.tableau), None]

    def reference(self, w: Tensor, theta: Tensor | None) -> Tensor:
        """See `Engine`."""
        return march(self._keeping(False), w, self.grid, self.tableau)[0]

    def _keeping(self, keep: bool) -> Rates:
        def rates(step: int, w: Tensor) -> tuple[Tensor, Tape]:
            slope, tape = kernel_rates(self.merged, w, self.particles)
            return slope, tape if keep else ()

        return rates

    def transpose(self, step: int, tape: Tape, k_bar: Tensor) -> Tensor:
        """Transposed derivative of `rates`, applied to k_bar."""
        m, n = self.merged, self.particles
        w, kernels, pulls = tape[0], tape[1 : 1 + len(m.slots)], tape[1 + len(m.slots) :]
        last = w.shape[1] - n  # where p begins; -n would not do for n = 0
        y, p, a, c = w[:, :last], w[:, last:], k_bar[:, :last], k_bar[:, last:]
        phi = _features(m, y)
        kernel_bars = [_outer(p[..., s], a[..., s]) for s in m.slots]
        p_bar = [torch.bmm(k, a[..., s]) for k, s in zip(kernels, m.slots, strict=True)]
        w_bar = torch.zeros_like(w)
        pull_bars = []
        for j, (f, pull) in enumerate(zip(phi, pulls, strict=True)):
            gram_bar = _mix([row[j] for row in m.gain], kernel_bars)
            pull_bars.append(self._pull_back(j, y, c, f, pull, gram_bar, w_bar))
        for o, s in enumerate(m.slots):
            pair_bar = _mix(m.gain[o], pull_bars)
            w_bar[:, last:, s] = torch.baddbmm(p_bar[o], pair_bar + pair_bar.mT, p[..., s])
        return w_bar

    def _pull_back(
        self, j: int, y: Tensor, c: Tensor, f: Tensor, pull: Tensor, gram_bar: Tensor, w_bar: Tensor
    ) -> Tensor:
        """Transpose of phi phi^T, of -phi' (pull @ phi), and of phi; the gradient of pull."""
        n, (slot, activated) = self.particles, self.merged.features[j]
        s, sigma = self.merged.slots[slot], self.merged.sigma
        y, c = y[..., s], -c[..., s]
        slope = sigma.slope(y) if activated else None
        b = c if slope is None else c * slope[:, :n]
        f_bar = torch.bmm(gram_bar.mT, f[:, :n])
        f_bar[:, :n] += torch.baddbmm(torch.bmm(gram_bar, f), pull, b)  # pull is symmetric
        w_bar[:, : f.shape[1], s] += f_bar if slope is None else slope * f_bar
        if activated and self.merged.curved:
            w_bar[:, :n, s] += sigma.curvature(y[:, :n]) * c * torch.bmm(pull, f[:, :n])
        return _outer(b, f[:, :n])


def kernel_rates(m: Merged, w: Tensor, n: int) -> tuple[Tensor, Tape]:
    """(q', z', p') = (K(q, q) p, K(z, q) p, -sum_k (p_j . p_k) phi'(q_j) phi(q_k)).

    Args:
        m: The field.
        w: Rows [q; z; p], ``(R, n + rows + n, S)``.
        n: Number of particles.

    Returns:
        The slope of w, and w with the matrices that the transpose needs again.
    """
    y, p = w.split([w.shape[1] - n, n], dim=1)
    phi = _features(m, y)
    grams = [_outer(f[:, :n], f) for f in phi]
    kernels = [_mix(c, grams, b) for c, b in zip(m.gain, m.bias, strict=True)]
    moved = [torch.bmm(k.mT, p[..., s]) for k, s in zip(kernels, m.slots, strict=True)]
    pairs = [_outer(p[..., s], p[..., s]) for s in m.slots]
    pulls = [_mix(c, pairs) for c in zip(*m.gain, strict=True)]
    parts: dict[int, Tensor] = {}
    for (slot, activated), f, pull in zip(m.features, phi, pulls, strict=True):
        back = torch.bmm(pull, f[:, :n])
        if activated:
            back = m.sigma.slope(y[:, :n, m.slots[slot]]) * back
        parts[slot] = parts[slot] + back if slot in parts else back
    pulled = [
        parts[o] if o in parts else torch.zeros_like(p[..., s]) for o, s in enumerate(m.slots)
    ]
    return torch.cat([torch.cat(moved, -1), -torch.cat(pulled, -1)], 1), (w, *kernels, *pulls)


def _features(m: Merged, y: Tensor) -> list[Tensor]:
    parts = ((y[..., m.slots[slot]], activated) for slot, activated in m.features)
    return [m.sigma.value(part) if activated else part for part, activated in parts]


class Energy(torch.autograd.Function):
    """H(q, p), whose gradient is the shooting system itself: dH/dq = -p', dH/dp = q'."""

    @staticmethod
    def forward(ctx: Any, field: Field, q: Tensor, p: Tensor) -> Tensor:
        """One evaluation of the system gives the value and the gradient."""
        w, k = torch.cat([q, p], dim=-2), q.shape[-2]
        slope = kernel_rates(merge(field), w.reshape(-1, *w.shape[-2:]), k)[0].reshape(w.shape)
        ctx.field = field
        ctx.save_for_backward(q, p, slope)
        value: Tensor = 0.5 * (p * slope[..., :k, :]).sum((-1, -2))
        return value

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply; differentiating twice falls back on the field's own formula."""
        q, p, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            needs = ctx.needs_input_grad[1:]
            inputs = [t for t, need in zip((q, p), needs, strict=True) if need]
            value = ctx.field.energy(q, p)
            found = iter(torch.autograd.grad(value, inputs, bar, create_graph=True))
            return None, *(next(found) if need else None for need in needs)
        k, bar = q.shape[-2], bar[..., None, None]
        return None, bar * -slope[..., k:, :], bar * slope[..., :k, :]


def energy(field: Field, q: Tensor, p: Tensor) -> Tensor:
    """H = R at particles, as `Field.energy`, at the price of one evaluation of the system.

    Args:
        field: The vector field.
        q: Particle states ``(*runs, K, S)``.
        p: Particle costates ``(*runs, K, S)``.

    Returns:
        H(q, p), shape ``(*runs)``.
    """
    if any(isinstance(t.weight, Tensor) for t in field.terms) or not any(t.of for t in field.terms):
        return field.energy(q, p)
    value: Tensor = Energy.apply(field, q, p)  # type: ignore[no-untyped-call]
    return value


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """a b^T; the fewer rows belong in front (twice as fast), and width 1 needs no product."""
    return a * b.mT if a.shape[-1] == 1 else torch.bmm(a, b.mT)


def _mix(weights: Sequence[float], parts: Sequence[Tensor], bias: float = 0.0) -> Tensor:
    """bias + sum_i weights_i parts_i, in as few operations as the weights allow."""
    used = [(c, part) for c, part in zip(weights, parts, strict=True) if c] or [(0.0, parts[0])]
    (c, total), *rest = sorted(used, key=lambda pair: pair[0] != 1)  # a weight 1 costs nothing
    total = total if c == 1 else total * c
    for c, part in rest:
        total = torch.add(total, part, alpha=c)
    return total + bias if bias else total


# --- data carried by given controls, in fused theta-form -------------------------------------


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
        parts = self.field.split(z)
        return torch.cat(
            [
                z.new_ones(()).expand(*z.shape[:-1], 1)
                if of is None
                else self.field.sigma.value(parts[of])
                if activated
                else parts[of]
                for of, activated in columns(self.field)
            ],
            dim=-1,
        )

    def _pull_back(self, z: Tensor, phi_bar: Tensor) -> Tensor:
        parts, at = self.field.split(z), 0
        out: dict[str, Tensor] = {}
        for of, activated in columns(self.field):
            width = 1 if of is None else self.field.slots[of]
            if of is not None:
                back = phi_bar[..., at : at + width]
                back = self.field.sigma.slope(parts[of]) * back if activated else back
                out[of] = out[of] + back if of in out else back
            at += width
        return self.field.pack({k: out[k] if k in out else 0 * part for k, part in parts.items()})


def columns(field: Field) -> list[tuple[str | None, bool]]:
    """The distinct features of a field, as (slot, activated), in the order `fuse` packs them."""
    return list(dict.fromkeys((t.of, t.activated and t.of is not None) for t in field.terms))


def fuse(field: Field, theta: Control) -> Tensor:
    """One matrix Theta ``(*runs, B, S, F)`` with z' = Theta phi(z), from the named controls."""
    first = next(iter(theta.values()))
    rows = []
    for out, size in field.slots.items():
        row = []
        for of, activated in columns(field):
            mine = [t for t in field.terms if (t.out, t.of) == (out, of)]
            found = [theta[t.name] for t in mine if of is None or t.activated == activated]
            width = 1 if of is None else field.slots[of]
            row.append(sum(found, first.new_zeros(())).expand(*first.shape[:-2], size, width))
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)
