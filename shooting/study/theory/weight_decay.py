"""Trained residual networks of two-layer ReLU blocks with weight decay, and their gains.

x_{l+1} = x_l + h f(x_l, theta_l) with f of (3.7), h = 1/L. The objective is h sum_l R(theta_l) +
lambda sum_i |x_L - y|^2 / 2, with R = |theta|^2 / 2 on all weights. Costates p_l = -dJ/dx_l, so
that layer l is stationary where H(x_l, p_{l+1}, .) is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.randomness import generator
from shooting.study.theory.direct import descend
from shooting.study.theory.nonlinear import Shallow, quadratic, threshold


@dataclass(frozen=True)
class Data:
    """Points of the line, their targets and the weight of the loss.

    Attributes:
        x: Data ``(n, 1)``.
        y: Targets ``(n, 1)``.
        weight: lambda.
    """

    x: Tensor
    y: Tensor
    weight: float = 100.0


@dataclass(frozen=True)
class Trained:
    """A network and its costates.

    Attributes:
        net: The layer.
        theta: Weights of each layer ``(L, size)``.
        states: x_0 to x_L ``(L + 1, n, 1)``.
        costates: p_0 to p_L ``(L + 1, n, 1)``.
        slope: Largest entry of the gradient in the weights, as a function of depth.
    """

    net: Shallow
    theta: Tensor
    states: Tensor
    costates: Tensor
    slope: float

    def thresholds(self, *, scale: float = 1.0) -> Tensor:
        """tau of each layer ``(L,)``, exactly, for momenta times `scale`."""
        pairs = zip(self.states[:-1], scale * self.costates[1:], strict=True)
        return torch.stack([threshold(q, p)[0] for q, p in pairs])

    def gains(self, *, least: float = 0.01) -> Tensor:
        """|G(u/|u|)| of all neurons with |a| |u| above `least`, in all layers."""
        a, w, c, _ = self.net.split(self.theta)
        u = torch.cat([w, c.unsqueeze(-1)], dim=-1)
        length = torch.linalg.vector_norm(u, dim=-1)
        unit = u / length.unsqueeze(-1)
        fires = torch.relu(self.states[:-1] @ unit[..., :-1].mT + unit[..., None, :, -1])
        gain = (self.costates[1:].mT @ fires).squeeze(-2).abs()
        return gain[torch.linalg.vector_norm(a, dim=-1) * length > least]


def states_of(net: Shallow, theta: Tensor, x: Tensor) -> list[Tensor]:
    """x_0 to x_L for weights ``(L, size)``."""
    path = [x]
    for layer in theta:
        path.append(path[-1] + net.velocity(path[-1], layer) / len(theta))
    return path


def objective(net: Shallow, data: Data, theta: Tensor, *, decay: float = 1.0) -> Tensor:
    """h sum R + lambda sum |x_L - y|^2 / 2."""
    end = states_of(net, theta, data.x)[-1]
    penalty = decay * quadratic(net, theta).mean()
    return penalty + 0.5 * data.weight * ((end - data.y) ** 2).sum()


def train(
    net: Shallow, data: Data, *, layers: int, seed: int = 0, decay: float = 1.0, scale: float = 0.5
) -> Trained:
    """Minimise the objective by L-BFGS from random weights.

    Args:
        net: The layer.
        data: What to fit.
        layers: Number L.
        seed: Of the weights at the start.
        decay: Factor of R; another than one is a control.
        scale: Standard deviation of the weights at the start.
    """
    g = generator(seed, "weights")
    theta = scale * torch.randn(layers, net.size, generator=g, dtype=torch.float64)
    theta.requires_grad_()
    descend(theta, lambda th: objective(net, data, th, decay=decay))
    path = states_of(net, theta, data.x)
    end = 0.5 * data.weight * ((path[-1] - data.y) ** 2).sum()
    costates = [-c for c in torch.autograd.grad(end, path[1:], retain_graph=True)]
    (slope,) = torch.autograd.grad(objective(net, data, theta, decay=decay), theta)
    momenta = torch.stack([torch.zeros_like(data.x), *costates])  # p_0 is needed nowhere
    states = torch.stack([s.detach() for s in path])
    return Trained(net, theta.detach(), states, momenta, float(layers * slope.abs().max()))
