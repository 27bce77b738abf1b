"""A flow as a plain residual network: an `nn.Sequential` of layers with weights of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shooting.fields import Control, VectorField
from shooting.learned import modules_of
from shooting.lift import Lift

PLACES = ("midpoint", "left")


class Entrance(nn.Module):
    """Data to full states, by a copy of a lift.

    Args:
        lift: The model's lift.
    """

    def __init__(self, lift: Lift) -> None:
        super().__init__()
        self.lift = copy.deepcopy(lift)

    def forward(self, x: Tensor) -> Tensor:
        """Packed states ``(*runs, n, S)`` of data ``(*runs, n, d)``, images channels first."""
        slot = next(iter(self.lift.space.spaces.values()))
        flat = slot.last(x).flatten(-1 - len(slot.sites)) if slot.sites else x
        runs = self.lift.bias.shape[:-1] if self.lift.hidden else ()
        flat = flat.expand(*runs, *flat.shape[-2:]) if runs else flat
        entered: Tensor = self.lift(flat)
        return entered


class Residual(nn.Module):
    """One layer z + h f(z, theta), or a step of the midpoint rule with one theta.

    Args:
        field: The vector field f.
        theta: The weights by name, each ``(*runs, out, width)``, copied.
        length: The layer's length h of depth.
        at: ``left``, or ``midpoint``: z + h f(z + h f(z, theta) / 2, theta).
    """

    def __init__(self, field: VectorField, theta: Control, *, length: float, at: str) -> None:
        super().__init__()
        self.field, self.length, self.at = field, length, at
        if inner := modules_of(field):
            self.inner = nn.ModuleList(inner)
        self.theta = nn.ParameterDict({name: _copy(value) for name, value in theta.items()})

    def forward(self, z: Tensor) -> Tensor:
        """States after the layer, shape of z."""
        theta = dict(self.theta.items())
        if self.at == "left":
            return z + self.length * self.field.velocity(z, theta)
        middle = z + self.length / 2 * self.field.velocity(z, theta)
        return z + self.length * self.field.velocity(middle, theta)

    def extra_repr(self) -> str:
        """What is shown between the parentheses."""
        return f"length={self.length:g}, at={self.at!r}"


class Exit(nn.Module):
    """Full states to the data's slot.

    Args:
        field: The vector field, whose first slot is the data's.
    """

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self.field = field

    def forward(self, z: Tensor) -> Tensor:
        """Data ``(*runs, n, d)`` of packed states ``(*runs, n, S)``, images channels first."""
        name, slot = next(iter(self.field.spaces.items()))
        return slot.first(self.field.split(z)[name])


def residual_network(
    field: VectorField,
    lift: Lift,
    weights: Sequence[Control],
    *,
    length: float,
    at: str,
) -> nn.Sequential:
    """Lift, layers and projection, in this order.

    Args:
        field: The vector field, copied.
        lift: The model's lift, copied.
        weights: The weights of each layer.
        length: Length of each layer.
        at: See `Residual`.
    """
    field = copy.deepcopy(field)  # with the networks inside, if there are any
    layers = [Residual(field, theta, length=length, at=at) for theta in weights]
    return nn.Sequential(Entrance(lift), *layers, Exit(field))


def _copy(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format))
