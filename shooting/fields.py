"""Vector fields that are linear in their parameters: a list of terms.

A field is f(z, theta) = sum_b E_out(b) theta_b phi_b(z) with penalty
R(theta) = 1/2 sum_b <theta_b, M_b theta_b>. A `Term` names the output slot, the feature phi_b
and the weight M_b; everything else (controls, kernel, energy, costates) follows from the list.

Shapes: a state z has shape ``(*runs, n, S)``, its slots packed in order (for UpDown ``[x | v]``).
A control theta_b has shape ``(*runs, out, width of phi_b)``; a bias has width 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.activations import Activation, activation

Weight = float | Tensor
Control = dict[str, Tensor]


@dataclass(frozen=True)
class Term:
    """One summand E_out theta_b phi_b(z) of a vector field.

    Attributes:
        name: Name of the control theta_b, e.g. ``"theta1"``.
        out: Slot whose velocity the term feeds.
        of: Slot the feature reads, or None for the constant feature 1 (a bias).
        activated: Whether the feature is sigma(slot) rather than the slot itself.
        weight: Penalty weight: a positive number, or a symmetric positive definite matrix
            of shape ``(out, out)`` (M_A and M_b of Eqs. 3.5-3.6).
    """

    name: str
    out: str
    of: str | None = None
    activated: bool = False
    weight: Weight = 1.0

    def __str__(self) -> str:
        feature = "1" if self.of is None else f"σ({self.of})" if self.activated else self.of
        weight = "M" if isinstance(self.weight, Tensor) else f"{self.weight:g}"
        return f"{self.out} ← {feature}/{weight}"


class Field:
    """A vector field given by its slots, its terms and its activation.

    Args:
        slots: Width of each slot, in packing order, e.g. ``{"x": d, "v": alpha * d}``.
        terms: The terms; names must be distinct.
        sigma: Activation, by name or as an `Activation`.

    Raises:
        ValueError: If a term names an unknown slot, a name repeats, or a weight is not
            a positive number or a symmetric positive definite matrix of the right size.
    """

    def __init__(
        self, slots: Mapping[str, int], terms: Sequence[Term], *, sigma: str | Activation = "relu"
    ) -> None:
        self.slots = {name: _count(size, f"width of slot {name}") for name, size in slots.items()}
        self.terms = tuple(terms)
        self.sigma = activation(sigma)
        _check_terms(self.slots, self.terms)
        self._inverse: dict[str, Tensor] = {
            t.name: torch.linalg.inv(t.weight.double())
            for t in self.terms
            if isinstance(t.weight, Tensor)
        }

    # --- sizes -----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Length S of a state."""
        return sum(self.slots.values())

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shape ``(out, width)`` of each control theta_b."""
        return {t.name: (self.slots[t.out], self.width(t)) for t in self.terms}

    def width(self, term: Term) -> int:
        """Width of the feature of a term: the slot's, or 1 for a bias."""
        return 1 if term.of is None else self.slots[term.of]

    def __repr__(self) -> str:
        terms = ", ".join(map(str, self.terms))
        return f"{type(self).__name__}({terms}; σ = {self.sigma.name}, S = {self.size})"

    # --- features --------------------------------------------------------------------------

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """Cut a packed state ``(..., S)`` into its slots."""
        if z.shape[-1] != self.size:
            raise ValueError(
                f"expected a state whose last axis packs {self.slots} (length {self.size}), "
                f"got shape {tuple(z.shape)}; concatenate the slots in that order"
            )
        return dict(zip(self.slots, z.split(list(self.slots.values()), dim=-1), strict=True))

    def pack(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Inverse of `split`."""
        return torch.cat([parts[name] for name in self.slots], dim=-1)

    def features(self, z: Tensor) -> list[Tensor]:
        """phi_b(z) of each term, shapes ``(..., n, width)``."""
        parts = self.split(z)
        active = {t.of: self.sigma.value(parts[t.of]) for t in self.terms if t.of and t.activated}
        one = torch.ones_like(z[..., :1])
        return [
            one if t.of is None else active[t.of] if t.activated else parts[t.of]
            for t in self.terms
        ]

    # --- theta-form ------------------------------------------------------------------------

    def theta(self, q: Tensor, p: Tensor) -> Control:
        """Compatibility equation (3.3): theta_b = M_b^-1 sum_j p_j,out phi_b(q_j)^T.

        Args:
            q: Particle states ``(*runs, K, S)``.
            p: Particle costates ``(*runs, K, S)``.

        Returns:
            The maximiser theta of sum_j p_j . f(q_j, theta) - R(theta), by name.
        """
        costate = self.split(p)
        return {
            t.name: self._solve(t, costate[t.out].transpose(-1, -2) @ phi)
            for t, phi in zip(self.terms, self.features(q), strict=True)
        }

    def velocity(self, z: Tensor, theta: Control) -> Tensor:
        """The vector field f(z, theta) = sum_b E_out theta_b phi_b(z), shape of z."""
        parts = {name: torch.zeros_like(s) for name, s in self.split(z).items()}
        for t, phi in zip(self.terms, self.features(z), strict=True):
            parts[t.out] = parts[t.out] + phi @ theta[t.name].transpose(-1, -2)
        return self.pack(parts)

    def pull_back(self, z: Tensor, p: Tensor, theta: Control) -> Tensor:
        """(d_z f)^T p for each row, by hand from phi_b': the adjoint equation (3.3) is -this."""
        parts, costate = self.split(z), self.split(p)
        out = {name: torch.zeros_like(s) for name, s in parts.items()}
        for t in self.terms:
            if t.of is not None:
                back = costate[t.out] @ theta[t.name]
                slope = self.sigma.slope(parts[t.of]) if t.activated else 1.0
                out[t.of] = out[t.of] + slope * back
        return self.pack(out)

    def penalty(self, theta: Control) -> Tensor:
        """R(theta) = 1/2 sum_b <theta_b, M_b theta_b>, shape ``(*runs)``."""
        return 0.5 * torch.stack([self._square(t, theta[t.name]) for t in self.terms]).sum(0)

    # --- kernel (Gram) form ----------------------------------------------------------------

    def kernel_velocity(self, z: Tensor, q: Tensor, p: Tensor) -> Tensor:
        """f(z) = sum_j K(z, q_j) p_j without theta (Remark 4), shape of z.

        Args:
            z: States to move ``(*runs, n, S)``.
            q: Particle states ``(*runs, K, S)``.
            p: Particle costates ``(*runs, K, S)``.
        """
        costate = self.split(p)
        parts = {name: torch.zeros_like(s) for name, s in self.split(z).items()}
        for t, phi_z, phi_q in zip(self.terms, self.features(z), self.features(q), strict=True):
            parts[t.out] = parts[t.out] + self._gram(phi_z, phi_q) @ self._metric(t, costate[t.out])
        return self.pack(parts)

    def kernel_pull_back(self, q: Tensor, p: Tensor) -> Tensor:
        """(d_q f)^T p at the particles without theta: sum_k (p_j . M_b^-1 p_k) phi_b(q_k)."""
        parts, costate = self.split(q), self.split(p)
        out = {name: torch.zeros_like(s) for name, s in parts.items()}
        for t, phi in zip(self.terms, self.features(q), strict=True):
            if t.of is not None:
                back = self._gram(costate[t.out], self._metric(t, costate[t.out])) @ phi
                slope = self.sigma.slope(parts[t.of]) if t.activated else 1.0
                out[t.of] = out[t.of] + slope * back
        return self.pack(out)

    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        """H = R = 1/2 sum_jk p_j . K(q_j, q_k) p_k, shape ``(*runs)``."""
        return 0.5 * (p * self.kernel_velocity(q, q, p)).sum((-1, -2))

    # --- metrics ---------------------------------------------------------------------------

    def _gram(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.transpose(-1, -2)

    def _solve(self, term: Term, a: Tensor) -> Tensor:
        """M_b^-1 a for columns a of length ``out``."""
        if isinstance(term.weight, Tensor):
            return self._inverse[term.name].to(a) @ a
        return a / term.weight

    def _metric(self, term: Term, p: Tensor) -> Tensor:
        """M_b^-1 p for rows p of length ``out`` (M_b is symmetric)."""
        if isinstance(term.weight, Tensor):
            return p @ self._inverse[term.name].to(p)
        return p / term.weight

    def _square(self, term: Term, theta: Tensor) -> Tensor:
        """<theta, M_b theta>."""
        if isinstance(term.weight, Tensor):
            return (theta * (term.weight.to(theta) @ theta)).sum((-1, -2))
        return term.weight * (theta**2).sum((-1, -2))


class UpDown(Field):
    """The UpDown model (3.9): x' = theta1 sigma(v) + b1, v' = theta2 x + b2 + theta3 sigma(v).

    Args:
        dim: Dimension d of x.
        inflation: Inflation factor alpha; v has dimension alpha d.
        sigma: Activation.
        theta3_weight: Penalty weight of theta3 (Appendix E: 10).
        weight: Penalty weight of the other four terms.

    Raises:
        ValueError: If dim or inflation is not a positive integer, or a weight is not positive.
    """

    def __init__(
        self,
        dim: int,
        inflation: int,
        *,
        sigma: str | Activation = "relu",
        theta3_weight: Weight = 10.0,
        weight: Weight = 1.0,
    ) -> None:
        self.dim = _count(dim, "dimension d")
        self.inflation = _count(inflation, "inflation factor α")
        super().__init__(
            {"x": self.dim, "v": self.inflation * self.dim},
            [
                Term("theta1", "x", "v", activated=True, weight=weight),
                Term("b1", "x", weight=weight),
                Term("theta2", "v", "x", weight=weight),
                Term("b2", "v", weight=weight),
                Term("theta3", "v", "v", activated=True, weight=theta3_weight),
            ],
            sigma=sigma,
        )


class Affine(Field):
    """The affine model (3.5): x' = A sigma(x) + b, penalty 1/2 <A, M_A A> + 1/2 <b, M_b b>.

    Args:
        dim: Dimension d of x.
        sigma: Activation.
        weight: M_A: a positive number or a symmetric positive definite ``(d, d)`` matrix.
        bias_weight: M_b, likewise.
    """

    def __init__(
        self,
        dim: int,
        *,
        sigma: str | Activation = "relu",
        weight: Weight = 1.0,
        bias_weight: Weight = 1.0,
    ) -> None:
        self.dim = _count(dim, "dimension d")
        terms = [
            Term("A", "x", "x", activated=True, weight=weight),
            Term("b", "x", weight=bias_weight),
        ]
        super().__init__({"x": self.dim}, terms, sigma=sigma)


def flops(field: Field, particles: int, rows: int) -> dict[str, float]:
    """Multiply-add count of one right-hand side, both forms, elementwise work ignored.

    Args:
        field: The vector field.
        particles: Number K of particles.
        rows: Number n of data rows carried along.

    Returns:
        ``{"theta": ..., "kernel": ...}`` in floating-point operations.
    """
    k, n = particles, rows
    theta = sum(
        2 * out * width * ((3 if t.of else 2) * k + n)  # build theta, move particles, pull p back
        for t, (out, width) in zip(field.terms, field.shapes.values(), strict=True)
    )
    read = {(t.of, t.activated): field.width(t) for t in field.terms if t.of}
    fed = {t.out: field.slots[t.out] for t in field.terms}
    # each feature and each output slot enters one Gram matrix and one product with it
    kernel = sum(2 * k * (2 * k + n) * width for width in (*read.values(), *fed.values()))
    return {"theta": float(theta), "kernel": float(kernel)}


def _count(value: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a whole {what} of at least 1, got {value!r}; try {what} = 1")
    return value


def _check_terms(slots: Mapping[str, int], terms: Sequence[Term]) -> None:
    names = [t.name for t in terms]
    if not terms or len(set(names)) != len(names):
        raise ValueError(
            f"expected at least one term, all named differently, got {names}; rename or add terms"
        )
    for t in terms:
        for slot in filter(None, (t.out, t.of)):
            if slot not in slots:
                raise ValueError(
                    f"expected term {t.name!r} to use slots among {sorted(slots)}, got {slot!r}; "
                    "declare the slot or correct the term"
                )
        _check_weight(t, slots[t.out])


def _check_weight(term: Term, out: int) -> None:
    w = term.weight
    if not (_is_spd(w, out) if isinstance(w, Tensor) else _is_positive(w)):
        got = f"a {w.dtype} tensor of shape {tuple(w.shape)}" if isinstance(w, Tensor) else repr(w)
        raise ValueError(
            f"expected the weight of {term.name!r} to be a positive number or a symmetric positive "
            f"definite {out}×{out} matrix, got {got}; try 1.0, as a penalty must be strictly convex"
        )


def _is_positive(w: object) -> bool:
    return isinstance(w, (int, float)) and not isinstance(w, bool) and 0 < w < float("inf")


def _is_spd(m: Tensor, n: int) -> bool:
    if m.shape != (n, n) or not m.is_floating_point() or not bool(torch.isfinite(m).all()):
        return False
    if not torch.allclose(m, m.T):
        return False
    return int(torch.linalg.cholesky_ex(m).info) == 0
