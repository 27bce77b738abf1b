"""Frozen features, and alpha = 1: functions that no flow of the plane or line can reach."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import shooting
from shooting.activations import activation
from shooting.study.universality.amplified import PSI, amplified_flow
from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.chattering import chatter, schedule, split, splitting
from shooting.study.universality.embeddings import Lift
from shooting.study.universality.frozen import (
    absorb_bias,
    complex_square,
    fit_map,
    freeze,
    lift_cost,
    map_error,
    rescale_lift,
    winding_number,
)
from shooting.study.universality.networks import ShallowNet, fit_outer
from shooting.study.universality.pieces import Piece, control, drive, energy, length, retime
from shooting.study.universality.rectified import (
    Curve,
    Layer,
    as_network,
    generators,
    mixing_flow,
    quadratic_like,
    taylor_energy,
    taylor_flow,
    turning_features,
    with_outer,
)
from shooting.study.universality.targets import Target


def network(seed: int, sigma: str = "tanh", neurons: int = 12, scale: float = 0.6) -> ShallowNet:
    g = torch.Generator().manual_seed(seed)
    shapes = ((2, neurons), (neurons, 2), (neurons,), (2,))
    a, w, c, b = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    return ShallowNet(scale * a, w, c, 0.1 * b, activation(sigma))


def end(embedding, x):
    z = drive(embedding.field, embedding.pieces, embedding.lift(x))
    return z[-1, :, : embedding.field.dim]


@pytest.fixture
def x():
    return ball_cover(2, 0.9, 0.1)


# --- frozen features -----------------------------------------------------------------------


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
def test_frozen_flow_is_identity_plus_network(sigma, x):
    net = network(0, sigma)
    assert torch.allclose(end(freeze(net), x), x + net(x), atol=1e-13)  # constant slopes: rounding


def test_complex_square_is_reached_although_it_is_not_injective(x):
    errors = [map_error(fit_map(complex_square, 2, n, slope=1.5), complex_square, 2.0, rho=0.02)
              for n in (10, 40, 160)]  # fmt: skip
    assert errors[0].sampled > errors[1].sampled > errors[2].sampled
    assert errors[2].sampled < 1e-3  # criterion set beforehand: the ridge stops it near 2e-4
    assert all(e.sampled <= e.upper for e in errors)
    net = fit_map(complex_square, 2, 160, slope=1.5)
    pair = torch.tensor([[0.6, 0.3], [-0.6, -0.3]], dtype=torch.float64)
    ends = end(freeze(net), pair)
    assert float((ends[0] - ends[1]).norm()) < 2e-3  # two starts, one end, up to the error


def test_winding_numbers_separate_the_square_from_every_injective_map():
    angle = torch.linspace(0, 2 * math.pi, 401, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    assert winding_number(circle) == 1
    assert winding_number(complex_square(circle)) == 2
    assert winding_number(circle + 3) == 0
    frozen = end(freeze(fit_map(complex_square, 2, 40)), circle)
    assert winding_number(frozen) == 2
    injective = Target(lambda t, x: complex_square(x) - x, 2).flow(0.5 * circle)[-1]
    assert abs(winding_number(injective)) <= 1


@given(st.floats(0.1, 100.0))
@settings(max_examples=10)
def test_the_lift_scale_changes_the_price_and_not_the_function(scale):
    net, x = absorb_bias(network(3, "relu")), ball_cover(2, 0.9, 0.2)
    other = rescale_lift(net, scale)
    assert torch.allclose(other(x), net(x), atol=1e-11)  # rounding, weights up to 100
    one, two = freeze(net), freeze(other)
    prices = [energy(e.field, e.pieces) for e in (one, two)]
    assert prices[1] == pytest.approx(prices[0] / scale**2)
    assert lift_cost(two.lift) == pytest.approx(lift_cost(one.lift) * scale**2)


def test_control_without_absorbing_the_bias_keeps_a_price():
    net = network(3, "relu")
    far = freeze(rescale_lift(net, 1e6))
    assert energy(far.field, far.pieces) == pytest.approx(float((net.b**2).sum()) / 2)
    with pytest.raises(ValueError, match="homogeneous"):
        rescale_lift(network(0), 2.0)


# --- timing --------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 3.0), min_size=2, max_size=5))
@settings(max_examples=15)
def test_retiming_keeps_the_end_and_is_cheapest(durations):
    field = shooting.UpDown(2, 1, sigma="tanh")
    g = torch.Generator().manual_seed(len(durations))
    pieces = []
    for k, time in enumerate(durations):
        some = {n: torch.randn(s, generator=g, dtype=torch.float64) / 4
                for n, s in field.shapes.items()}  # fmt: skip
        pieces.append(Piece(time / sum(durations), control(field, **some), 4 + k))
    best = retime(field, pieces)
    z = torch.randn(5, 4, generator=g, dtype=torch.float64)
    before, after = (drive(field, p, z)[-1] for p in (pieces, best))
    assert torch.allclose(before, after, atol=1e-12)  # the same Runge-Kutta steps, rescaled
    shortest = sum(length(field, p) for p in pieces) ** 2 / 2
    assert energy(field, best) == pytest.approx(shortest)
    assert energy(field, pieces) >= shortest * (1 - 1e-12)
    assert sum(p.length for p in best) == pytest.approx(1.0)


# --- alpha = 1, flows ----------------------------------------------------------------------


def test_splitting_pieces_add_up(x):
    net = network(0, neurons=5)
    parts = split(net)
    assert [p.neurons for p in parts] == [2, 2, 2]
    assert torch.allclose(sum(p(x) for p in parts), net(x), atol=1e-13)


@pytest.mark.parametrize("order", [1, 2])
def test_schedules_spend_unit_time_on_each_field(order):
    plan = schedule(3, 4, order)
    for m in range(3):
        assert sum(time for k, time in plan if k == m) == pytest.approx(1.0)
    assert all(a[0] != b[0] for a, b in zip(plan, plan[1:], strict=False))
    with pytest.raises(ValueError, match="order=2"):
        schedule(3, 4, 3)


@pytest.mark.parametrize(("order", "window"), [(1, (0.9, 1.1)), (2, (1.9, 2.1))])
def test_chattering_is_the_splitting_and_has_its_order(order, window, x):
    net = network(0)
    parts, sought = split(net), Target(lambda t, y: net(y), 2).flow(x)[-1]
    errors = []
    for slots in (8, 16):
        ends = end(chatter(parts, slots, order=order), x)
        # v stays an affine function of x under Runge-Kutta steps: rounding only
        assert torch.allclose(ends, splitting(parts, slots, x, order=order), atol=1e-11)
        errors.append(float((ends - sought).norm(dim=1).max()))
    assert window[0] < math.log2(errors[0] / errors[1]) < window[1]


def test_control_chattering_without_retuning_fails(x):
    net = network(0)
    parts, sought = split(net), Target(lambda t, y: net(y), 2).flow(x)[-1]
    wrong = end(chatter(parts, 16, order=2, retune=False), x)
    assert float((wrong - sought).norm(dim=1).max()) > 0.3


def test_chattering_costs_the_square_of_the_number_of_slots():
    parts = split(network(0))
    prices = [energy(e.field, e.pieces) for e in (chatter(parts, n) for n in (32, 64))]
    assert 3.5 < prices[1] / prices[0] < 4.0  # retuning dominates, n^2 in the limit


# --- alpha = 1, functions ------------------------------------------------------------------


def test_derivatives_of_the_curve():
    g, x = quadratic_like(), torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    h = 1e-5
    assert torch.allclose((g.value(x + h) - g.value(x - h)) / (2 * h), g.slope(x), atol=1e-8)
    assert torch.allclose((g.slope(x + h) - g.slope(x - h)) / (2 * h), g.bend(x), atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_taylor_flow_is_the_function(scale):
    g, pieces = quadratic_like(), 200
    flow = taylor_flow(g, pieces, scale=scale)
    nodes = torch.linspace(g.start, g.end, pieces + 1, dtype=torch.float64).unsqueeze(1)
    assert float((end(flow, nodes) - g.value(nodes)).abs().max()) < 1e-8  # Simpson, h = 0.015
    between = nodes[:-1] + 0.4 * (nodes[1] - nodes[0])
    assert float((end(flow, between) - g.value(between)).abs().max()) < 1e-4  # kinks: g'' h^2 / 8
    assert energy(flow.field, flow.pieces) == pytest.approx(taylor_energy(g, scale=scale), rel=1e-3)


def test_taylor_flow_of_a_function_that_touches_the_diagonal_needs_no_tangent():
    g = Curve(lambda x: x + x**3 / 6, lambda x: 1 + x**2 / 2, lambda x: x, 0.0, 1.0)
    flow = taylor_flow(g, 100)
    assert len(flow.pieces) == 100
    nodes = torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1)
    assert float((end(flow, nodes) - g.value(nodes)).abs().max()) < 1e-8  # Simpson, h = 0.01
    assert energy(flow.field, flow.pieces) == pytest.approx(taylor_energy(g), rel=1e-3)


def test_control_taylor_flow_without_the_tangent_and_outside_the_interval():
    g = quadratic_like()
    flow = taylor_flow(g, 50)
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64).unsqueeze(1)
    cut = drive(flow.field, flow.pieces[1:], flow.lift(x))[-1, :, :1]
    assert float((cut - g.value(x)).abs().max()) > 1.0
    far = torch.tensor([[-2.5]], dtype=torch.float64)  # left of a: no longer g
    assert float((end(flow, far) - g.value(far)).abs().max()) > 1.0


def test_arc_length_is_the_cheapest_timing():
    g = quadratic_like()
    fast = taylor_flow(g, 100, arc_length=False)
    assert energy(fast.field, fast.pieces) > 1.03 * taylor_energy(g)


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_generators_reach_every_matrix_of_positive_determinant(seed):
    g = torch.Generator().manual_seed(seed)
    m = torch.randn(2, 2, generator=g, dtype=torch.float64)
    if float(torch.linalg.det(m)) < 0:
        with pytest.raises(ValueError, match="positive determinant"):
            generators(m)
        m = m.flip(0)
    product = torch.eye(2, dtype=torch.float64)
    for part in generators(m):
        product = torch.linalg.matrix_exp(part) @ product
    assert torch.allclose(product, m, atol=1e-9)


def test_half_turns_are_refused():
    with pytest.raises(ValueError, match="half turn"):
        generators(-torch.eye(2, dtype=torch.float64))


def test_mixing_flow_equals_its_network_for_general_layers(x):
    g = torch.Generator().manual_seed(5)
    layers = []
    while len(layers) < 4:
        m, a = torch.randn(2, 2, 2, generator=g, dtype=torch.float64)
        if float(torch.linalg.det(m)) > 0.2:
            layers.append(Layer(m, torch.randn(2, generator=g, dtype=torch.float64), a))
    b = torch.tensor([0.3, -0.2], dtype=torch.float64)
    flow = mixing_flow(layers, b, 1.0, steps=200)
    sought = x + as_network(layers, b)(x)
    assert float((end(flow, x) - sought).abs().max()) < 1e-8  # RK4, 200 steps for each turn
    wrong = mixing_flow(layers, b, 1.0, steps=200, linear=False)
    assert float((end(wrong, x) - sought).abs().max()) > 0.1


def test_complex_square_with_alpha_one(x):
    layers = turning_features(40)
    bare = as_network(layers, torch.zeros(2, dtype=torch.float64))
    sample = ball_cover(2, 1.0, 0.03)
    how = {"sigma": "relu", "ridge": 1e-8}
    net = fit_outer((bare.W, bare.c), sample, [complex_square(sample) - sample], **how)[0]
    flow = mixing_flow(with_outer(layers, net), net.b, 1.0)
    assert flow.field.inflation == 1
    ends = end(flow, x[x.norm(dim=1) <= 0.9])
    near = x[x.norm(dim=1) <= 0.9]
    assert float((ends - near - net(near)).abs().max()) < 1e-5
    assert float((ends - complex_square(near)).norm(dim=1).max()) < 0.1
    assert isinstance(flow.lift, Lift)


# --- alpha = 1, tanh: amplification ---------------------------------------------------------


def turned_layers(seed: int, count: int) -> list[Layer]:
    g = torch.Generator().manual_seed(seed)
    layers: list[Layer] = []
    while len(layers) < count:
        m, a = torch.randn(2, 2, 2, generator=g, dtype=torch.float64)
        if float(torch.linalg.det(m)) > 0.2:
            layers.append(Layer(m, torch.randn(2, generator=g, dtype=torch.float64), a))
    return layers


def test_amplified_tanh_reads_psi_to_second_order_in_eta(x):
    """General layers, alpha = 1: the gap to the network falls like eta^2; unamplified it stays."""
    layers, b = turned_layers(5, 3), torch.tensor([0.3, -0.2], dtype=torch.float64)
    near = x[x.norm(dim=1) <= 1]
    net = replace(as_network(layers, b), sigma=PSI)
    gaps = []
    for eta in (0.02, 0.01, 0.005):
        flow = amplified_flow(layers, b, eta, steps=60)
        assert (flow.field.inflation, flow.field.sigma.name) == (1, "tanh")
        gaps.append(float((end(flow, near) - near - net(near)).abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(gaps)]
    assert all(1.9 < order < 2.1 for order in orders)
    flat = amplified_flow(layers, b, 0.005, amplify=False, steps=60)
    assert float((end(flat, near) - near - net(near)).abs().max()) > 0.1


def test_psi_is_tanh_of_arsinh_with_its_derivatives():
    u = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(PSI.value(u), torch.tanh(torch.asinh(u)), atol=1e-14)  # rounding
    (slope,) = torch.autograd.grad(PSI.value(u).sum(), u, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), u)
    assert torch.allclose(slope, PSI.slope(u), atol=1e-13)
    assert torch.allclose(bend, PSI.curvature(u), atol=1e-13)


@pytest.mark.parametrize("eta", [0.0, 1.0, -0.1])
def test_sizes_outside_the_linear_range_are_refused(eta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        amplified_flow(turned_layers(1, 2), torch.zeros(2, dtype=torch.float64), eta)
