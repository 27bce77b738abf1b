"""Inputs of public bug reports of libraries like this one, with the right values.

Values stand in the issues' own settings: `block` below, float64. What concerns files and settings
of a machine has its tests in `test_native_build`, `study` and `book`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import EXACT, gap, refused
from torch.func import functional_call, grad, jacrev, jvp, vmap

from shooting import (
    Activated,
    Affine,
    Drift,
    DynamicParticles,
    Field,
    Solver,
    Term,
    UpDown,
)
from shooting.solvers import make_grid

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # torch's own, in jvp
]

ROUTES = ["auto", "autograd", "adjoint", "native", "torchdiffeq"]
END = [0.0, 1.0]


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(4, 2)


def block(**settings):
    return DynamicParticles(UpDown(2, 3, sigma="tanh"), particles=5, **{"seed": 0, **settings})


@pytest.mark.parametrize("route", ROUTES)
def test_a_trainable_end_time_has_the_slope_of_the_flow(route, x):
    model = block(solver=Solver(route=route))

    def loss(end):
        return model(x, torch.stack([0 * end, end]))[-1].sum()

    end, h = torch.tensor(1.0, requires_grad=True), 1e-4
    loss(end).backward()
    with torch.no_grad():
        right = (loss(torch.tensor(1 + h)) - loss(torch.tensor(1 - h))) / (2 * h)
    # differences of order h^2, and the derivative of the discrete solution is that of the flow
    # up to the solver's error, about 1e-6 at its step of 0.1
    assert abs(float(end.grad - right)) <= 1e-5
    assert abs(float(right)) > 1e-2  # control: it is no zero


def test_the_reported_slope():
    """With the draws of the report, -0.194600 by finite differences; it was None."""
    torch.manual_seed(0)
    model, rows = block(), torch.randn(4, 2)
    end = torch.tensor(1.0, requires_grad=True)
    model(rows, torch.stack([0 * end, end]))[-1].sum().backward()
    assert end.grad.item() == pytest.approx(-0.194600, abs=1e-6)  # the digits reported


def test_a_matrix_changed_after_building_changes_nothing():
    """Values parted by a factor of two: the call kept an inverse, the penalty did not."""
    weight = 2 * torch.eye(2)
    torch.manual_seed(0)
    field = Affine(2, sigma="tanh", weight=weight)
    model, rows = DynamicParticles(field, particles=4, seed=0), torch.randn(4, 2)
    before = model(rows, END), model.penalty()
    weight.mul_(2)
    assert torch.equal(model(rows, END), before[0])
    assert torch.equal(model.penalty(), before[1])
    q, p = model.start()
    assert gap(field.penalty(field.theta(q, p)), field.energy(q, p)) <= EXACT


def test_the_factor_of_a_drift_is_a_number_that_stays():
    """With a trained one neither `state_dict` nor `print` worked; p(0) lost its gradient."""
    trained = torch.nn.Parameter(torch.tensor(1.5))
    with refused("the factor of a drift to be a fixed number", "trained"):
        Drift("x", "x", factor=trained)
    with refused("a momentum scale to be a fixed number", "trained"):
        block(momentum_scale=trained)
    factor = torch.tensor(1.5)
    terms = [Term("A", "x", Activated("x", "tanh"))]
    field = Field({"x": 2}, terms, drift=[Drift("x", "x", factor)])
    factor.mul_(2)
    assert field.drift[0].factor == 1.5
    assert "x ← x·1.5 (drift)" in str(field)
    model = DynamicParticles(field, 5)
    model.load_state_dict(model.state_dict())


def test_single_precision_times_add_no_steps():
    """A hundred steps were 128: the slack was relative to the step, the rounding grows with t."""
    assert make_grid(torch.linspace(0, 10, 101, dtype=torch.float32), step=0.1).steps == 100


@pytest.mark.parametrize("route", ["auto", "autograd", "adjoint", "native"])
def test_autocast_trains_on_every_route(route, x):
    model, rows = block(solver=Solver(route=route)).float(), x.float()
    model(rows, END).sum().backward()
    right = [w.grad.clone() for w in model.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        value = model(rows, END).sum()
    value.backward()
    for w, wanted in zip(model.parameters(), right, strict=True):
        assert gap(w.grad, wanted) <= 1e-2 * float(wanted.abs().max())  # bfloat16 has three digits


def test_functional_transforms_on_the_default_route(x):
    model = block()
    named = {k: w.detach() for k, w in model.named_parameters()}

    def loss(parameters, row):
        return functional_call(model, parameters, (row.unsqueeze(0), END))[-1].square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(named, x)
    for i, row in enumerate(x):
        model.zero_grad()
        model(row.unsqueeze(0), END)[-1].square().sum().backward()
        for name, w in model.named_parameters():
            assert gap(each[name][i], w.grad) <= 1e-12  # rounding, in float64
    _, slope = jvp(lambda y: model(y, END), (x,), (torch.ones_like(x),))
    jacobian = jacrev(lambda y: model(y, END))(x)
    assert gap(jacobian.sum((-1, -2)), slope) <= 1e-12


def test_a_state_of_another_field_or_momentum_scale_is_refused():
    """UpDown(2, 1) and UpDown(1, 3) have 46 numbers each with four particles: it was taken."""
    one = DynamicParticles(UpDown(2, 1), particles=4, seed=0)
    for other in (
        DynamicParticles(UpDown(1, 3), particles=4, seed=0),
        DynamicParticles(UpDown(2, 1), particles=4, momentum_scale=1.0, seed=0),
        DynamicParticles(UpDown(2, 1), particles=4, seeds=[0, 1]),
    ):
        with refused():
            other.load_state_dict(one.state_dict())
    again = DynamicParticles(UpDown(2, 1), particles=4, seed=1)
    again.load_state_dict(one.state_dict())  # the control
    assert set(one.state_dict()) == {"x", "v", "p", "lift.weight", "lift.bias"}


def test_counts_may_be_integers_of_numpy_and_times_have_one_axis(x):
    model = DynamicParticles(UpDown(np.int64(2), np.int32(3)), np.int64(5), seeds=np.arange(2))
    assert model(x, np.array(END)).shape == (2, 2, 4, 2)
    for wrong in (torch.tensor(1.0), torch.zeros(2, 2), None):
        with refused():
            model(x, wrong)
    with refused("float32"):
        model(x.float(), END)
