r"""Features $\varphi_b(z)$: what a term reads from a state, its value and its pull-back.

A feature has `reads`, `key`, `value` and `pull_back`; those of this module are the shipped ones.
Values carry the sites of an image slot along: ``(..., n, *sites, F)``.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from shooting.activations import Activation, Sigma, activation
from shooting.errors import (
    require_callable,
    require_choice,
    require_count,
    require_names,
    require_text,
)
from shooting.transforms import pull

Parts = Mapping[str, Tensor]


class Feature(ABC):
    """What a term reads: its value, its pull-back, and a key.

    Attributes:
        reads: Names of the slots that the value depends on.
    """

    reads: tuple[str, ...] = ()

    @property
    def key(self) -> Hashable:
        """Features with equal keys are computed once; by default equal features."""
        return self

    @abstractmethod
    def value(self, parts: Parts) -> Tensor:
        r"""$\varphi(z)$ ``(..., n, *sites, F)`` from the slots ``(..., n, *sites, width)``."""

    @abstractmethod
    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        r"""$(\mathrm{d}\varphi)^\top$ bar for each slot that is read, in the slot's shape."""


@dataclass(frozen=True)
class Constant(Feature):
    r"""$\varphi = 1$, so that its control is a bias.

    Example:
        >>> term = Term("b", out="x", feature=Constant())

    Attributes:
        like: A slot whose sites the constant takes; a field chooses it.
    """

    like: str = ""

    def __post_init__(self) -> None:
        require_text(self.like, "the slot of a constant")

    def value(self, parts: Parts) -> Tensor:
        """Ones ``(..., n, *sites, 1)``."""
        return torch.ones_like(parts[self.like][..., :1])

    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        """Nothing depends on the state."""
        return {}

    def __str__(self) -> str:
        return "1"


@dataclass(frozen=True)
class OfSlot(Feature):
    """A feature of one slot."""

    slot: str

    def __post_init__(self) -> None:
        require_text(self.slot, "the slot of a feature")

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The slot."""
        return (self.slot,)


@dataclass(frozen=True)
class Identity(OfSlot):
    r"""$\varphi(z) = s$, the slot itself.

    Example:
        >>> term = Term("theta2", out="v", feature=Identity("x"))
    """

    def value(self, parts: Parts) -> Tensor:
        """The slot's entries, unchanged."""
        return parts[self.slot]

    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        """The covector itself."""
        return {self.slot: bar}

    def __str__(self) -> str:
        return self.slot


@dataclass(frozen=True)
class Activated(OfSlot):
    r"""$\varphi(z) = \sigma(s)$ of a slot s, entry by entry.

    Example:
        >>> feature = Activated("v", "tanh")

    Attributes:
        slot: The slot.
        sigma: Activation, by name, as a function or as an `Activation`; kept as the latter.
    """

    sigma: Sigma = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "sigma", activation(self.sigma))

    @property
    def act(self) -> Activation:
        """The activation with its derivatives."""
        return cast(Activation, self.sigma)

    def value(self, parts: Parts) -> Tensor:
        """sigma(slot)."""
        return self.act.value(parts[self.slot])

    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        """sigma'(slot) times the covector."""
        return {self.slot: self.act.slope(parts[self.slot]) * bar}

    def __str__(self) -> str:
        return f"{self.act.name}({self.slot})"


PADDINGS = ("periodic", "zero")


