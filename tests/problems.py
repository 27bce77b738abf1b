"""Small shared problems, distances, and the shape every refusal must have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from shooting import (
    Activated,
    Affine,
    ConvUpDown,
    Drift,
    Field,
    Function,
    Patches,
    SecondOrder,
    Slot,
    Term,
    UpDown,
    VectorField,
)
from shooting.hamiltonian import hamiltonian

# Two closed forms of one number differ by rounding of sums over at most a few hundred products:
# about 1e-14 relative to their size. The project promises 1e-12.
EXACT = 1e-12


def flat(model):
    """All learned numbers of a model, one row a run ``(*runs, count)``, detached."""
    runs = 0 if model.seeds is None else 1
    return torch.cat([w.detach().flatten(runs) for w in model.parameters()], dim=-1)


def slopes(model):
    """The gradients, in the order of `flat`."""
    runs = 0 if model.seeds is None else 1
    return torch.cat([w.grad.flatten(runs) for w in model.parameters()], dim=-1)


def parts(model):
    """The learned tensors by name, detached copies."""
    return {name: w.detach().clone() for name, w in model.named_parameters()}


def draw(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Gaussian float64 entries that depend on the seed alone."""
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=g, dtype=torch.float64)


def spd(seed: int, n: int) -> Tensor:
    """A well-conditioned symmetric positive definite matrix that is not diagonal."""
    a = draw(seed, n, n)
    return a @ a.T / n + torch.eye(n, dtype=torch.float64)


def particles(
    field: Field, count: int, *, runs: Sequence[int] = (), seed: int = 0, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Random states and costates ``(*runs, count, S)``."""
    shape = (*runs, count, field.size)
    return draw(2 * seed, *shape), draw(2 * seed + 1, *shape, scale=scale)


FIELDS: dict[str, Callable[[int, int, str], Field]] = {
    "updown": lambda d, alpha, sigma: UpDown(d, alpha, sigma=sigma, theta3_weight=10.0),
    "updown-spd": lambda d, alpha, sigma: UpDown(
        d, alpha, sigma=sigma, theta3_weight=spd(7, alpha * d)
    ),
    "affine": lambda d, alpha, sigma: Affine(d * alpha, sigma=sigma, weight=3.0, bias_weight=0.5),
    "affine-spd": lambda d, alpha, sigma: Affine(
        d * alpha, sigma=sigma, weight=spd(8, d * alpha), bias_weight=spd(9, d * alpha)
    ),
    # three slots, one never read and one never fed: nothing in the code may know UpDown
    "custom": lambda d, alpha, sigma: Field(
        {"x": d, "u": alpha, "w": 2},
        [
            Term("A", "x", Activated("u", sigma), 2.0),
            Term("B", "u", "x", weight=spd(10, alpha)),
            Term("C", "u", Activated("x", sigma)),
            Term("c", "w"),
        ],
    ),
}
# What no hand-written transpose knows: a drift, a feature of the user's own, images
OPEN_FIELDS: dict[str, Callable[[str], VectorField]] = {
    "second-order": lambda sigma: SecondOrder(2, sigma=sigma),
    "user's feature": lambda sigma: Field(
        {"x": 2, "v": 3},
        [
            Term("A", "x", Function(products, reads=("x", "v"), name="products"), 2.0),
            Term("B", "v", Activated("x", sigma), spd(11, 3)),
            Term("c", "v"),
        ],
        drift=[Drift("x", Activated("x", "tanh"), -0.5)],
    ),
    "convolution, periodic": lambda sigma: ConvUpDown(
        1, 2, sites=(3, 4), padding="periodic", sigma=sigma
    ),
    "convolution, zero": lambda sigma: ConvUpDown(2, 1, sites=(2, 3), padding="zero", sigma=sigma),
    "two kernel sizes": lambda sigma: Field(
        {"x": Slot(1, (4, 3)), "v": Slot(2, (4, 3))},
        [
            Term("A", "x", Patches("v", 3, sigma)),
            Term("B", "v", Patches("x", 1), 3.0),
            Term("C", "v", Activated("v", sigma), spd(12, 2)),
            Term("d", "v"),
        ],
    ),
}


def products(x: Tensor, v: Tensor) -> Tensor:
    """A smooth feature that mixes two slots."""
    return torch.cat([x * v[..., :2], torch.sin(v)], dim=-1)


def gap(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the size of b where that exceeds 1."""
    assert a.shape == b.shape, f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}"
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / max(1.0, float(b.abs().max()))) if a.numel() else 0.0


def control_gap(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Largest `gap` over the named controls."""
    assert a.keys() == b.keys()
    return max(gap(a[name], b[name]) for name in a)


def drift(field: Field, q: Tensor, p: Tensor) -> float:
    """Largest change of H along a path ``(times, K, S)``."""
    h = hamiltonian(field, q, p)
    return float((h - h[0]).abs().max())


def fitted_order(errors: Sequence[float], steps: Sequence[int]) -> float:
    """Slope of log error against log step length, by least squares."""
    return -float(np.polyfit(np.log(np.asarray(steps)), np.log(np.asarray(errors)), 1)[0])


@contextmanager
def refused(*parts: str, error: type[Exception] = ValueError) -> Iterator[None]:
    """Expect one sentence that says what was expected, what came and what to try.

    Args:
        *parts: Texts that the sentence must contain: the offending value, at least.
        error: Its type.
    """
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert re.fullmatch(r"expected .+, (got|but) .+; .+", text), text
    assert "\n" not in text
    for part in parts:
        assert part in text, f"{part!r} is missing in: {text}"
