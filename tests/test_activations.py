"""Activations: sigma' and sigma'' against autograd, and the refusal of unknown names."""

from __future__ import annotations

import pickle

import pytest
import torch
from problems import EXACT, draw, gap, refused
from torch import nn
from torch.autograd import gradgradcheck

from shooting import ConvUpDown, DynamicParticles, Solver, UpDown, shoot
from shooting.activations import ACTIVATIONS, Activation, Derivative, activation

pytestmark = pytest.mark.usefixtures("float64")
EVERY = pytest.mark.parametrize("name", sorted(ACTIVATIONS))


def _points() -> torch.Tensor:
    """Random points, and large ones where PyTorch's own softplus would switch to the line."""
    return torch.cat(
        [draw(0, 200, scale=3.0), torch.tensor([-60.0, -25.0, 19.0, 21.0, 25.0, 60.0])]
    )


@EVERY
def test_slope_is_the_derivative(name):
    sigma, v = ACTIVATIONS[name], _points().requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(v).sum(), v)
    assert gap(sigma.slope(v), slope) <= EXACT


@EVERY
def test_curvature_is_the_second_derivative(name):
    sigma, v = ACTIVATIONS[name], _points().requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(v).sum() + 0 * (v**2).sum(), v, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), v)
    assert gap(sigma.curvature(v), curvature) <= EXACT


@EVERY
def test_slope_matches_differences(name):
    sigma, v, h = ACTIVATIONS[name], draw(1, 200), 1e-5
    v = v[v.abs() > 1e-3]  # away from the kink of ReLU
    difference = (sigma.value(v + h) - sigma.value(v - h)) / (2 * h)
    # truncation h^2 = 1e-10, rounding 1e-16 / h = 1e-11
    assert gap(difference, sigma.slope(v)) < 1e-9


def test_wrong_slope_would_be_noticed():
    v = draw(2, 50).requires_grad_()
    (slope,) = torch.autograd.grad(torch.tanh(v).sum(), v)
    assert gap(ACTIVATIONS["softplus"].slope(v), slope) > 0.1


def test_softplus_is_exact_far_out():
    v = torch.tensor([21.0, 30.0, 50.0])
    assert gap(ACTIVATIONS["softplus"].value(v) - v, torch.log1p(torch.exp(-v))) <= 1e-14


def test_relu_takes_zero_at_the_kink():
    v = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.relu(v).sum(), v)
    assert ACTIVATIONS["relu"].slope(v).item() == slope.item() == 0.0


def test_only_relu_is_not_smooth():
    assert [a.name for a in ACTIVATIONS.values() if not a.smooth] == ["relu"]


def test_own_activation_passes_through():
    sine = Activation("sine", torch.sin, torch.cos, lambda v: -torch.sin(v))
    assert activation(sine) is sine
    assert activation("tanh") is ACTIVATIONS["tanh"]


@pytest.mark.parametrize(
    ("bad", "shown"),
    [("swish", "'swish'"), (None, "None"), (3, "3"), (torch.zeros(2), "of shape (2,)")],
)
def test_unknown_name_is_refused(bad, shown):
    with refused(shown, "tanh"):
        activation(bad)


# --- functions without formulas ------------------------------------------------------------------

OFFSET = torch.ones((), requires_grad=True)
FUNCTIONS = {
    "gelu": torch.nn.functional.gelu,
    "sine": torch.sin,
    "a module": torch.nn.Softplus(beta=2.0),
    "a lambda": lambda v: v * torch.sigmoid(v),
    "a polynomial": lambda v: 0.1 * v**2,
}
EVERY_FUNCTION = pytest.mark.parametrize("name", FUNCTIONS)


@EVERY_FUNCTION
def test_derivatives_by_autograd_match_differences(name):
    sigma, v, h = activation(FUNCTIONS[name]), draw(1, 4, 50), 1e-5
    for value, slope in ((sigma.value, sigma.slope), (sigma.slope, sigma.curvature)):
        difference = (value(v + h) - value(v - h)) / (2 * h)
        assert gap(difference, slope(v)) < 1e-9  # as above
        assert slope(v).shape == v.shape


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_derivatives_by_autograd_equal_the_formulas(name):
    known, v = ACTIVATIONS[name], _points()
    assert gap(Derivative(known.value)(v), known.slope(v)) <= EXACT
    assert gap(Derivative(known.value, 2)(v), known.curvature(v)) <= EXACT
    assert gap(Derivative(torch.sin)(v), known.slope(v)) > 0.1  # another function's


