"""Times as numbers, and how a time that asks for a gradient gets it.

A solve steps over numbers. Where a time asks for a gradient, every state that the solve returns
takes one more step, of length zero: the state stays as it is, and its derivatives with respect to
that length are those of the flow. The gradient of the end time is thus f at the end point found,
the derivative of the flow, which differs from that of the discrete solution by its error O(h^p).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from shooting.errors import shown
from shooting.transforms import unmixed

_Times = Tensor | Sequence[float | Tensor]
_State = tuple[Tensor, ...]

# Kutta's 3/8 rule, whose order makes derivatives with respect to a time right up to the fourth
STAGES = ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0))
WEIGHTS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def numbers(times: object, *, least: int = 1) -> list[float]:
    """Times as finite numbers, in the order in which they come.

    Args:
        times: A list, or a tensor or array with one axis.
        least: How many there have to be.

    Raises:
        ValueError: If they are too few, not finite, or no list of numbers.
    """
    try:
        t = _listed(times)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"expected times as a list of numbers, or a tensor with one axis, got {shown(times)}; "
            "try times=[0, 1], and a loop in place of vmap over times"
        ) from None
    if len(t) < least or not all(map(math.isfinite, t)):
        count = {0: "finite times", 1: "at least one finite time", 2: "at least two finite times"}
        raise ValueError(f"expected {count[least]}, got {shown(t)}; try times=[0, 1]")
    return t


def _listed(times: object) -> list[float]:
    if type(times) in (list, tuple) and all(type(s) is float for s in cast("list[object]", times)):
        return list(cast("list[float]", times))  # as in every training step
    words = (str, bytes)  # which would be lists of letters, and numbers by their digits
    if not isinstance(times, Iterable) or isinstance(times, words) or _axes(times) != 1:
        raise TypeError
    plain = times.detach().tolist() if isinstance(times, Tensor) else list(times)
    if any(isinstance(s, words) for s in plain):
        raise TypeError
    return [float(s.detach() if isinstance(s, Tensor) else s) for s in plain]


def _axes(times: object) -> int:
    return cast(int, getattr(times, "ndim", 1))


def check_times(times: _Times) -> list[float]:
    """Times of a solve as numbers: at least two, strictly increasing or strictly decreasing.

    Raises:
        ValueError: If they are not.
    """
    t = numbers(times, least=2)
    backward = t[1] < t[0]
    for a, b in pairwise(t):
        if a == b or (b < a) != backward:
            raise ValueError(
                f"expected strictly increasing or strictly decreasing times, got {b:g} after "
                f"{a:g}; sort them and leave out repetitions"
            )
    return t


def moves(times: _Times) -> Tensor | None:
    """Times minus their numbers: zeros ``(times,)`` that carry the gradient; None if none asks."""
    if isinstance(times, Tensor):
        return times - times.detach() if _moving(times) else None
    if not any(isinstance(s, Tensor) and _moving(s) for s in times):
        return None
    mixed = [torch.as_tensor(s) for s in times]
    like = next(s for s in mixed if _moving(s))
    return torch.stack([(s - s.detach()).reshape(()).to(like) for s in mixed])


def refuse_moving(times: _Times) -> None:
    """Raise if a time asks for a gradient that would be lost.

    Raises:
        ValueError: If one does.
    """
    if moves(times) is not None:
        raise ValueError(
            "expected times without gradient, which this solve would lose, got times that require "
            "one; try times.detach(), or the verbs shoot and carry, which keep it"
        )


def _moving(t: Tensor) -> bool:
    """Whether a derivative with respect to a tensor may be asked for."""
    if not t.is_floating_point():
        return False
    if t.requires_grad and torch.is_grad_enabled():
        return True
    # asked one after the other, because a compiler can trace the first question only
    if torch._C._are_functorch_transforms_active():
        return torch._C._functorch.is_functorch_wrapped_tensor(t)
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(t).tangent is not None


def nudge(rhs: Callable[[_State], _State], state: _State, h: Tensor) -> _State:
    """The state after a step of length zero, whose length carries a gradient.

    Args:
        rhs: The autonomous right-hand side.
        state: Tensors ``(*runs, times, rows, S)``.
        h: Zeros, one for each time: ``(times,)``.

    Returns:
        The same numbers; their derivatives with respect to h are those of the flow up to order 4.
    """
    h = h.to(state[0]).view(-1, 1, 1)
    slopes: list[_State] = []
    with unmixed(state[0]):
        for row in STAGES:
            slopes.append(rhs(_add(state, slopes, row, h)))
    return _add(state, slopes, WEIGHTS, h)


def _add(state: _State, slopes: Sequence[_State], weights: Sequence[float], h: Tensor) -> _State:
    for w, slope in zip(weights, slopes, strict=True):
        state = tuple(y + h * w * k for y, k in zip(state, slope, strict=True))
    return state
