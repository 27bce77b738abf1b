"""Dense output: the path between the solver's nodes, to third order and beyond."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import EXACT, draw, fitted_order, gap, refused

from shooting import (
    Affine,
    ConvUpDown,
    DynamicDirect,
    DynamicParticles,
    Solver,
    StaticDirect,
    StaticParticles,
    UpDown,
)
from shooting.dense import Dense

pytestmark = pytest.mark.usefixtures("float64")
FIELD = UpDown(2, 3, sigma="tanh")
MODELS = {
    "dynamic particles": lambda **k: DynamicParticles(
        FIELD, 4, momentum_scale=4.0, **{"seed": 0, **k}
    ),
    "static particles": lambda **k: StaticParticles(
        FIELD, 4, momentum_scale=4.0, **{"seed": 0, **k}
    ),
    "dynamic direct": lambda **k: DynamicDirect(FIELD, blocks=4, **{"seed": 0, **k}),
    "static direct": lambda **k: StaticDirect(FIELD, **{"seed": 0, **k}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
BETWEEN = [0.03, 0.11, 0.24, 0.31, 0.5, 0.74, 0.77, 0.99]
X = draw(0, 5, 2)


def errors_of(name: str, spoil=None) -> list[float]:
    """Of dense output with steps 1/8, 1/16, 1/32, against the path in steps of 1/256."""
    fine = MODELS[name](solver=Solver(step=1 / 256))(X, [0.0, *BETWEEN, 1.0])[1:-1]
    found = []
    for n in (8, 16, 32):
        dense = MODELS[name](solver=Solver(step=1 / n)).dense(X, [0.0, 1.0])
        dense = spoil(dense) if spoil else dense
        found.append(gap(dense(BETWEEN), fine))
    return found


@EVERY
def test_order(name):
    """Fourth, blocks of the control included: its ends are nodes, each side has its velocity."""
    assert fitted_order(errors_of(name), [8, 16, 32]) > 3.7  # order 4, met from step 1/8 on


@EVERY
def test_control_without_velocities_the_order_is_two(name):
    def chords(dense: Dense) -> Dense:
        h = torch.tensor(dense.nodes).diff().view(-1, 1, 1)
        chord = dense.values.diff(dim=-3) / h
        return Dense(dense.nodes, dense.values, chord, chord, dense.positions)

    assert 1.4 < fitted_order(errors_of(name, chords), [8, 16, 32]) < 2.6


def test_control_one_velocity_at_the_end_of_a_block_is_noticed():
    def smooth(dense: Dense) -> Dense:
        ends = torch.cat([dense.starts[1:], dense.ends[-1:]])
        return Dense(dense.nodes, dense.values, dense.starts, ends, dense.positions)

    assert fitted_order(errors_of("dynamic direct", smooth), [8, 16, 32]) < 1.5
    assert fitted_order(errors_of("dynamic particles", smooth), [8, 16, 32]) > 3.7


@EVERY
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_nodes_are_met_exactly_and_shapes_are_those_of_the_call(name, seeds):
    model = MODELS[name](solver=Solver(step=0.25), seeds=seeds)
    path, times = model.dense(X, [0.0, 1.0]), [0.0, 0.25, 0.5, 0.75, 1.0]
    assert gap(path(times), model(X, times)) <= EXACT
    assert gap(path.states(times), model.states(X, times)) <= EXACT
    assert gap(path(times[::-1]), model(X, times).flip(-3)) <= EXACT
    assert torch.equal(path(0.25), path([0.25]).squeeze(-3))
    assert torch.equal(path(torch.tensor(0.25)), path(0.25))
    assert torch.equal(path(np.float32(0.25)), path(0.25))
    assert path(1).shape == ((5, 2) if seeds is None else (2, 5, 2))


def test_times_in_between_become_nodes():
    model = MODELS["dynamic particles"](solver=Solver(step=0.4))
    assert model.dense(X, [0.0, 0.7, 1.0]).nodes == (0.0, 0.35, 0.7, 1.0)


def test_a_path_is_differentiable_in_time_weights_and_data():
    model, x, t = MODELS["dynamic particles"](), X.clone().requires_grad_(), torch.tensor([0.33])
    t.requires_grad_()
    model.solver = Solver(step=0.05)
    path = model.dense(x, [0.0, 1.0])
    end = torch.tensor(0.33, requires_grad=True)
    plain = model(x, [0.0, end])[-1]
    (speed,) = torch.autograd.grad(path(t).sum(), t, retain_graph=True)
    (wanted,) = torch.autograd.grad(plain.sum(), end, retain_graph=True)
    assert gap(speed[0], wanted) < 2e-4  # the interpolant's derivative: h^3 = 1e-4
    inputs = [x, *model.parameters()]
    found = torch.autograd.grad(path(0.33).square().sum(), inputs)
    wanted = torch.autograd.grad(plain.square().sum(), inputs)
    assert max(gap(a, b) for a, b in zip(found, wanted, strict=True)) < 2e-5  # h^4 = 6e-6


def test_backward_paths_and_late_beginnings():
    """Of a field without hidden slots: from x(1) back, and from 0.4 on."""
    model = DynamicParticles(Affine(2, sigma="tanh"), 4, solver=Solver(step=0.05), seed=0)
    path = model.dense(X, [0.0, 1.0])
    back = model.dense(path(1.0), [1.0, 0.0])
    late = model.dense(path(0.4), [0.4, 1.0])
    assert back.nodes[0] == 1.0
    assert gap(back(BETWEEN), path(BETWEEN)) < 1e-6  # h^4 = 6e-6 times derivatives below one
    assert gap(late(BETWEEN[4:]), path(BETWEEN[4:])) < 1e-6
    assert gap(late(BETWEEN[4:]), path([t - 0.4 for t in BETWEEN[4:]])) > 1e-2  # the control


def test_batches_and_images():
    model = MODELS["dynamic direct"](solver=Solver(step=0.25))
    x = draw(1, 2, 3, 5, 2)
    path = model.dense(x, [0.0, 1.0])
    assert path([0.1, 0.6]).shape == (2, 3, 2, 5, 2)
    assert gap(path(0.6)[1, 2], model.dense(x[1, 2], [0.0, 1.0])(0.6)) <= EXACT
    image = DynamicParticles(ConvUpDown(1, 2, sites=(3, 4), padding="zero"), 3, seed=0)
    pixels = draw(2, 5, 1, 3, 4)
    assert gap(image.dense(pixels, [0, 1])([0, 1]), image(pixels, [0, 1])) <= EXACT


@pytest.mark.parametrize("times", [1.1, [0.5, -0.1], torch.tensor(2.0)])
def test_times_outside_are_refused(times):
    path = MODELS["static direct"]().dense(X, [0.0, 1.0])
    with refused("between 0 and 1"):
        path(times)
    assert path(torch.linspace(0, 1, 7, dtype=torch.float32)).shape == (7, 5, 2)


def test_an_end_far_from_zero_that_single_precision_rounds_is_met():
    dense = StaticDirect(UpDown(2, 3), seed=0).dense(draw(0, 4, 2), [100.0, 100.3])
    end = torch.tensor([100.3], dtype=torch.float32)
    assert gap(dense(end)[0], dense(100.3)) <= 1e-4  # single precision of 100
    with refused("100.3"):
        dense(100.301)


def test_a_learned_depth_may_be_a_tensor_of_one_number():
    model, x = StaticDirect(UpDown(2, 3), seed=0), draw(0, 4, 2)
    depth = torch.ones(1, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x, [0.0, depth])[-1].sum(), depth)
    plain = torch.ones((), requires_grad=True)
    (other,) = torch.autograd.grad(model(x, [0.0, plain])[-1].sum(), plain)
    assert gap(slope[0], other) <= EXACT
