"""The Hamiltonian and the shooting system, by autograd and in closed form.

Convention (Pontryagin, maximised): H = sum_j p_j . f(q_j, theta) - R(theta), q' = +dH/dp,
p' = -dH/dq, theta = argmax H, and p(T) = -lambda grad loss at a critical point. Autograd on H is
the definition; the closed forms of `Field` are optimisations that tests hold against it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shooting.fields import Control, Field, VectorField

HamiltonianFn = Callable[[Tensor, Tensor], Tensor]
System = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def pontryagin(field: VectorField, q: Tensor, p: Tensor, theta: Control) -> Tensor:
    r"""The control Hamiltonian (signs of Eq. 3.3).

    $$\sum_j p_j\cdot f(q_j,\theta) - R(\theta)$$

    Args:
        field: The vector field.
        q: States ``(*runs, K, S)``.
        p: Costates ``(*runs, K, S)``.
        theta: Any control, not only the maximising one.

    Returns:
        H(q, p, theta), shape ``(*runs)``.
    """
    return (p * field.velocity(q, theta)).sum((-1, -2)) - field.penalty(theta)


def hamiltonian(field: VectorField, q: Tensor, p: Tensor) -> Tensor:
    r"""The reduced Hamiltonian, shape ``(*runs)``.

    $$\max_\theta H(q, p, \theta) = R(\theta(q, p))$$
    """
    return pontryagin(field, q, p, field.theta(q, p))


def autodiff_system(energy: HamiltonianFn) -> System:
    """Appendix C: the canonical equations q' = dH/dp, p' = -dH/dq of any H, by autograd.

    Args:
        energy: H(q, p), shape ``(*runs)``; must not mix runs.

    Returns:
        A function of (q, p) giving (q', p'), differentiable again.
    """

    def system(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        outer = torch.is_grad_enabled()
        with torch.enable_grad():
            q = q if q.requires_grad else q.detach().requires_grad_()
            p = p if p.requires_grad else p.detach().requires_grad_()
            value = energy(q, p).sum()
            # zeros where H does not depend on q or p at all
            dq, dp = torch.autograd.grad(
                value, (q, p), create_graph=outer, allow_unused=True, materialize_grads=True
            )
        return dp, -dq

    return system


def theta_system(field: VectorField) -> System:
    r"""The shooting system (3.4) through theta.

    $$\dot q = f(q,\theta), \quad \dot p = -(\mathrm{d}_q f)^\top p$$
    """

    def system(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        theta = field.theta(q, p)
        return field.velocity(q, theta), -field.pull_back(q, p, theta)

    return system


def kernel_system(field: Field) -> System:
    """The shooting system (3.4) in kernel form: theta is never instantiated (Remark 4)."""

    def system(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return field.kernel_velocity(q, q, p), -field.kernel_pull_back(q, p)

    return system


def momentum_map(field: VectorField, q: Tensor, p: Tensor, *, slot: str = "x") -> Tensor:
    r"""The angular momentum J, conserved because only inner products of the slot enter H.

    $$J = X^\top P - P^\top X$$

    Args:
        field: A field whose features of the slot are the slot itself (not sigma of it).
        q: States ``(*runs, K, S)``.
        p: Costates ``(*runs, K, S)``.
        slot: The slot acted on by rotations.

    Returns:
        An antisymmetric matrix ``(*runs, d, d)``.
    """
    x, px = field.split(q)[slot], field.split(p)[slot]
    a = x.transpose(-1, -2) @ px
    return a - a.transpose(-1, -2)


def compatibility_residual(field: VectorField, q: Tensor, p: Tensor, theta: Control) -> Tensor:
    r"""How far a control is from the compatible one (3.3): zero at an optimum.

    $$\max_b |\theta_b - M_b^{-1}\sum_j p_j\varphi_b(q_j)^\top|$$
    """
    best = field.theta(q, p)
    gaps = [(theta[name] - best[name]).abs().amax((-1, -2)) for name in best]
    return torch.stack(gaps).amax(0)
