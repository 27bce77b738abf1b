"""Activation functions sigma and their derivatives, applied entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.fixed import FixedDict


@dataclass(frozen=True)
class Activation:
    """A scalar function sigma with its first two derivatives.

    Attributes:
        name: Key in `ACTIVATIONS`.
        value: sigma(v), any shape to the same shape.
        slope: sigma'(v). ReLU takes 0 at the kink, as autograd does.
        curvature: sigma''(v) almost everywhere.
        smooth: Whether sigma is C-infinity, hence whether a Runge-Kutta method keeps its order.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    smooth: bool = True

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


def activation(name: str | Activation) -> Activation:
    """Look an activation up by name.

    Args:
        name: One of the keys of `ACTIVATIONS`, or an `Activation` of your own.

    Returns:
        The activation.

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(name, Activation):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(
            f"expected an activation among {sorted(ACTIVATIONS)}, got {name!r}; "
            "pass one of these names or an Activation of your own"
        )
    return ACTIVATIONS[name]
