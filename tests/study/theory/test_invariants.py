"""C3-C6, C32: explicit UpDown equations, conservation laws and orders, with controls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shooting import UpDown
from shooting.activations import ACTIVATIONS
from shooting.fields import Field
from shooting.hamiltonian import autodiff_system, hamiltonian, kernel_system, momentum_map
from shooting.study.theory import invariants
from shooting.study.theory.counting import without_biases
from shooting.study.theory.invariants import energy_drift, march, slope, virial_laws

STEPS = [10, 20, 40, 80, 160]


def particles(field, *, count=4, seed=0, scale=0.4):
    g = torch.Generator().manual_seed(seed)
    shape = (count, field.size)
    return [scale * torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2)]


def updown_by_hand(field, q, p):
    """The equations of chapter 4, written out; P, Q are the costates of x and v."""
    m = {t.name: float(t.metric) for t in field.terms}
    x, v = field.split(q).values()
    px, pv = field.split(p).values()
    s, slope_ = field.sigma.value(v), field.sigma.slope(v)
    th1, b1 = px.T @ s / m["theta1"], px.sum(0) / m["b1"]
    th2, b2, th3 = pv.T @ x / m["theta2"], pv.sum(0) / m["b2"], pv.T @ s / m["theta3"]
    dq = torch.cat([s @ th1.T + b1, x @ th2.T + b2 + s @ th3.T], dim=1)
    return dq, torch.cat([-pv @ th2, -slope_ * (px @ th1 + pv @ th3)], dim=1)


@pytest.mark.parametrize("sigma", ["tanh", "softplus", "relu"])
def test_explicit_equations_are_the_autodiff_system(sigma):
    field = UpDown(3, 4, sigma=sigma)
    q, p = particles(field, count=5)
    auto = autodiff_system(lambda a, b: hamiltonian(field, a, b))(q, p)
    for got, want in zip(updown_by_hand(field, q, p), auto, strict=True):
        assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)  # rounding
    for got, want in zip(kernel_system(field)(q, p), auto, strict=True):
        assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)


def test_finite_differences_of_the_energy():
    field = UpDown(3, 4, sigma="tanh")
    q, p = particles(field, count=5)
    dq, dp = updown_by_hand(field, q, p)
    g = torch.Generator().manual_seed(9)
    a, b = (torch.randn(q.shape, generator=g, dtype=torch.float64) for _ in range(2))
    e = 1e-5
    found = (field.energy(q + e * a, p + e * b) - field.energy(q - e * a, p - e * b)) / (2 * e)
    right = (dq * b - dp * a).sum()
    assert abs(found / right - 1) < 1e-7  # e^2 of the central difference and rounding / e
    wrong = (dq * b - torch.cat([dp[:, :3], -dp[:, 3:]], dim=1) * a).sum()  # sign of Q'
    assert abs(found / wrong - 1) > 1e-2


def gram_by_hand(field, sigma, q, p):
    """H and the equations without theta: inner products of states and costates alone."""
    m = {t.name: float(t.metric) for t in field.terms}
    (x, v), (px, pv) = field.split(q).values(), field.split(p).values()
    s, one = sigma.value(v), torch.ones(len(q), len(q), dtype=q.dtype)
    kx = s @ s.T / m["theta1"] + one / m["b1"]
    kv = x @ x.T / m["theta2"] + one / m["b2"] + s @ s.T / m["theta3"]
    back = (px @ px.T / m["theta1"] + pv @ pv.T / m["theta3"]) @ s
    energy = 0.5 * ((px @ px.T * kx).sum() + (pv @ pv.T * kv).sum())
    dq = torch.cat([kx @ px, kv @ pv], dim=1)
    dp = torch.cat([-(pv @ pv.T / m["theta2"]) @ x, -sigma.slope(v) * back], dim=1)
    return energy, dq, dp


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
def test_gram_form_is_energy_and_kernel_system(sigma):
    """C32: theta is never formed; with the weight of theta3 forgotten nothing agrees."""
    field = UpDown(3, 4, sigma=sigma)
    q, p = particles(field, count=5)
    wanted = (field.energy(q, p), *kernel_system(field)(q, p))
    for got, want in zip(gram_by_hand(field, ACTIVATIONS[sigma], q, p), wanted, strict=True):
        assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)  # rounding
    terms = [replace(t, weight=1.0) for t in field.terms]  # control
    light = gram_by_hand(Field(field.slots, terms), ACTIVATIONS[sigma], q, p)
    assert all((a - b).abs().max() > 0.05 for a, b in zip(light, wanted, strict=True))


@pytest.mark.parametrize(
    ("sigma", "method", "low", "high"),
    [
        ("tanh", "classical", 3.7, 4.5),
        ("softplus", "classical", 3.7, 4.5),
        ("tanh", "implicit midpoint", 1.8, 2.2),
        ("relu", "classical", 0.0, 2.0),
    ],
)
def test_order_of_energy_conservation(sigma, method, low, high):
    field = UpDown(2, 3, sigma=sigma)
    q, p = particles(field)
    if sigma == "relu":
        path = march(kernel_system(field), q, p, 160)[0]
        assert invariants.kink_crossings(field, path) > 0
    order = slope(STEPS, [energy_drift(field, q, p, n, method=method) for n in STEPS])
    assert low < order < high


def test_rotation_invariance_gives_a_conserved_matrix():
    field = UpDown(3, 2, sigma="tanh")
    q, p = particles(field)
    for method, steps, tolerance in (("implicit midpoint", 20, 1e-12), ("classical", 200, 1e-7)):
        path = march(kernel_system(field), q, p, steps, method=method)
        j = momentum_map(field, *path)
        assert (j - j[0]).abs().max() < tolerance  # exact up to rounding; order 4
    assert j[0].abs().max() > 0.1  # not conserved because it is zero


@pytest.mark.parametrize(("sigma", "kept"), [("relu", True), ("tanh", False)])
def test_each_relu_particle_keeps_its_virial(sigma, kept):
    field = without_biases(UpDown(2, 3, sigma=sigma))
    q, p = particles(field)
    path_q, path_p = march(kernel_system(field), q, p, 20, method="implicit midpoint")
    law = (path_q * path_p).sum(-1)
    drift = float((law - law[0]).abs().max())
    assert drift < 1e-12 if kept else drift > 0.1


@pytest.mark.parametrize("sigma", ["relu", "tanh"])
def test_virial_laws(sigma):
    field = UpDown(2, 3, sigma=sigma)
    laws = virial_laws(field, *particles(field))
    for name, (rate, closed) in laws.items():
        holds = torch.allclose(rate, closed, atol=1e-12)  # rounding
        assert holds == (sigma == "relu" or name != "all")


def test_implicit_midpoint_is_reversible():
    field = UpDown(2, 3, sigma="tanh")
    q, p = particles(field)
    there = march(kernel_system(field), q, p, 20, method="implicit midpoint")
    back = march(kernel_system(field), there[0][-1], -there[1][-1], 20, method="implicit midpoint")
    assert torch.allclose(back[0][-1], q, atol=1e-12)


def test_control_a_matrix_weight_breaks_the_rotation():
    metric = torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)
    drift = {}
    for name, m in (("uneven", metric), ("even", torch.ones(3, dtype=torch.float64))):
        field = invariants.uneven(3, 2, m)
        g = torch.Generator().manual_seed(0)
        q, p = (0.4 * torch.randn(4, 9, generator=g, dtype=torch.float64) for _ in range(2))
        # of the field with scalar weights: of the uneven one it is refused
        j = momentum_map(UpDown(3, 2), *march(kernel_system(field), q, p, 100))
        drift[name] = float((j - j[0]).abs().max())
    assert drift["even"] < 1e-7 < 1e-3 < drift["uneven"]
