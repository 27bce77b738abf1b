"""The three sign dictionaries in which the same optimality system is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from shooting.fields import Control, Field
from shooting.study.theory.invariants import march


@dataclass(frozen=True)
class Dictionary:
    """H = a sum_j p_j . f(q_j, theta) + b R(theta), q' = c dH/dp, p' = d dH/dq, dH/dtheta = 0.

    Attributes:
        name: How the dictionary is called in the text.
        pairing: The sign a.
        penalty: The sign b.
        q_sign: The sign c.
        p_sign: The sign d.
    """

    name: str
    pairing: int
    penalty: int
    q_sign: int
    p_sign: int

    def theta(self, field: Field, q: Tensor, p: Tensor) -> Control:
        """The stationary control: theta = -(a/b) M^-1 sum_j p_j phi(q_j)^T."""
        sign = -self.pairing / self.penalty
        return {name: sign * value for name, value in field.theta(q, p).items()}

    def hamiltonian(self, field: Field, q: Tensor, p: Tensor, theta: Control) -> Tensor:
        """The Hamiltonian of this dictionary at any control, shape ``(*runs)``."""
        pairing = (p * field.velocity(q, theta)).sum((-1, -2))
        return self.pairing * pairing + self.penalty * field.penalty(theta)

    def rates(self, field: Field, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Velocities (q', p') by autograd on `hamiltonian`, the control held fixed."""
        theta = {name: value.detach() for name, value in self.theta(field, q, p).items()}
        leaf_q, leaf_p = (t.detach().clone().requires_grad_() for t in (q, p))
        value = self.hamiltonian(field, leaf_q, leaf_p, theta).sum()
        dq, dp = torch.autograd.grad(value, (leaf_q, leaf_p))
        return self.q_sign * dp, self.p_sign * dq

    def shoot(
        self, field: Field, q: Tensor, p: Tensor, *, horizon: float = 1.0, steps: int = 40
    ) -> tuple[Tensor, Tensor]:
        """Path of (q, p) at all nodes of a classical Runge-Kutta solve, ``(steps + 1, K, S)``."""
        return march(partial(self.rates, field), q, p, steps, horizon=horizon)


OURS = Dictionary("maximised: H = p·f − R", +1, -1, +1, -1)
BEFORE_3_8 = Dictionary("as printed before (3.8), mended: H = R − p·f", -1, +1, -1, +1)
MINIMISED = Dictionary("minimised: H = R + p·f", +1, +1, +1, -1)
PRINTED_3_8 = Dictionary("(3.8) to the letter", -1, +1, +1, -1)
DICTIONARIES = (OURS, BEFORE_3_8, MINIMISED)
