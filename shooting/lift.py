"""The lift: where the slots that hold no data start."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from shooting.errors import require_choice
from shooting.fixed import FixedModule
from shooting.randomness import uniform
from shooting.spaces import StateSpace

LIFTS = ("learned", "fixed", "zero")
PARTS = ("lift.weight", "lift.bias")  # their names in the model


class Lift(FixedModule):
    r"""The affine map $v(0) = \Theta_{12}\,x(0) + b_{12}$ from the first slot to all others.

    An image is lifted site by site, with the same map.

    Args:
        space: The slots of a state; the first holds the data.
        kind: ``learned``, ``fixed`` (at its random initial value) or ``zero``.

    Attributes:
        kind: Which of the three maps it is.
        weight: $\Theta_{12}$ ``(*runs, hidden, width)``, a parameter if it is learned, else a
            buffer; absent if there is nothing to lift to.
        bias: $b_{12}$ ``(*runs, hidden)``.

    Raises:
        ValueError: If the kind is unknown.
    """

    _BUILT = ("space", "kind")
    weight: Tensor
    bias: Tensor

    def __init__(self, space: StateSpace, *, kind: str = "learned") -> None:
        super().__init__()
        require_choice(kind, LIFTS, "a lift")
        self.space, self.kind = space, kind
        self._slot, *others = space.spaces.values()
        self._widths = tuple(slot.width for slot in others)

    @property
    def hidden(self) -> int:
        """Width of the slots that are filled (alpha d for UpDown, 0 for Affine)."""
        return sum(self._widths)

    def draw(self, g: torch.Generator) -> dict[str, Tensor]:
        """Weight and bias of one run, drawn like nn.Linear, by their names in the model.

        Raises:
            ValueError: If the slots differ in their sites.
        """
        if not self.hidden:
            return {}
        if len({slot.sites for slot in self.space.spaces.values()}) > 1:
            raise ValueError(
                "expected all slots to have the same sites, so that a lift can act site by site, "
                f"got {self.space.spaces}; use slots of one size"
            )
        sample = uniform(1 / math.sqrt(self._slot.width))
        shapes = ((self.hidden, self._slot.width), (self.hidden,))
        return {name: sample(g, shape) for name, shape in zip(PARTS, shapes, strict=True)}

    def set(self, name: str, value: Tensor) -> None:
        """Register the weight or the bias of all runs, by its name in the model."""
        part = name.removeprefix("lift.")
        if self.kind == "learned":
            self.register_parameter(part, nn.Parameter(value))
        else:
            self.register_buffer(part, value * (self.kind == "fixed"))

    def forward(self, x: Tensor) -> Tensor:
        r"""State $z(0) = [x \mid \Theta_{12} x + b_{12}]$ of packed data x ``(*runs, n, d)``."""
        if not self.hidden:
            return x
        slot, (first, *others) = self._slot, self.space.spaces
        part = x.unflatten(-1, slot.shape) if slot.sites else x
        v = slot.rows(part) @ self.weight.transpose(-1, -2) + self.bias.unsqueeze(-2)
        cut = slot.unrows(v).split(self._widths, dim=-1)
        return self.space.pack({first: part, **dict(zip(others, cut, strict=True))})

    def extra_repr(self) -> str:
        """What is shown between the parentheses."""
        return f"{self._slot.width} → {self.hidden}, {self.kind}"
