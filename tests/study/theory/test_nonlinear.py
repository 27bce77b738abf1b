"""C14, C26: the shallow layer: homogeneity law, ill-posed argmax, Barron norm, unrolling."""

from __future__ import annotations

import math

import pytest
import torch

from shooting.hamiltonian import autodiff_system
from shooting.solvers import TABLEAUS, make_grid, runge_kutta
from shooting.study.theory import nonlinear as nl
from shooting.study.theory.direct import descend


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


Q, P = column(-1.0, -0.2, 0.5, 1.1), column(0.6, -0.8, 0.9, 0.4)


def random_theta(net: nl.Shallow, seed: int, *runs: int, scale: float = 1.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*runs, net.size, generator=g, dtype=torch.float64)


@pytest.fixture(scope="module")
def smooth():
    """A tanh layer, three particles, and a nondegenerate maximiser of H."""
    net, q = nl.Shallow(1, 2, "tanh"), column(-1.0, 0.1, 0.9)
    g = torch.Generator().manual_seed(1)
    p = 1.5 * torch.randn(3, 1, generator=g, dtype=torch.float64)
    theta = torch.randn(net.size, generator=g, dtype=torch.float64).requires_grad_()
    descend(theta, lambda th: -nl.control_hamiltonian(net, nl.quadratic, q, p, th))
    return net, q, p, theta.detach()


def test_threshold_is_the_maximum_over_directions():
    tau, angle = nl.threshold(Q, P)
    scan = nl.gain(Q, P, torch.linspace(0, 2 * math.pi, 100_001, dtype=torch.float64))
    assert abs(float(nl.gain(Q, P, angle) - tau)) < 1e-15
    assert -1e-15 < float(tau - scan.max()) < 1e-8  # the scan misses a smooth peak by ~h^2
    assert not torch.isclose(nl.threshold(Q, P.abs())[0], tau)  # control: signs matter


@pytest.mark.parametrize("length", [0.3, 2.0])
def test_relu_quadratic_energy_is_that_of_the_bias_alone(length):
    net, p = nl.Shallow(1, 3), P / nl.threshold(Q, P)[0]
    theta = nl.stationary_ray(net, Q, p, length=length)
    assert float(nl.stationarity(net, nl.quadratic, Q, p, theta).abs().max()) < 1e-14
    energy = float(nl.control_hamiltonian(net, nl.quadratic, Q, p, theta))
    assert abs(energy - 0.5 * float(p.sum()) ** 2) < 1e-13
    penalty = float(nl.quadratic(net, theta))
    assert abs(energy - penalty) > 0.05  # control: H = R
    off = nl.stationary_ray(net, Q, 1.1 * p, length=length)  # control: momentum off the threshold
    assert float(nl.stationarity(net, nl.quadratic, Q, 1.1 * p, off).abs().max()) > 1e-3


def test_four_homogeneous_penalty_restores_h_equals_r_and_gives_half_tau_squared():
    net = nl.Shallow(1, 2, bias=False)
    theta = nl.ascend(net, nl.path_euclidean, Q, P, random_theta(net, 0, 64, scale=0.7))
    slope = nl.stationarity(net, nl.path_euclidean, Q, P, theta).abs().amax(-1)
    done = slope < 1e-12
    assert int(done.sum()) >= 32  # runs that stop at kinks of ReLU are left out
    energy = nl.control_hamiltonian(net, nl.path_euclidean, Q, P, theta)[done]
    penalty = nl.path_euclidean(net, theta)[done]
    law = nl.homogeneity_law(2, 4, penalty)
    assert float((energy - law).abs().max()) < 1e-12
    assert float((energy - nl.homogeneity_law(2, 2, penalty)).abs().max()) > 0.1  # control
    tau = nl.threshold(Q, P)[0]
    assert abs(float(energy.max() - tau**2 / 2)) < 1e-12


@pytest.mark.parametrize(
    ("scale", "bounded"), [(0.8, True), (0.95, True), (1.05, False), (1.3, False)]
)
def test_descent_is_decided_by_the_threshold(scale, bounded):
    net, p = nl.Shallow(1, 3), scale * P / nl.threshold(Q, P)[0]
    start = random_theta(net, 0, scale=0.3)
    how = {"rate": 0.2, "iterations": 1500}  # rates of decay and growth are |tau - 1|
    norms, values = nl.gradient_descent(net, nl.quadratic, Q, p, start, **how)
    if bounded:
        assert norms[-1] < 1e-6
        assert torch.isclose(values[-1], -0.5 * p.sum() ** 2)
    else:
        assert values[-1] < -1e8


