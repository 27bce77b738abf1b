"""The Hamiltonian as a free estimate of the solver's error, and steps chosen by it.

Exact shooting conserves H; a Runge-Kutta method of order p loses it like step^p, as it loses the
states. By how much H has moved is therefore known without a second solve. It estimates the error of
the particles, not of the data that ride along, and only up to a factor.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shooting.errors import (
    caller,
    require_count,
    require_real,
    require_shape,
    require_tensor,
    require_type,
    shown,
)
from shooting.fields import VectorField
from shooting.transforms import unmixed

# Error of the states per drift of H, both relative: at most this in most of the cases measured by
# `shooting.study.theory.drift`.
ERROR_PER_DRIFT = 10.0
COARSEST = 4  # steps over the whole depth that the choice begins with
HALVINGS = 10  # at most, of a proposed step and again of one that halved steps confirm
PATIENCE = 5  # halvings after which a run that is not finite is given up where others are


class ConservationWarning(UserWarning):
    """The solver's steps are too large: H moved, or a run misses the tolerance."""


@torch.no_grad()
def drift(field: VectorField, q: Tensor, p: Tensor) -> Tensor:
    r"""By which part H moved along a solution.

    $$\max_t |H(t) - H(0)| / s$$

    The scale s is |H(0)|. The H of a field with a drift has no sign and may vanish while its parts
    do not; its scale is the largest $R(t) + |H(t) - R(t)|$.

    Args:
        field: The vector field.
        q: Particle states over depth ``(*runs, times, K, S)``, as in `shooting.Path`.
        p: Particle costates, likewise.

    Returns:
        One number per run, ``(*runs)``; 0 where H stays 0, and NaN or infinity where a state is
        not finite.
    """
    require_type(field, VectorField, "a vector field", "try UpDown(2, 3)")
    for name, value in (("q", q), ("p", p)):
        shape = (None, None, field.size)
        require_shape(require_tensor(value, name), shape, name, "pass a path, as in shooting.Path")
    if q.shape != p.shape or (q.dtype, q.device) != (p.dtype, p.device) or not q.shape[-3]:
        raise ValueError(
            "expected states and costates of one shape, dtype and device, with at least one time, "
            f"got {shown(q)} and {shown(p)}; pass both of one shooting.Path"
        )
    with unmixed(q):
        energy = field.energy(q, p)
        moved = (energy - energy[..., :1]).abs().amax(-1)
        scale = energy[..., 0].abs()
        if field.drift:
            cost = field.penalty(field.theta(q, p))
            scale = (cost + (energy - cost).abs()).amax(-1)
    return torch.where(moved == 0, moved, moved / scale)


def step_for(step: float, error: float, wanted: float, order: int) -> float:
    """The step at which an error would be the wanted one by the law error ~ step^order.

    Args:
        step: The step that was taken.
        error: The error it made; 0 keeps the step, one that is not finite asks for a quarter.
        wanted: The error that may remain.
        order: Order of the method.

    Returns:
        A step of one significant digit, rounded down.
    """
    step = require_real(step, "a step", above=0, example=0.1)
    wanted = require_real(wanted, "a wanted error", above=0, example=1e-3)
    order = require_count(order, "an order")
    if 0 <= error <= wanted:
        ratio = 1.0
    else:
        ratio = (wanted / error) ** (1 / order) if 0 < error < math.inf else 0.25
    exact = step * ratio
    unit = 10.0 ** math.floor(math.log10(exact))
    digit = math.floor(exact / unit * (1 + 1e-9))  # rounding must not take one off: 0.3 / 0.1 < 3
    return float(f"{digit * unit:.0e}")


def settle(
    error: Callable[[float], Tensor], first: float, *, tolerance: float, order: int
) -> float:
    """Halve a step until an error is within a tolerance, in each run that can be solved at all.

    Several halvings are taken at once where the law of the order says that fewer are not enough.

    Args:
        error: The error at a step, per run.
        first: The first step to try.
        tolerance: The error that may remain.
        order: Order of the method.

    Returns:
        The largest of ``first / 2^k`` that was found to suffice; the first without any run.

    Raises:
        ValueError: If no run comes within the tolerance.
    """
    needed, level = None, 0
    while True:
        found = error(first / 2**level).detach().double()
        if not found.numel():
            return first
        needed = torch.full_like(found, -1.0) if needed is None else needed
        needed = torch.where((needed < 0) & (found <= tolerance), float(level), needed)
        finite = torch.isfinite(found)
        lost = ~finite & (level >= PATIENCE) & (finite | (needed >= 0)).any()
        left = (needed < 0) & ~lost
        if level == HALVINGS or not bool(left.any()):
            return first / 2 ** _level(needed, found, first / 2**level, tolerance)
        level = min(HALVINGS, level + _jump(found[left], tolerance, order))


def _jump(errors: Tensor, tolerance: float, order: int) -> int:
    """Halvings that the error of the worst run asks for at least."""
    worst = float(errors.nan_to_num(math.inf, math.inf).max())
    if worst > 1:  # far from where the law holds
        return 1
    return max(1, math.floor(math.log2(worst / tolerance) / order))


def _level(needed: Tensor, found: Tensor, step: float, tolerance: float) -> int:
    """Halvings for all runs that can be solved, with a word about the others."""
    missed = needed < 0
    if not bool(missed.any()):
        return int(needed.max())
    rest = [float(e) for e in found[missed].reshape(-1)]
    what = (
        f"expected an error within the tolerance {tolerance:g}, got {min(rest):.1e} at the step "
        f"{step:.1e}"
    )
    advice = "try a larger tolerance, smaller momenta, float64, or a fixed step"
    if bool(missed.all()):
        raise ValueError(f"{what}; {advice}")
    message = f"{what} in {len(rest)} of {missed.numel()} runs, which are left out; {advice}"
    warnings.warn(message, ConservationWarning, stacklevel=caller())
    return int(needed[~missed].max())


def difference(coarse: Sequence[Tensor], fine: Sequence[Tensor], runs: int) -> Tensor:
    """Largest difference of two solutions, relative to the largest entry of each part, per run.

    Args:
        coarse: Parts of a solution, each ``(*runs, times, rows, S)``.
        fine: The same with smaller steps.
        runs: Number of run axes.

    Returns:
        One number per run; 0 where there is nothing to compare.
    """
    gaps = [coarse[0].new_zeros(coarse[0].shape[:runs])]
    for a, b in zip(coarse, fine, strict=True):
        if b.numel():
            apart = (a - b).abs().flatten(runs).amax(-1)
            gaps.append(torch.where(apart == 0, apart, apart / b.abs().flatten(runs).amax(-1)))
    return torch.stack(gaps).amax(0)
