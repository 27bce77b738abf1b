"""Learned numbers that a field has besides its controls: networks inside its functions.

They belong to every model of the field. Those of a module are found and registered by the model, so
that they are trained, saved, moved and copied with it. What a function merely reads cannot be, and
a warning says so.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shooting.automatic import kinds
from shooting.errors import caller
from shooting.fields import Field, VectorField
from shooting.spaces import StateSpace


class LooseNumbersWarning(UserWarning):
    """A field reads learned numbers that its model does not register."""


def modules_of(space: StateSpace) -> list[nn.Module]:
    """The modules with parameters or buffers that a field holds, each once.

    They are looked for where a field keeps a function: in its own attributes, and in those of the
    features of its terms and drifts.
    """
    held = (v for owner in _owners(space) for v in vars(owner).values())
    modules = {id(v): v for v in held if isinstance(v, nn.Module) and _has_numbers(v)}
    return list(modules.values())


def _has_numbers(module: nn.Module) -> bool:
    return any(True for _ in itertools.chain(module.parameters(), module.buffers()))


def _owners(space: StateSpace) -> Iterator[object]:
    yield space
    if isinstance(space, Field):
        yield from (term.phi for term in space.terms)
        yield from (summand.phi for summand in space.drift)


def warn_of_loose_numbers(space: StateSpace) -> None:
    """Warn if a field reads learned numbers that `modules_of` does not find."""
    registered = {id(w) for module in modules_of(space) for w in module.parameters()}
    if isinstance(space, nn.Module):
        registered |= {id(w) for w in space.parameters()}
    found = [w for w in _read_by(space) if id(w) not in registered]
    if found:
        count = sum(w.numel() for w in found)
        warnings.warn(
            f"expected learned numbers of a field in a module, which its model registers, got "
            f"{count} that a function reads; pass the module itself, as in Function(network, "
            "('x',)) or AutomaticField(network, …), or register it beside the model and ignore "
            "this warning",
            LooseNumbersWarning,
            stacklevel=caller(),
        )


def _read_by(space: StateSpace) -> list[Tensor]:
    """Leaves of the graph of a velocity whose state and control are given."""
    if not isinstance(space, VectorField) or _has_known_features(space):
        return []
    for dtype, device in kinds():
        z = torch.zeros(1, space.size, dtype=dtype, device=device)
        theta = {k: z.new_zeros(shape) for k, shape in space.shapes.items()}
        try:
            with torch.enable_grad():
                return _leaves(space.velocity(z, theta))
        except Exception:  # another type or place, or no field of zeros: the first call says so
            continue
    return []


def _has_known_features(space: VectorField) -> bool:
    """Whether all features are the library's own, which have no learned numbers."""
    if not isinstance(space, Field):
        return False
    return not any(hasattr(f, "function") or not _is_ours(f) for f in _owners(space))


def _is_ours(owner: object) -> bool:
    return type(owner).__module__.partition(".")[0] == "shooting"


def _leaves(value: Tensor) -> list[Tensor]:
    """The tensors that a value was computed from and that ask for a gradient."""
    found: dict[int, Tensor] = {}
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        waiting += [before for before, _ in node.next_functions]
    return list(found.values())
