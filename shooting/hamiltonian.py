"""The Hamiltonian and the shooting system, by autograd and in closed form.

Convention (Pontryagin, maximised): H = sum_j p_j . f(q_j, theta) - R(theta), q' = +dH/dp,
p' = -dH/dq, theta = argmax H, and p(T) = -lambda grad loss at a critical point. Autograd on H is
the definition; the closed forms of `Field` are optimisations that tests hold against it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shooting.errors import require_choice, require_shape, require_tensor, require_type
from shooting.features import Identity, Patches
from shooting.fields import Control, Field, Term, VectorField
from shooting.transforms import differentiator, observer

# Sizes of the random states at which a symmetry is tried, and particles of each: what is flat near
# zero, or far from it, shows at another size.
SCALES = (0.1, 1.0, 10.0, 100.0)
PROBES = 4

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
            # views, since p may have been computed from q
            q, p = (
                y.view_as(y) if y.requires_grad else y.detach().requires_grad_() for y in (q, p)
            )
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
    r"""The angular momentum J of a slot, conserved where rotations of the slot leave H unchanged.

    $$J = X^\top P - P^\top X$$

    The rows of X and P are particles, at an image slot particles times sites. Rotations leave H
    unchanged if the slot is read through its inner products alone (as itself or in patches, not
    through sigma) and every term that feeds it has a multiple of the identity as metric. Kicks
    change J.

    Args:
        field: A field whose H has this symmetry, which is tried on random states.
        q: States ``(*runs, K, S)``.
        p: Costates ``(*runs, K, S)``.
        slot: The slot acted on by rotations, at all sites alike.

    Returns:
        An antisymmetric matrix ``(*runs, width, width)``.

    Raises:
        ValueError: If J is not conserved, the slot is unknown, or shapes do not fit. Under a
            transform, a trace or a compiler, conservation is not tried.
    """
    require_type(field, VectorField, "a vector field", "try UpDown(2, 3)")
    require_choice(slot, field.spaces, "a slot")
    for name, value in (("q", q), ("p", p)):
        require_shape(require_tensor(value, name), (None, field.size), name, "pack all slots")
    if q.shape != p.shape:
        raise ValueError(
            f"expected states and costates of one shape, got {tuple(q.shape)} and "
            f"{tuple(p.shape)}; pass both of one shooting.Path"
        )
    if differentiator((q, p)) is None and observer((q, p)) is None and not _turns(field, slot, q):
        raise ValueError(
            f"expected a slot whose rotations leave H unchanged, got {slot!r} with "
            f"{_suspects(field, slot)}; try a slot that is read as it is and fed with scalar "
            "weights"
        )
    a = _product(field, q, p, slot)
    return a - a.transpose(-1, -2)


def _product(field: VectorField, q: Tensor, p: Tensor, slot: str) -> Tensor:
    """X^T P of a slot, ``(*runs, width, width)``."""
    x, px = (field.spaces[slot].rows(field.split(y)[slot]) for y in (q, p))
    return x.transpose(-1, -2) @ px


@torch.no_grad()
def _turns(field: VectorField, slot: str, like: Tensor) -> bool:
    """Whether J stands still at random states, small ones and large ones."""
    g = torch.Generator().manual_seed(0)
    shape = (2, len(SCALES), PROBES, field.size)
    drawn = torch.randn(shape, generator=g, dtype=torch.float64, device="cpu")
    drawn = drawn * torch.tensor(SCALES, dtype=torch.float64, device="cpu").view(-1, 1, 1)
    try:
        return _stands(field, slot, *drawn)
    except RuntimeError:  # what a function reads is of another type, or elsewhere
        return _stands(field, slot, *drawn.to(device=like.device, dtype=like.dtype))


def _stands(field: VectorField, slot: str, q: Tensor, p: Tensor) -> bool:
    """Whether J' vanishes up to rounding in all runs in which it is finite, at least one."""
    dq, dp, _ = field.rates("theta", q, p, q[..., :0, :])
    rate = _product(field, dq, p, slot) + _product(field, q, dp, slot)
    size = _product(field, dq.abs(), p.abs(), slot) + _product(field, q.abs(), dp.abs(), slot)
    moved = (rate - rate.mT).abs()
    finite = size.isfinite().all(-1).all(-1)
    bar = torch.finfo(q.dtype).eps ** 0.6 * size.amax((-1, -2), keepdim=True)
    still = (moved <= bar).all(-1).all(-1)
    return bool(finite.any()) and bool(still[finite].all())


def _suspects(field: VectorField, slot: str) -> str:
    """What may single out directions of a slot, in words."""
    if not isinstance(field, Field):
        return "a velocity that singles out directions of it"
    terms = (t for t in field.terms if _bent(t, slot))
    drifts = (d for d in field.drift if slot in (d.out, *d.phi.reads))
    return ", ".join(map(str, (*terms, *drifts)))


def _bent(term: Term, slot: str) -> bool:
    """Whether a term reads a slot otherwise than linearly, or feeds it with a matrix as weight."""
    phi = term.phi
    linear = type(phi) is Identity or (type(phi) is Patches and phi.act is None)
    return (slot in phi.reads and not linear) or (term.out == slot and term.metric.number is None)


def compatibility_residual(field: VectorField, q: Tensor, p: Tensor, theta: Control) -> Tensor:
    r"""How far a control is from the compatible one (3.3): zero at an optimum.

    $$\max_b |\theta_b - M_b^{-1}\sum_j p_j\varphi_b(q_j)^\top|$$
    """
    best = field.theta(q, p)
    gaps = [(theta[name] - best[name]).abs().amax((-1, -2)) for name in best]
    return torch.stack(gaps).amax(0)
