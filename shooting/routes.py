"""Which route a solve takes: the fastest that applies, or the one that was asked for."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from shooting import native
from shooting.adjoint import knows, merge
from shooting.environment import variable
from shooting.errors import require_choice
from shooting.fields import VectorField
from shooting.solvers import TABLEAUS
from shooting.transforms import differentiator, observer

logger = logging.getLogger(__name__)

ROUTES = ("auto", "native", "adjoint", "autograd", "torchdiffeq")


def choose(
    route: str,
    method: str,
    form: str,
    field: VectorField | None,
    tensors: Sequence[Tensor],
    verb: str,
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
    require_choice(wished, ROUTES, "SHOOTING_ROUTE")
    if wished == "native" and native.library_error() is not None:
        raise ValueError(f"expected SHOOTING_ROUTE=native to work, but {native.library_error()}")
    if method not in TABLEAUS:
        return "torchdiffeq"
    order = [wished] if wished != "auto" else []
    worth = _recorded(tensors) and by_hand(field, form, verb)
    order += ["native", "adjoint", "autograd"] if worth else ["native", "autograd"]
    chosen = next(name for name in order if against(name) is None)
    if chosen != order[0]:
        _tell(order[0], str(against(order[0])), chosen)
    return chosen


@functools.cache  # once for each reason
def _say(route: str, reason: str, chosen: str) -> None:
    logger.info("route %s steps back for %s: %s", route, chosen, reason)


def _tell(route: str, reason: str, chosen: str) -> None:
    _say(route, reason, chosen)


# What torch.compiler.assume_constant_result sets, which loads the whole compiler, a second or two:
# the call is made when a graph is compiled, and is no part of it.
_tell._dynamo_marked_constant = True  # type: ignore[attr-defined]


def obstacle(
    route: str,
    method: str,
    form: str,
    field: VectorField | None,
    tensors: Sequence[Tensor],
    verb: str,
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
    if len({(t.dtype, t.device) for t in tensors}) > 1:
        return "the inputs differ in dtype or device; convert them or try route='autograd'"
    if who := differentiator(tensors):
        return f"{who} follows each operation; try route='auto' or 'autograd'"
    if route == "adjoint":
        return None
    if who := observer(tensors):
        return f"{who} follows each operation; try route='auto', or torch.compiler.disable"
    if verb == "shoot" and form == "theta":
        return "it knows only the kernel form; try form='auto'"
    if (reason := native.obstacle(field, tensors, TABLEAUS[method])) is not None:
        return reason
    if field is not None and verb == "shoot" and merge(field) is None:
        return "a weight is a matrix or no feature reads the state; try route='adjoint'"
    return None


def by_hand(field: VectorField | None, form: str, verb: str) -> bool:
    """Whether the discrete adjoint has a hand-written transpose, much faster than autograd's."""
    if field is None:
        return True
    return knows(field) if verb == "carry" else form != "theta" and merge(field) is not None


def _recorded(tensors: Sequence[Tensor]) -> bool:
    """Whether autograd will record the solve; without tensors, suppose it does."""
    known = len(tensors) > 0  # not `not tensors`, which the compiler cannot trace
    return not known or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
