"""The optimality system of any list of terms, derived by computer algebra.

The activation is an undetermined function sigma, every weight m_b a positive symbol; nothing
is numerical until `SymbolicShooting.evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from shooting.features import Activated
from shooting.fields import Field, Term

SIGMA = sp.Function("sigma")


class SymbolicShooting:
    """Symbols for K particles of a field and the Hamiltonians one can write with them.

    Args:
        field: The vector field; its weights are replaced by symbols m_b.
        particles: Number K of particles.

    Attributes:
        q: Positions, one ``K x width`` matrix of symbols for each slot.
        p: Costates, likewise.
        theta: Controls, one ``out x width`` matrix for each term.
        m: The positive weight of each term.
    """

    def __init__(self, field: Field, particles: int) -> None:
        self.field, self.particles = field, particles
        self.q = {s: _matrix(s, particles, w) for s, w in field.slots.items()}
        self.p = {s: _matrix(f"p_{s}", particles, w) for s, w in field.slots.items()}
        self.theta = {b: _matrix(b, *shape) for b, shape in field.shapes.items()}
        self.m = {b: sp.Symbol(f"m_{b}", positive=True) for b in field.shapes}

    # --- building blocks -------------------------------------------------------------------

    def feature(self, term: Term, j: int) -> sp.Matrix:
        """phi_b(q_j) as a column."""
        if term.is_bias:
            return sp.Matrix([1])
        column = self.q[term.phi.reads[0]].row(j).T
        return column.applyfunc(SIGMA) if isinstance(term.phi, Activated) else column

    def velocity(self, j: int) -> dict[str, sp.Matrix]:
        """f(q_j, theta) by slot, as columns."""
        out = {s: sp.zeros(w, 1) for s, w in self.field.slots.items()}
        for t in self.field.terms:
            out[t.out] += self.theta[t.name] * self.feature(t, j)
        return out

    @property
    def penalty(self) -> sp.Expr:
        """R(theta) = 1/2 sum_b m_b |theta_b|^2."""
        return sum(self.m[b] * sum(x**2 for x in w) for b, w in self.theta.items()) / 2

    @property
    def pairing(self) -> sp.Expr:
        """The pairing sum_j p_j . f(q_j, theta)."""
        return sum(
            (self.p[s].row(j) * column)[0]
            for j in range(self.particles)
            for s, column in self.velocity(j).items()
        )

    # --- the optimality system -------------------------------------------------------------

    def stationary(self, hamiltonian: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Solve d hamiltonian / d theta = 0; the equations are linear and decoupled."""
        entries = [x for w in self.theta.values() for x in w]
        return {x: sp.solve(sp.diff(hamiltonian, x), x)[0] for x in entries}

    def compatibility(self) -> dict[sp.Symbol, sp.Expr]:
        """Closed form theta_b = m_b^-1 sum_j p_j phi_b(q_j)^T, entry by entry."""
        out: dict[sp.Symbol, sp.Expr] = {}
        for t in self.field.terms:
            rows = range(self.particles)
            total = sum(
                (self.p[t.out].row(j).T * self.feature(t, j).T for j in rows),
                sp.zeros(*self.field.shapes[t.name]),
            )
            out.update(zip(self.theta[t.name], total / self.m[t.name], strict=True))
        return out

    def canonical(self, hamiltonian: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Hamilton's equations: q' = +dH/dp and p' = -dH/dq, keyed by the moving symbol."""
        out: dict[sp.Symbol, sp.Expr] = {}
        for s in self.field.slots:
            for q, p in zip(self.q[s], self.p[s], strict=True):
                out[q], out[p] = sp.diff(hamiltonian, p), -sp.diff(hamiltonian, q)
        return out

    def optimality(self) -> dict[sp.Symbol, sp.Expr]:
        """Right sides of Eq. (3.3): q' = f(q, theta) and p' = -(d_q f)^T p, theta kept."""
        out: dict[sp.Symbol, sp.Expr] = {}
        for j in range(self.particles):
            f = self.velocity(j)
            for s in self.field.slots:
                out.update(zip(self.q[s].row(j), f[s], strict=True))
                for q, p in zip(self.q[s].row(j), self.p[s].row(j), strict=True):
                    out[p] = -sum(
                        (self.p[o].row(j) * sp.diff(f[o], q))[0] for o in self.field.slots
                    )
        return out

    # --- numbers ---------------------------------------------------------------------------

    def evaluate(
        self, expressions: list[sp.Expr], q: Tensor, p: Tensor, *, sigma: Any = sp.tanh
    ) -> Tensor:
        """Put numbers in: sigma a sympy function, weights those of the field.

        Args:
            expressions: Expressions in q and p (no theta).
            q: Positions ``(K, S)``.
            p: Costates ``(K, S)``.
            sigma: What to put in place of the undetermined sigma.

        Returns:
            The values, a vector.
        """
        symbols, values = [], []
        for held, given in ((self.q, self.field.split(q)), (self.p, self.field.split(p))):
            for slot in self.field.slots:
                symbols += list(held[slot])
                values += given[slot].flatten().tolist()
        weights = {self.m[t.name]: float(t.metric) for t in self.field.terms}
        known = [e.subs(weights).replace(SIGMA, sigma).doit() for e in expressions]
        return torch.tensor(sp.lambdify(symbols, known, "math")(*values), dtype=torch.float64)


def differences(a: Mapping[sp.Symbol, sp.Expr], b: Mapping[sp.Symbol, sp.Expr]) -> list[sp.Symbol]:
    """Symbols whose expressions differ, after expansion."""
    return [s for s in a if sp.expand(a[s] - b[s]) != 0]


def _matrix(name: str, rows: int, columns: int) -> sp.Matrix:
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{i}{j}", real=True))
