"""Networks, layers and points that the tests of universality share."""

from __future__ import annotations

import torch

from shooting.activations import activation
from shooting.study.universality.approximation import Settings
from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.networks import ShallowNet
from shooting.study.universality.pieces import drive
from shooting.study.universality.rectified import Layer

TANH = activation("tanh")
QUICK = Settings(intervals=8, neurons=60, shared=True)


def weights(seed: int, dim: int = 2, neurons: int = 3) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shapes = [(dim, neurons), (neurons, dim), (neurons,), (dim,)]
    return [torch.randn(s, generator=g, dtype=torch.float64) for s in shapes]


def still(seed: int, **size) -> ShallowNet:
    return ShallowNet(*weights(seed, **size), TANH)


def network(seed: int, sigma: str = "tanh", neurons: int = 12, scale: float = 0.6) -> ShallowNet:
    g = torch.Generator().manual_seed(seed)
    shapes = ((2, neurons), (neurons, 2), (neurons,), (2,))
    a, w, c, b = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    return ShallowNet(scale * a, w, c, 0.1 * b, activation(sigma))


def turned_layers(seed: int, count: int) -> list[Layer]:
    g = torch.Generator().manual_seed(seed)
    layers: list[Layer] = []
    while len(layers) < count:
        m, a = torch.randn(2, 2, 2, generator=g, dtype=torch.float64)
        if float(torch.linalg.det(m)) > 0.2:
            layers.append(Layer(m, torch.randn(2, generator=g, dtype=torch.float64), a))
    return layers


def end(embedding, x):
    z = drive(embedding.field, embedding.pieces, embedding.lift(x))
    return z[-1, :, : embedding.field.dim]


def disk(radius: float = 1.0) -> torch.Tensor:
    x = ball_cover(2, radius, 0.1 * radius)
    return x[x.norm(dim=1) <= radius]