@EVERY_FUNCTION
def test_routes_agree_on_any_function(name):
    """Gradients of all routes, and second derivatives."""
    field = UpDown(2, 3, sigma=FUNCTIONS[name])
    q, p, z = draw(0, 3, 8), draw(1, 3, 8, scale=0.3), draw(2, 4, 8)
    found, twice = [], []
    for route in ("adjoint", "autograd"):
        inputs = [t.clone().requires_grad_() for t in (q, p, z)]
        solver = Solver(step=0.25, route=route)
        loss = shoot(field, *inputs, [0, 1], solver=solver).z.square().sum()
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        found.append(first)
        twice.append(torch.autograd.grad(sum(g.square().sum() for g in first), inputs))
    for one in (found, twice):
        assert all(gap(a, b) <= EXACT for a, b in zip(*one, strict=True))
    assert Solver().active_route(field, *(t.requires_grad_() for t in (q, p, z))) == "adjoint"


def test_second_derivatives_of_a_solve_with_any_function():
    field, solver = UpDown(1, 1, sigma=FUNCTIONS["gelu"]), Solver(step=0.5)
    inputs = [draw(i, 2, 2).requires_grad_() for i in range(3)]
    assert gradgradcheck(lambda *s: shoot(field, *s, [0, 1], solver=solver).z, inputs)


def test_any_function_gives_what_its_formulas_give():
    swish = Activation(
        "swish",
        torch.nn.functional.silu,
        lambda v: torch.sigmoid(v) * (1 + v * (1 - torch.sigmoid(v))),
        lambda v: torch.sigmoid(v) * (1 - torch.sigmoid(v)) * (2 + v * (1 - 2 * torch.sigmoid(v))),
    )
    x, losses = draw(0, 4, 2), []
    for sigma in (swish, torch.nn.functional.silu, torch.nn.SiLU(), torch.tanh):
        model = DynamicParticles(UpDown(2, 3, sigma=sigma), 4, seed=0)
        loss = model(x, [0.0, 1.0])[-1].square().sum() + model.penalty()
        loss.backward()
        losses.append(torch.stack([loss.detach(), *(p.grad.sum() for p in model.parameters())]))
    assert gap(losses[1], losses[0]) <= EXACT
    assert gap(losses[2], losses[0]) <= EXACT
    assert gap(losses[3], losses[0]) > 1e-3


def test_functions_that_have_a_formula_keep_it():
    assert activation(torch.tanh) is ACTIVATIONS["tanh"]
    assert activation(torch.relu) is ACTIVATIONS["relu"]


def test_named_functions_are_pickled_and_lambdas_are_not():
    x = draw(0, 4, 2)
    model = DynamicParticles(UpDown(2, 3, sigma=torch.nn.functional.gelu), 4, seed=0)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(x, [0.0, 1.0]), model(x, [0.0, 1.0]))
    assert "gelu" in repr(model)
    unnamed = DynamicParticles(UpDown(2, 3, sigma=FUNCTIONS["a lambda"]), 4, seed=0)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(unnamed)


def test_a_function_works_in_other_features_and_under_inference():
    field = ConvUpDown(1, 2, sites=(3, 4), padding="zero", sigma=torch.nn.functional.gelu)
    model, x = DynamicParticles(field, 3, seed=0), draw(0, 5, 1, 3, 4)
    wanted = model(x, [0.0, 1.0])
    with torch.inference_mode():
        assert gap(model(x, [0.0, 1.0]), wanted) <= EXACT
    with torch.no_grad():
        assert gap(model(x, [0.0, 1.0]), wanted) <= EXACT


@pytest.mark.parametrize(
    ("sigma", "told"),
    [
        (lambda v: torch.softmax(v, -1), "depend on each other"),
        (lambda v: torch.nn.functional.dropout(v, 0.5), "chance"),
        (torch.nn.PReLU(), "learned numbers"),
        (lambda v: v.sum(), "of 7 entries"),
        (lambda v: 3.0, "float of 7 entries"),
        (lambda v: v @ torch.eye(3), "fails for a vector"),
        (OFFSET.add, "learned numbers"),
    ],
)
def test_functions_that_are_no_activations_are_refused(sigma, told):
    torch.manual_seed(0)
    with refused("entry by entry", told):
        activation(sigma)


def test_formulas_with_learned_numbers_are_refused():
    rate = nn.Parameter(torch.tensor(1.3))
    fine = torch.tanh, torch.cos, torch.sin
    for k, part in enumerate(("value", "slope", "curvature")):
        for wrong in (lambda v: torch.tanh(rate * v), nn.PReLU()):
            with refused(part, "learned numbers"):
                Activation("mine", *fine[:k], wrong, *fine[k + 1 :])
    fixed = rate.detach()
    assert Activation("mine", lambda v: torch.tanh(fixed * v), *fine[1:]).name == "mine"  # control


def test_a_function_that_works_in_place_is_refused():
    with refused("in place"):
        UpDown(2, 3, sigma=nn.ReLU(inplace=True))
    assert UpDown(2, 3, sigma=nn.ReLU()).sigma.name == "ReLU"  # control
