"""The transpose of the shooting system in kernel form, by hand, for dense fields.

It knows fields whose terms have scalar weights, read slots or activated slots, and feed plain
vectors without drift; `merge` returns None for all others, which `shooting.adjoint.stagewise`
takes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

import torch
from torch import Tensor

from shooting.activations import Activation
from shooting.adjoint.solve import Rates, Tape, march, march_back
from shooting.features import Activated, Constant, Feature, Identity
from shooting.fields import Field, VectorField
from shooting.solvers import Grid, Tableau
from shooting.transforms import differentiator, unmixed


@dataclass(frozen=True)
class Merged:
    """A field whose terms share Gram matrices: one per feature, one product per output slot.

    Attributes:
        slots: Place of each slot in a state.
        features: Slot index and activation, if any, of each distinct feature but the constant.
        gain: gain[o][f]: sum of 1/w_b over the terms that feed slot o with feature f.
        bias: The same for the constant feature.
    """

    slots: tuple[slice, ...]
    features: tuple[tuple[int, Activation | None], ...]
    gain: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


@functools.lru_cache(maxsize=32)  # a field never changes, and every solve asks
def knows(field: VectorField) -> bool:
    """Whether all features of a field are slots, activated slots or constants of plain vectors."""
    if not isinstance(field, Field) or not field.plain or field.drift:
        return False
    # the very types: a subclass may have another value, which no formula here would know
    return all(type(t.phi) in (Activated, Constant, Identity) for t in field.terms)


@functools.lru_cache(maxsize=32)
def merge(field: VectorField) -> Merged | None:
    """Group the terms of a dense field with scalar weights; None if the field is another."""
    if not knows(field) or not isinstance(field, Field):
        return None
    numbers = [t.metric.number for t in field.terms]
    read = dict.fromkeys(_read(t.phi) for t in field.terms if t.phi.reads)
    if None in numbers or not read:
        return None
    names = list(field.slots)
    gain = {(o, f): 0.0 for o in names for f in (*read, None)}
    for t, number in zip(field.terms, numbers, strict=True):
        assert number is not None
        gain[t.out, _read(t.phi) if t.phi.reads else None] += 1 / number
    ends = [sum(list(field.slots.values())[: i + 1]) for i in range(len(names))]
    return Merged(
        tuple(slice(e - size, e) for e, size in zip(ends, field.slots.values(), strict=True)),
        tuple((names.index(slot), act) for slot, act in read),
        tuple(tuple(gain[o, f] for f in read) for o in names),
        tuple(gain[o, None] for o in names),
    )


def _read(phi: Feature) -> tuple[str, Activation | None]:
    """Slot and activation of a dense feature."""
    return phi.reads[0], phi.act if isinstance(phi, Activated) else None


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
        found = merge(self.field)
        assert found is not None
        object.__setattr__(self, "merged", found)

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
        n, (slot, sigma) = self.particles, self.merged.features[j]
        s = self.merged.slots[slot]
        y, c = y[..., s], -c[..., s]
        slope = sigma.slope(y) if sigma else None
        b = c if slope is None else c * slope[:, :n]
        f_bar = torch.bmm(gram_bar.mT, f[:, :n])
        f_bar[:, :n] += torch.baddbmm(torch.bmm(gram_bar, f), pull, b)  # pull is symmetric
        w_bar[:, : f.shape[1], s] += f_bar if slope is None else slope * f_bar
        if sigma and sigma.curved:
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
    for (slot, sigma), f, pull in zip(m.features, phi, pulls, strict=True):
        back = torch.bmm(pull, f[:, :n])
        if sigma:
            back = sigma.slope(y[:, :n, m.slots[slot]]) * back
        parts[slot] = parts[slot] + back if slot in parts else back
    pulled = [
        parts[o] if o in parts else torch.zeros_like(p[..., s]) for o, s in enumerate(m.slots)
    ]
    return torch.cat([torch.cat(moved, -1), -torch.cat(pulled, -1)], 1), (w, *kernels, *pulls)


def _features(m: Merged, y: Tensor) -> list[Tensor]:
    parts = ((y[..., m.slots[slot]], sigma) for slot, sigma in m.features)
    return [sigma.value(part) if sigma else part for part, sigma in parts]


class Energy(torch.autograd.Function):
    """H(q, p), whose gradient is the shooting system itself: dH/dq = -p', dH/dp = q'."""

    @staticmethod
    def forward(ctx: Any, field: Field, q: Tensor, p: Tensor) -> Tensor:
        """One evaluation of the system gives the value and the gradient."""
        w, k, merged = torch.cat([q, p], dim=-2), q.shape[-2], merge(field)
        assert merged is not None
        slope = kernel_rates(merged, w.reshape(-1, *w.shape[-2:]), k)[0].reshape(w.shape)
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
            q, p = q.view_as(q), p.view_as(p)  # without a path from one to the other
            inputs = [t for t, need in zip((q, p), needs, strict=True) if need]
            value = ctx.field.energy(q, p)
            found = iter(torch.autograd.grad(value, inputs, bar, create_graph=True))
            return None, *(next(found) if need else None for need in needs)
        k, bar = q.shape[-2], bar[..., None, None]
        return None, bar * -slope[..., k:, :], bar * slope[..., :k, :]


def energy(field: VectorField, q: Tensor, p: Tensor) -> Tensor:
    """H = R at particles, as `Field.energy`, at the price of one evaluation of the system.

    Args:
        field: The vector field.
        q: Particle states ``(*runs, K, S)``.
        p: Particle costates ``(*runs, K, S)``.

    Returns:
        H(q, p), shape ``(*runs)``.
    """
    with unmixed(q):
        if merge(field) is None or differentiator((q, p)):
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