def test_barron_norm_belongs_to_the_function_only_with_the_right_prefactor():
    net = nl.Shallow(3, 7)
    theta = random_theta(net, 3)
    twice, doubled = nl.duplicate(net, theta)
    x = random_theta(nl.Shallow(3, 1), 4)[:9].reshape(3, 3)
    assert torch.allclose(net.velocity(x, theta), twice.velocity(x, doubled), atol=1e-13)
    ratio = nl.barron(twice, doubled) / nl.barron(net, theta)
    printed = nl.barron_as_printed(twice, doubled) / nl.barron_as_printed(net, theta)
    assert abs(float(ratio) - 1) < 1e-12
    assert abs(float(printed) - 0.25) < 1e-12  # control: the printed one drops by four


def test_barron_optimality_equations_corrected():
    net = nl.Shallow(1, 3, "tanh", bias=False)
    theta = random_theta(net, 5)
    a, w, c, _ = net.split(theta)
    slope = net.split(nl.stationarity(net, nl.barron, Q, P, theta))
    s = w.abs().sum(-1) + c.abs()
    hidden = Q @ w.T + c
    pull = (P @ a.T) * (1 - hidden.tanh() ** 2)  # sigma'(.) (a_j . p)
    size = net.neurons * (a**2).sum(-1) * s
    assert torch.allclose(
        slope.a, hidden.tanh().T @ P - net.neurons * s[:, None] ** 2 * a, atol=1e-12
    )
    assert torch.allclose(slope.w, pull.T @ Q - size[:, None] * w.sign(), atol=1e-12)
    assert torch.allclose(slope.c, pull.sum(0) - size * c.sign(), atol=1e-12)
    printed_third = (pull * Q).sum(0) - size * c.sign()  # control: x_k where 1 belongs
    assert not torch.allclose(slope.c, printed_third, atol=1e-3)


def test_exact_argmax_conserves_energy_to_fourth_order_and_not_r(smooth):
    net, q, p, theta = smooth
    solve = nl.newton_argmax(net, nl.quadratic)
    courses = [nl.optimal_flow(net, nl.quadratic, q, p, theta, solve, steps=n) for n in (5, 10, 20)]
    drift = [float((c.energy - c.energy[0]).abs().max()) for c in courses]
    orders = [math.log2(a / b) for a, b in zip(drift, drift[1:], strict=False)]
    assert min(orders) > 3.5
    r = courses[-1].penalty
    assert float(r.max() / r.min()) > 1.2  # control: R as invariant


def test_implicit_derivative_of_the_argmax(smooth):
    """d theta / dp = -(d2H/dtheta2)^-1 d2H/dtheta dp, against differences of Newton's result."""
    net, q, p, theta = smooth
    solve = nl.newton_argmax(net, nl.quadratic)
    theta = solve(q, p, theta)

    def energy(p, theta):
        return nl.control_hamiltonian(net, nl.quadratic, q, p, theta)

    hessian = torch.func.jacrev(torch.func.grad(energy, argnums=1), argnums=1)(p, theta)
    mixed = torch.func.jacrev(torch.func.grad(energy, argnums=1), argnums=0)(p, theta)[..., 0]
    unit = torch.eye(3, dtype=torch.float64)[..., None] * 1e-5
    found = [(solve(q, p + e, theta) - solve(q, p - e, theta)) / 2e-5 for e in unit]
    right = -torch.linalg.solve(hessian, mixed)
    assert (right - torch.stack(found, dim=1)).abs().max() < 1e-7  # square of the step
    assert (right + torch.stack(found, dim=1)).abs().max() > 0.1  # control: the other sign


def test_truncated_unrolling_drifts_less_with_more_iterations(smooth):
    net, q, p, theta = smooth
    drift = []
    for its in (1, 5, 20):
        solve = nl.unrolled_argmax(net, nl.quadratic, iterations=its, rate=0.5, cold=theta)
        course = nl.optimal_flow(net, nl.quadratic, q, p, theta, solve, steps=20)
        drift.append(float((course.energy - course.energy[0]).abs().max()))
    assert drift[0] > drift[1] > drift[2] > 1e-5


def test_differentiating_through_the_unrolling_conserves_its_own_energy(smooth):
    net, q, p, theta = smooth
    how = {"iterations": 5, "rate": 0.5, "cold": theta, "through": True}
    energy = nl.unrolled_energy(
        net, nl.quadratic, nl.unrolled_argmax(net, nl.quadratic, **how), theta
    )
    system = autodiff_system(energy)
    grid = make_grid([0.0, 1.0], step=0.05)
    with torch.no_grad():
        end = runge_kutta(lambda t, y: system(*y), (q, p), grid, TABLEAUS["classical"])[-1]
    gap = abs(float((energy(*end) - energy(q, p)).detach()))
    assert gap < 1e-4  # against 2e-2 if theta_k is held fixed
