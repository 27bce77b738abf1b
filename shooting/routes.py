"""Which route a solve takes: the fastest that applies, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shooting import native
from shooting.environment import variable
from shooting.fields import Field
from shooting.solvers import TABLEAUS

ROUTES = ("auto", "native", "adjoint", "autograd", "torchdiffeq")


def choose(
    route: str, method: str, form: str, field: Field | None, tensors: Sequence[Tensor], verb: str
) -> str:
    """The route that will be taken.

    Args:
        route: The route asked for, or ``auto``.
        method: Name of the integration method.
        form: Form asked for, or ``auto``.
        field: The vector field, if known.
        tensors: Inputs of the solve, if known.
        verb: ``shoot`` or ``carry``.

    Returns:
        A name among `ROUTES` other than ``auto``.

    Raises:
        ValueError: If the route asked for is unknown or does not apply.
    """

    def against(name: str) -> str | None:
        return obstacle(name, method, form, field, tensors, verb)

    if route != "auto":
        reason = against(route)
        if reason is not None:
            raise ValueError(f"expected a solve that route {route!r} can do, but {reason}")
        return route
    wished = variable("SHOOTING_ROUTE") or "auto"
    if wished not in ROUTES:
        raise ValueError(f"expected SHOOTING_ROUTE among {ROUTES}, got {wished!r}; try 'auto'")
    if wished == "native" and native.library_error() is not None:
        raise ValueError(f"expected SHOOTING_ROUTE=native to work, but {native.library_error()}")
    if method not in TABLEAUS:
        return "torchdiffeq"
    order = [wished] if wished != "auto" else []
    order += ["native", "adjoint", "autograd"] if _recorded(tensors) else ["native", "autograd"]
    return next(name for name in order if against(name) is None)


def obstacle(
    route: str, method: str, form: str, field: Field | None, tensors: Sequence[Tensor], verb: str
) -> str | None:
    """Why a route does not apply, as half a sentence with advice; None if it does."""
    if route == "torchdiffeq" and method == "classical":
        return "torchdiffeq does not know method 'classical'; try 'rk4', the 3/8 rule"
    if route == "autograd" and method not in TABLEAUS:
        return f"method {method!r} is torchdiffeq's; try route='torchdiffeq'"
    if route not in ("adjoint", "native"):
        return None
    if method not in TABLEAUS:
        return f"method {method!r} has no fixed steps; try one of {sorted(TABLEAUS)}"
    if verb == "shoot" and form == "theta":
        return "it knows only the kernel form; try form='auto'"
    if field is not None and verb == "shoot" and not _mergeable(field):
        return "a weight is a matrix or no feature reads the state; try route='autograd'"
    if len({(t.dtype, t.device) for t in tensors}) > 1:
        return "the inputs differ in dtype or device; convert them or try route='autograd'"
    return native.obstacle(field, tensors) if route == "native" else None


def _mergeable(field: Field) -> bool:
    plain = not any(isinstance(t.weight, Tensor) for t in field.terms)
    return plain and any(t.of for t in field.terms)


def _recorded(tensors: Sequence[Tensor]) -> bool:
    """Whether autograd will record the solve; without tensors, suppose it does."""
    return not tensors or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