@dataclass(frozen=True)
class Patches(OfSlot):
    r"""$\varphi(u)$ = the $k \times k$ patch around site u of an image slot, or of sigma of it.

    Its control is a convolution kernel ``(out, channels * k * k)``, as in
    `torch.nn.functional.conv2d` after a reshape; weights are shared over sites.

    Example:
        >>> term = Term("theta2", "v", Patches("x", 3))

    Attributes:
        slot: A slot with two axes of sites.
        kernel: Odd side length k.
        sigma: Activation applied before, likewise, or None.
        padding: ``periodic`` or ``zero``; the image keeps its size.
    """

    kernel: int = 3
    sigma: Sigma | None = None
    padding: str = "periodic"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.padding, PADDINGS, "a padding")
        kernel = require_count(self.kernel, "the side length of a kernel")
        object.__setattr__(self, "kernel", kernel)
        if kernel % 2 == 0:
            raise ValueError(
                f"expected an odd side length of the kernel, got {self.kernel!r}; try kernel=3"
            )
        if self.sigma is not None:
            object.__setattr__(self, "sigma", activation(self.sigma))

    @property
    def act(self) -> Activation | None:
        """The activation, if there is one."""
        return cast("Activation | None", self.sigma)

    def value(self, parts: Parts) -> Tensor:
        """Patches ``(..., n, height, width, channels * k * k)``."""
        x = parts[self.slot]
        self._check(x)
        image = x if self.act is None else self.act.value(x)
        edge, (height, width) = self.kernel // 2, x.shape[-3:-1]
        flat = image.reshape(-1, *x.shape[-3:]).movedim(-1, 1)
        if self.padding == "periodic":
            flat, edge = functional.pad(flat, (edge,) * 4, mode="circular"), 0
        cut = functional.unfold(flat, self.kernel, padding=edge).transpose(-1, -2)
        return cut.reshape(*x.shape[:-3], height, width, cut.shape[-1])

    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        """Patches laid back where they were cut, overlaps summed; times sigma' if there is one."""
        x = parts[self.slot]
        size, edge = x.shape[-3:-1], self.kernel // 2
        columns = bar.reshape(-1, size[0] * size[1], bar.shape[-1]).transpose(-1, -2)
        if self.padding == "zero":
            image = functional.fold(columns, size, self.kernel, padding=edge)
        else:
            padded = (size[0] + 2 * edge, size[1] + 2 * edge)
            image = functional.fold(columns, padded, self.kernel)
            image = _wrap(_wrap(image, edge, -1), edge, -2)
        back = image.movedim(1, -1).reshape(*bar.shape[:-1], x.shape[-1])
        return {self.slot: back if self.act is None else self.act.slope(x) * back}

    def _check(self, x: Tensor) -> None:
        if x.dim() < 4 or min(x.shape[-3:-1]) <= self.kernel // 2:
            raise ValueError(
                f"expected an image slot {self.slot!r} larger than half a kernel of {self.kernel}, "
                f"got slots of shape {tuple(x.shape[-3:])}; declare it as Slot(channels, (height, "
                "width)), or try a smaller kernel"
            )

    def __str__(self) -> str:
        inner = self.slot if self.act is None else f"{self.act.name}({self.slot})"
        return f"{self.kernel}×{self.kernel} patches of {inner}"


def _wrap(image: Tensor, edge: int, axis: int) -> Tensor:
    """Transpose of periodic padding along one axis: what lies in the margins belongs opposite."""
    if not edge:
        return image
    length = image.shape[axis] - 2 * edge
    left, core, right = image.split([edge, length, edge], axis)
    rest = torch.zeros_like(core.narrow(axis, 0, length - edge))
    return core + torch.cat([rest, left], axis) + torch.cat([right, rest], axis)


@dataclass(frozen=True)
class Function(Feature):
    r"""$\varphi$ = any differentiable function of slots; autograd pulls it back.

    Example:
        >>> feature = Function(lambda x: torch.sin(x), reads=("x",))

    Attributes:
        function: From the slots it reads, each ``(..., n, *sites, width)``, to the value
            ``(..., n, *sites, F)``; each row from the same row alone.
        reads: Names of these slots.
        name: How the feature is called where the field is shown.
    """

    function: Callable[..., Tensor]
    reads: tuple[str, ...] = ()
    name: str = field(default="φ", compare=False)

    def __post_init__(self) -> None:
        require_callable(self.function, "a feature", "try Function(torch.sin, reads=('x',))")
        reads = require_names(self.reads, "the slots that a function reads", example=("x",))
        object.__setattr__(self, "reads", reads)
        require_text(self.name, "the name of a function", example="sin")

    def value(self, parts: Parts) -> Tensor:
        """The function of the slots."""
        return self.function(*(parts[name] for name in self.reads))

    def pull_back(self, parts: Parts, bar: Tensor) -> dict[str, Tensor]:
        """By `torch.func.vjp`, which can be differentiated again."""
        inputs = tuple(parts[name] for name in self.reads)
        back = pull(self.function, inputs, bar)
        return dict(zip(self.reads, back, strict=True))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.reads)})"
