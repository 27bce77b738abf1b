"""Trained ReLU networks with weight decay sit where the gain of each active neuron is one."""

import pytest
import torch

from shooting.study.theory.nonlinear import Shallow
from shooting.study.theory.weight_decay import Problem, inspect, train


def problem(decay: float = 1.0) -> Problem:
    x = torch.linspace(-1.5, 1.5, 25, dtype=torch.float64)[:, None]
    return Problem(x, x + 0.6 * torch.sin(2 * x), Shallow(1, 8), 5, decay=decay)


@pytest.fixture(scope="module")
def trained():
    return {decay: train(problem(decay), (0,), steps=2000)[0] for decay in (1.0, 2.0)}


@pytest.mark.parametrize("decay", [1.0, 2.0])
def test_the_gain_of_active_neurons_is_the_decay(trained, decay):
    """|G(u/|u|)| = the factor of R; Adam ends within some per cent of a stationary point."""
    layers = inspect(problem(decay), trained[decay])
    gains = layers.gains[layers.active(0.1)]
    assert len(gains) >= 5
    assert float((gains / decay - 1).abs().max()) < 0.05
    start = inspect(problem(decay), train(problem(decay), (0,), steps=0)[0])  # control
    assert float((start.gains[start.active(0.1)] / decay - 1).abs().max()) > 0.5


def test_a_zero_neuron_decides_the_sign_of_tau_minus_one(trained):
    """Along (a, u) = s (G/tau, u) from zero the objective changes by h s^2 (decay - tau)."""
    task = problem()
    layers = inspect(task, trained[1.0])
    assert float(layers.thresholds.max()) <= 1.15
    for decay, sign in ((0.5, -1), (2.0, 1)):  # below and above tau, which is near one
        changed = Problem(task.x, task.y, task.net, task.layers, decay=decay)
        assert _second(changed, trained[1.0], float(layers.thresholds[0])) * sign > 0


def _second(task: Problem, theta: torch.Tensor, tau: float) -> float:
    """Difference quotient of the objective in s^2 when a zero neuron joins the first layer."""
    from shooting.study.theory.nonlinear import threshold

    wide = Problem(task.x, task.y, Shallow(1, 9), task.layers, decay=task.decay)
    a, w, c, b = task.net.split(theta)

    def joined(s: float, a9: float, w9: float, c9: float) -> torch.Tensor:
        extra = torch.zeros(task.layers, 1, 1, dtype=torch.float64)
        first = extra.clone()
        first[0] = 1.0
        parts = [
            torch.cat([a, s * a9 * first], 1).flatten(1),
            torch.cat([w, s * w9 * first], 1).flatten(1),
            torch.cat([c, s * c9 * first[..., 0]], 1),
            b,
        ]
        return torch.cat(parts, 1)

    path = task.states(theta.clone().requires_grad_())
    (momenta,) = torch.autograd.grad(-task.loss(path[-1]), path[1:2])
    _, angle = threshold(path[0].detach(), momenta)
    sign = torch.relu(angle.cos() * path[0][:, 0] + angle.sin()).detach() @ momenta[:, 0]
    unit = float(sign.sign()), float(angle.cos()), float(angle.sin())
    s = 1e-3
    gap = wide.objective(joined(s, *unit)) - wide.objective(joined(0.0, *unit))
    quotient = float(gap) / s**2 * task.layers
    assert quotient == pytest.approx(task.decay - tau, abs=1e-3)  # the rest is of order s^2
    return quotient
