"""A flow as layers: its gap to the flow is of the order that the layers' rule has."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from problems import EXACT, draw, fitted_order, gap, refused
from torch import nn

from shooting import (
    Affine,
    ConvUpDown,
    DynamicDirect,
    DynamicParticles,
    Field,
    Function,
    SecondOrder,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
)
from shooting.layers import Entrance, Exit, Residual, residual_network
from shooting.lift import PARTS, Lift

pytestmark = pytest.mark.usefixtures("float64")
FIELD = UpDown(2, 3, sigma="tanh")
MODELS = {
    "dynamic particles": lambda **k: DynamicParticles(
        FIELD, 4, momentum_scale=2.0, **{"seed": 0, **k}
    ),
    "static particles": lambda **k: StaticParticles(
        FIELD, 4, momentum_scale=2.0, **{"seed": 0, **k}
    ),
    "dynamic direct": lambda **k: DynamicDirect(FIELD, blocks=4, **{"seed": 0, **k}),
    "known depth": lambda **k: DynamicDirect(FIELD, blocks=4, depth=2.0, **{"seed": 0, **k}),
    "static direct": lambda **k: StaticDirect(FIELD, **{"seed": 0, **k}),
    "drift": lambda **k: DynamicParticles(SecondOrder(2, sigma="tanh"), 4, **{"seed": 0, **k}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
X = draw(0, 6, 2)


def gaps(model, at: str, counts: list[int]) -> list[float]:
    depth = getattr(model, "depth", None) or 1.0
    end = model(X, [0.0, depth])[-1]
    return [gap(model.to_layers(n, at=at)(X), end) for n in counts]


@EVERY
@pytest.mark.parametrize(("at", "order"), [("left", 1), ("midpoint", 2)])
def test_the_gap_to_the_flow_is_of_the_layers_order(name, at, order):
    model, counts = MODELS[name](solver=Solver(step=1 / 64)), [8, 16, 32, 64]
    found = gaps(model, at, counts)
    # the slope over three halvings is that close to the order; the other rule's is one away
    assert abs(fitted_order(found, counts) - order) < 0.3
    assert found[-1] < 2e-2


def test_control_weights_in_the_middle_alone_are_of_first_order():
    """Euler steps with the weights of middles: a smaller gap, of the same order as left ends."""
    model, counts = MODELS["dynamic particles"](solver=Solver(step=1 / 64)), [8, 16, 32, 64]
    end, found = model(X, [0.0, 1.0])[-1], []
    for n in counts:
        layers = model.to_layers(n)
        for layer in layers[1:-1]:
            layer.at = "left"
        found.append(gap(layers(X), end))
    assert fitted_order(found, counts) < 1.3


def test_layers_are_plain_modules_with_weights_of_their_own():
    model = MODELS["dynamic particles"]()
    layers = model.to_layers(10, at="left")
    kinds = [Entrance, *[Residual] * 10, Exit]
    assert isinstance(layers, nn.Sequential)
    assert [type(layer) for layer in layers] == kinds
    theta = model.theta([k / 10 for k in range(10)])
    for k in range(10):
        for name, value in theta.items():
            assert torch.equal(layers[1 + k].theta[name], value[k])
    before = model(X, [0.0, 1.0])
    layers(X).square().sum().backward()
    assert all(p.grad is not None for p in layers.parameters())
    assert all(p.grad.abs().sum() > 0 for p in layers[:10].parameters())  # the last moves x alone
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        for p in layers.parameters():
            p.mul_(2)
    assert torch.equal(model(X, [0.0, 1.0]), before)  # the flow has its own


def test_layers_by_hand():
    model = MODELS["dynamic particles"]()
    z, theta = model.states(X, [0.0, 1.0])[0], model.theta([0.0, 0.125, 0.375, 0.625, 0.875, 1.0])
    for k in range(4):
        now = {name: value[1 + k] for name, value in theta.items()}
        half = z + FIELD.velocity(z, now) / 8
        z = z + FIELD.velocity(half, now) / 4
    assert gap(model.to_layers(4)(X), z[:, :2]) <= EXACT


def test_they_can_be_saved_copied_and_compiled_into_a_script():
    layers = MODELS["dynamic direct"]().to_layers(4)
    again, other = pickle.loads(pickle.dumps(layers)), MODELS["dynamic direct"](seed=1).to_layers(4)
    assert torch.equal(again(X), layers(X))
    assert torch.equal(copy.deepcopy(layers)(X), layers(X))
    assert gap(other(X), layers(X)) > 1e-2
    other.load_state_dict(layers.state_dict())
    assert torch.equal(other(X), layers(X))


@pytest.mark.parametrize("lift", ["learned", "fixed", "zero"])
def test_runs_batches_and_lifts(lift):
    runs = MODELS["dynamic particles"](seeds=[0, 1, 2], lift=lift)
    layers, x = runs.to_layers(3), draw(1, 3, 6, 2)
    assert layers(X).shape == (3, 6, 2)
    for i in range(3):
        alone = MODELS["dynamic particles"](seed=i, lift=lift).to_layers(3)
        assert gap(layers(x)[i], alone(x[i])) <= EXACT
        assert gap(layers(X)[i], alone(X)) <= EXACT
    batch = draw(2, 4, 5, 6, 2)
    alone = MODELS["dynamic particles"](lift=lift).to_layers(3)
    assert gap(alone(batch)[3, 4], alone(batch[3, 4])) <= EXACT


def test_without_hidden_slots_and_for_images():
    flat = StaticDirect(Affine(2, sigma="tanh"), solver=Solver(step=0.01), seed=0)
    assert gap(flat.to_layers(200)(X), flat(X, [0.0, 1.0])[-1]) < 1e-4  # h^2 = 2.5e-5
    field = ConvUpDown(1, 2, sites=(3, 4), padding="zero", sigma="tanh")
    image = DynamicParticles(field, 3, solver=Solver(step=0.01), seed=0)
    pixels = draw(2, 5, 1, 3, 4)
    found = image.to_layers(200)(pixels)
    assert found.shape == pixels.shape
    assert gap(found, image(pixels, [0.0, 1.0])[-1]) < 1e-4


def test_depth_may_be_chosen():
    model = MODELS["dynamic particles"](solver=Solver(step=0.01))
    assert gap(model.to_layers(200, depth=0.5)(X), model(X, [0.0, 0.5])[-1]) < 1e-4
    assert gap(model.to_layers(200)(X), model(X, [0.0, 0.5])[-1]) > 1e-2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"count": 0}, "number of layers"),
        ({"count": 2.5}, "number of layers"),
        ({"at": "right"}, "'right'"),
        ({"depth": 0.0}, "depth T"),
        ({"depth": float("nan")}, "nan"),
    ],
)
def test_bad_settings_are_refused(change, told):
    with refused(told):
        MODELS["dynamic particles"]().to_layers(**{"count": 4, **change})
    with refused("[0, 2]"):
        MODELS["known depth"]().to_layers(4, depth=3.0)
    assert len(MODELS["dynamic particles"]().to_layers(np.int64(2))) == 4


def test_a_network_of_given_weights():
    weights = [{k: draw(i, *s) for k, s in FIELD.shapes.items()} for i in range(2)]
    lift = Lift(FIELD)
    for name, value in zip(PARTS, (draw(5, 6, 2), draw(6, 6)), strict=True):
        lift.set(name, value)
    network = residual_network(FIELD, lift, weights, length=0.5, at="left")
    z = torch.cat([X, X @ lift.weight.T + lift.bias], -1)
    for theta in weights:
        z = z + 0.5 * FIELD.velocity(z, theta)
    assert gap(network(X), z[:, :2]) <= EXACT
    assert "length=0.5, at='left'" in repr(network)


def test_a_network_inside_the_field_is_copied_with_its_numbers():
    def layers(seed):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        field = Field({"x": 2}, [Term("A", "x", Function(network, ("x",)))])
        model = DynamicParticles(field, 4, seed=0)
        return network, model.to_layers(3)

    (network, one), (_, two), x = layers(1), layers(2), draw(0, 5, 2)
    before = one(x)
    assert gap(before, two(x)) > 1e-3  # control
    two.load_state_dict(one.state_dict())
    assert torch.equal(before, two(x))
    network[0].weight.data += 1  # the layers have numbers of their own
    assert torch.equal(before, one(x))
    assert {w.dtype for w in one.float().parameters()} == {torch.float32}
    assert one(x.float()).dtype == torch.float32
