"""What a state is made of: named slots, packed in order into one last axis.

A slot is a vector of a given width or, for images, such a vector at each of several sites. A state
z has shape ``(*runs, n, S)``; an image slot lies in it site by site, channels last, so that rows of
features are views of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.errors import require_count, require_few, require_mapping, shown
from shooting.fixed import Fixed, FixedDict


@dataclass(frozen=True)
class Slot:
    """One part of a state.

    Example:
        >>> image = Slot(2, (28, 28))

    Attributes:
        width: Length of the vector at each site: the number of channels of an image.
        sites: Height and width of an image; empty for a plain vector.
    """

    width: int
    sites: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", require_count(self.width, "the width of a slot"))
        given: object = self.sites
        if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
            raise ValueError(
                f"expected sites as height and width, got {shown(self.sites)}; try sites=(28, 28)"
            )
        sites = tuple(require_count(length, "a number of sites") for length in self.sites)
        object.__setattr__(self, "sites", sites)
        require_few(self.size, "a slot")

    @property
    def count(self) -> int:
        """Number of sites, 1 for a plain vector."""
        return math.prod(self.sites)

    @property
    def size(self) -> int:
        """How many numbers of a state the slot takes."""
        return self.width * self.count

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the slot of one sample, channels last: ``(*sites, width)``."""
        return (*self.sites, self.width)

    def first(self, part: Tensor) -> Tensor:
        """Channels first: ``(..., *sites, width)`` to ``(..., width, *sites)``."""
        return part.movedim(-1, -1 - len(self.sites)) if self.sites else part

    def last(self, part: Tensor) -> Tensor:
        """Inverse of `first`."""
        return part.movedim(-1 - len(self.sites), -1) if self.sites else part

    def rows(self, phi: Tensor) -> Tensor:
        """One row per sample and site: ``(..., n, *sites, F)`` to ``(..., n * sites, F)``."""
        return phi.flatten(-2 - len(self.sites), -2) if self.sites else phi

    def unrows(self, rows: Tensor) -> Tensor:
        """Inverse of `rows`."""
        if not self.sites:
            return rows
        return rows.unflatten(-2, (rows.shape[-2] // self.count, *self.sites))


class StateSpace(Fixed):
    """Named slots in packing order. They never change.

    Args:
        slots: Each slot's width, or a `Slot` for an image, e.g. ``{"x": d, "v": alpha * d}``.

    Attributes:
        spaces: The slots by name.
        slots: How many numbers of a state each slot takes, by name.
        size: Length S of a state.
    """

    def __init__(self, slots: Mapping[str, int | Slot]) -> None:
        require_mapping(slots, "slots", example="{'x': 2}")
        if not slots:
            raise ValueError("expected at least one slot, got none; try {'x': 2}")
        spaces = {k: s if isinstance(s, Slot) else _plain(k, s) for k, s in slots.items()}
        self.spaces = FixedDict(spaces)
        self.slots = FixedDict({name: slot.size for name, slot in spaces.items()})
        self.size = sum(self.slots.values())
        require_few(10 * self.size, "ten states")  # fewer than a field makes to try its terms
        self._frozen = type(self) is StateSpace  # a subclass has more to say

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """Cut a packed state ``(..., S)`` into its slots, each ``(..., *sites, width)``."""
        if z.shape[-1] != self.size:
            raise ValueError(
                f"expected a state whose last axis packs {self.slots} (length {self.size}), "
                f"got shape {tuple(z.shape)}; concatenate the slots in that order"
            )
        cut = z.split(list(self.slots.values()), dim=-1)
        return {
            name: part.unflatten(-1, slot.shape) if slot.sites else part
            for (name, slot), part in zip(self.spaces.items(), cut, strict=True)
        }

    def pack(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Inverse of `split`."""
        flat = [
            parts[name].flatten(-1 - len(slot.sites)) if slot.sites else parts[name]
            for name, slot in self.spaces.items()
        ]
        return torch.cat(flat, dim=-1)


def _plain(name: str, width: int) -> Slot:
    return Slot(require_count(width, f"the width of slot {name}"))
