"""Activation functions sigma and their derivatives, applied entry by entry.

Where no formula is given, automatic differentiation is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shooting.errors import require_callable, require_text, shown
from shooting.fixed import FixedDict
from shooting.transforms import pull


def _learns(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether a formula reads numbers that ask for a gradient; one that fails says so later."""
    if isinstance(function, nn.Module) and next(function.parameters(), None) is not None:
        return True
    v = torch.linspace(-2.5, 2.0, 7, dtype=torch.get_default_dtype(), device="cpu")
    try:
        with torch.enable_grad():
            found: object = function(v)
    except (TypeError, RuntimeError, ValueError):
        return False
    return isinstance(found, Tensor) and found.requires_grad


@dataclass(frozen=True)
class Activation:
    """A scalar function sigma with its first two derivatives.

    Example:
        >>> act = Activation("cubic", lambda v: v**3, lambda v: 3 * v**2, lambda v: 6 * v)

    Attributes:
        name: Key in `ACTIVATIONS`.
        value: sigma(v), any shape to the same shape.
        slope: sigma'(v). ReLU takes 0 at the kink, as autograd does.
        curvature: sigma''(v) almost everywhere.
        smooth: Whether sigma is C-infinity, as declared (true of a function that is given): where
            it is not, a Runge-Kutta method may lose its order.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    smooth: bool = True

    def __post_init__(self) -> None:
        require_text(self.name, "the name of an activation", example="swish")
        for part in ("value", "slope", "curvature"):
            function = getattr(self, part)
            require_callable(function, f"the {part} of an activation", "try torch.sin")
            if _learns(function):
                raise ValueError(
                    f"expected the {part} of an activation without learned numbers, got one with "
                    "some; put what is learned into a term"
                )

    @property
    def curved(self) -> bool:
        """Whether sigma'' is not identically zero."""
        return self.curvature is not torch.zeros_like


def _same(v: Tensor) -> Tensor:
    return v  # a name, unlike a lambda, can be pickled


def _step(v: Tensor) -> Tensor:
    # the sign of max(v, 0): five times as fast as converting the booleans v > 0
    return v.detach().clamp_min(0).sign_()


def _tanh_slope(v: Tensor) -> Tensor:
    return 1 - torch.tanh(v) ** 2


def _tanh_curvature(v: Tensor) -> Tensor:
    s = torch.tanh(v)
    return -2 * s * (1 - s**2)


def _softplus(v: Tensor) -> Tensor:
    # PyTorch turns to the line v at 20, which is off by 2e-9 there; at 40 the two agree in float64
    return torch.nn.functional.softplus(v, threshold=40.0)


def _sigmoid_slope(v: Tensor) -> Tensor:
    s = torch.sigmoid(v)
    return s * (1 - s)


# fixed: the compiled solve knows these formulas by name
ACTIVATIONS = FixedDict(
    {
        a.name: a
        for a in (
            Activation("relu", torch.relu, _step, torch.zeros_like, smooth=False),
            Activation("tanh", torch.tanh, _tanh_slope, _tanh_curvature),
            Activation("softplus", _softplus, torch.sigmoid, _sigmoid_slope),
            Activation("identity", _same, torch.ones_like, torch.zeros_like),
        )
    }
)


Sigma = str | Activation | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Derivative:
    """Derivative of a function that acts entry by entry, differentiable again.

    Attributes:
        function: The function.
        order: 1 or 2.
    """

    function: Callable[[Tensor], Tensor]
    order: int = 1

    def __call__(self, v: Tensor) -> Tensor:
        """The derivative at each entry."""
        of = self.function if self.order == 1 else Derivative(self.function, self.order - 1)
        found: Tensor = pull(of, (v,), torch.ones_like(v))[0]
        return found


def activation(sigma: Sigma) -> Activation:
    """Look an activation up, or make one of a function.

    Args:
        sigma: One of the keys of `ACTIVATIONS`; an `Activation` of your own, with formulas; or any
            differentiable function that acts entry by entry, such as
            `torch.nn.functional.gelu`: its derivatives are then taken by autograd.

    Returns:
        The activation.

    Raises:
        ValueError: If the name is unknown, or the function does not act entry by entry or has
            learned numbers of its own.
    """
    if isinstance(sigma, Activation):
        return sigma
    if isinstance(sigma, str) and sigma in ACTIVATIONS:
        return ACTIVATIONS[sigma]
    if isinstance(sigma, str) or not callable(sigma):
        raise ValueError(
            f"expected an activation among {sorted(ACTIVATIONS)}, got {shown(sigma)}; "
            "pass one of these names, a function such as torch.sin, or an Activation of your own"
        )
    for known in ACTIVATIONS.values():
        if known.value is sigma:
            return known
    _check_function(sigma)
    name = getattr(sigma, "__name__", type(sigma).__name__)
    return Activation(name, sigma, Derivative(sigma), Derivative(sigma, 2))


def _check_function(sigma: Callable[[Tensor], Tensor]) -> None:
    """Try a function at some points, together and one by one.

    Raises:
        ValueError: If it does not act entry by entry or has learned numbers of its own.
    """
    if (reason := _against(sigma)) is not None:
        raise ValueError(
            "expected an activation that acts entry by entry, without learned numbers, got one "
            f"{reason}; try torch.tanh, or put what is learned into a term"
        )


def _against(sigma: Callable[[Tensor], Tensor]) -> str | None:
    """Why a function is no activation, as half a sentence; None if it is one."""
    if isinstance(sigma, nn.Module) and next(sigma.parameters(), None) is not None:
        return "with learned numbers of its own"
    v = torch.linspace(-2.5, 2.0, 7, dtype=torch.get_default_dtype(), device="cpu")
    before = v.clone()
    try:
        with torch.enable_grad():
            whole: object = sigma(v)
            if not torch.equal(v, before):
                return "that works in place, as with inplace=True"
            alone: list[object] = [sigma(part) for part in v.split(1)]
    except (TypeError, RuntimeError, ValueError) as error:
        return f"that fails for a vector ({type(error).__name__}: {str(error).splitlines()[0]})"
    if not isinstance(whole, Tensor) or whole.shape != v.shape:
        return f"that makes {getattr(whole, 'shape', type(whole).__name__)} of 7 entries"
    if whole.requires_grad:
        return "with learned numbers of its own"
    parts = torch.cat([part for part in alone if isinstance(part, Tensor)])
    # the last digits may differ between a vector and a single number
    same = parts.shape == v.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-6)
    return None if same else "whose entries depend on each other or on chance"
