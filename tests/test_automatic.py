"""Automatic shooting: a field given as a function equals the list of terms it stands for."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, draw, fitted_order, gap, particles, refused, spd
from torch import nn
from torch.nn import functional

from shooting import (
    Affine,
    AutomaticField,
    ConvUpDown,
    DynamicDirect,
    DynamicParticles,
    Field,
    SecondOrder,
    Slot,
    Solver,
    StaticDirect,
    Term,
    UpDown,
    carry,
    complexity,
    shoot,
)
from shooting.hamiltonian import autodiff_system, hamiltonian, theta_system

pytestmark = pytest.mark.usefixtures("float64")


def updown(parts, theta):
    x, v = parts["x"], parts["v"]
    s = torch.tanh(v)
    return {
        "x": s @ theta["theta1"].T + theta["b1"],
        "v": x @ theta["theta2"].T + theta["b2"] + s @ theta["theta3"].T,
    }


def affine(parts, theta):
    return {"x": torch.tanh(parts["x"]) @ theta["A"].T + theta["b"]}


def second(parts, theta):
    return {"x": parts["v"], "v": torch.tanh(parts["x"]) @ theta["theta1"].T + theta["b"]}


def conv(parts, theta):
    x, v = parts["x"], torch.tanh(parts["v"])
    return {
        "x": functional.conv2d(v, theta["theta1"], theta["b1"], padding=1),
        "v": functional.conv2d(x, theta["theta2"], theta["b2"], padding=1)
        + functional.conv2d(v, theta["theta3"], padding=1),
    }


IMAGE = {"x": Slot(2, (3, 4)), "v": Slot(4, (3, 4))}
PAIRS = {
    "UpDown": (
        UpDown(2, 3, sigma="tanh", theta3_weight=spd(0, 6)),
        AutomaticField(
            updown,
            {"x": 2, "v": 6},
            {"theta1": (2, 6), "b1": (2,), "theta2": (6, 2), "b2": (6,), "theta3": (6, 6)},
            weights={"theta3": spd(0, 6)},
        ),
    ),
    "Affine": (
        Affine(3, sigma="tanh", weight=2.0),
        AutomaticField(affine, {"x": 3}, {"A": (3, 3), "b": (3,)}, weights={"A": 2.0}),
    ),
    "SecondOrder": (
        SecondOrder(2, sigma="tanh"),
        AutomaticField(second, {"x": 2, "v": 2}, {"theta1": (2, 2), "b": (2,)}),
    ),
    "ConvUpDown": (
        ConvUpDown(2, 2, sites=(3, 4), sigma="tanh"),
        AutomaticField(
            conv,
            IMAGE,
            {
                "theta1": (2, 4, 3, 3),
                "b1": (2,),
                "theta2": (4, 2, 3, 3),
                "b2": (4,),
                "theta3": (4, 4, 3, 3),
            },
            weights={"theta3": 10.0},
        ),
    ),
}


@pytest.mark.parametrize("kind", sorted(PAIRS))
@pytest.mark.parametrize("runs", [(), (2,), (2, 2)])
def test_the_function_is_the_list_of_terms(kind, runs):
    terms, auto = PAIRS[kind]
    assert auto.shapes == terms.shapes
    assert bool(auto.drift) == bool(terms.drift)
    q, p = particles(terms, 3, runs=runs, seed=1)
    theta, z = terms.theta(q, p), draw(5, *runs, 4, terms.size)
    for name, value in auto.theta(q, p).items():
        assert gap(value, theta[name]) <= EXACT
    assert gap(auto.velocity(z, theta), terms.velocity(z, theta)) <= EXACT
    assert gap(auto.pull_back(q, p, theta), terms.pull_back(q, p, theta)) <= EXACT
    assert gap(auto.penalty(theta), terms.penalty(theta)) <= EXACT
    assert gap(auto.energy(q, p), terms.energy(q, p)) <= EXACT
    for a, b in zip(
        theta_system(auto)(q, p), autodiff_system(lambda q, p: hamiltonian(auto, q, p))(q, p),
        strict=True,
    ):  # fmt: skip
        assert gap(a, b) <= EXACT
    doubled = {k: 2 * v for k, v in theta.items()}  # control
    assert gap(auto.velocity(z, doubled), terms.velocity(z, theta)) > 1e-3


@pytest.mark.parametrize("kind", sorted(PAIRS))
@pytest.mark.parametrize("route", ["autograd", "adjoint", "torchdiffeq"])
def test_solves_and_gradients_agree(kind, route):
    found = []
    for field in PAIRS[kind]:
        q, p = particles(field, 2, runs=(2,), seed=3, scale=0.1)
        wrt = [t.requires_grad_() for t in (q, p, draw(9, 2, 3, field.size))]
        path = shoot(field, *wrt, [0, 0.5, 1], solver=Solver(step=0.25, route=route))
        loss = sum((o * draw(i, *o.shape)).sum() for i, o in enumerate(path))
        found.append([*path, *torch.autograd.grad(loss, wrt)])
    assert max(gap(a, b) for a, b in zip(*found, strict=True)) <= EXACT


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_models_agree(kind):
    times = [0.0, 1.0]
    slot = next(iter(PAIRS[kind][0].spaces.values()))
    x = draw(2, 3, slot.width, *slot.sites)
    for model in (DynamicParticles, DynamicDirect):
        how = {"particles": 2} if model is DynamicParticles else {}
        a, b = (model(field, **how, seeds=(0, 1)) for field in PAIRS[kind])
        if model is DynamicDirect:  # biases of a function count as matrices of width 1 when drawn
            for theirs, own in zip(a.parameters(), b.parameters(), strict=True):
                own.data.copy_(theirs)
        assert gap(a(x, times), b(x, times)) <= EXACT


def test_energy_is_conserved_to_order_four():
    field, steps = PAIRS["ConvUpDown"][1], (4, 8, 16, 32)
    q, p = particles(field, 2, seed=2, scale=0.02)
    drifts = []
    for n in steps:
        path = shoot(field, q, p, q[:0], [0, 1], solver=Solver(step=1 / n))
        drifts.append(abs(float(field.energy(path.q[-1], path.p[-1]) - field.energy(q, p))))
    assert 3.7 <= fitted_order(drifts, steps) <= 4.5


def test_a_gated_unit_shoots_without_a_formula():
    """x' = sigmoid(x) * (W x) + b: no list of terms says it, and costates are autograd's."""

    def gated(parts, theta):
        x = parts["x"]
        return {"x": torch.sigmoid(x) * (x @ theta["W"].T) + theta["b"]}

    field = AutomaticField(gated, {"x": 3}, {"W": (3, 3), "b": (3,)})
    q, p = particles(field, 4, seed=1)
    wanted = autodiff_system(lambda q, p: hamiltonian(field, q, p))(q, p)
    for a, b in zip(theta_system(field)(q, p), wanted, strict=True):
        assert gap(a, b) <= EXACT
    carried = carry(field, {k: t[None] for k, t in field.theta(q, p).items()}, q, [0, 1])
    assert bool(carried.isfinite().all())


def test_a_function_that_is_not_linear_is_refused():
    def square(parts, theta):
        return {"x": parts["x"] @ (theta["A"] ** 2).T}

    with refused("linear in its controls ['A']", "additivity"):
        AutomaticField(square, {"x": 2}, {"A": (2, 2)})
    AutomaticField(affine, {"x": 2}, {"A": (2, 2), "b": (2,)})  # control
    for size in (1e-12, 1e-6, 1e6):  # however small its velocities are

        def curved(parts, theta, size=size):
            return {"x": size * (parts["x"] @ theta["A"].T) ** 2}

        with refused("linear in its controls ['A']", "additivity"):
            AutomaticField(curved, {"x": 2}, {"A": (2, 2)})
        tiny = {"x": 2}, {"A": (2, 2), "b": (2,)}
        AutomaticField(lambda z, t, c=size: {"x": c * affine(z, t)["x"]}, *tiny)  # control


def test_a_vector_begins_like_the_bias_of_the_matrix_beside_it():
    field = AutomaticField(affine, {"x": 5}, {"A": (5, 5), "b": (5,)})
    assert [field.fan_in(name) for name in ("A", "b")] == [5, 5]
    alone = AutomaticField(lambda z, t: {"x": 0 * z["x"] + t["b"]}, {"x": 5}, {"b": (5,)})
    assert alone.fan_in("b") == 1


def test_a_function_that_mixes_samples_is_refused():
    def normalised(parts, theta):
        return {"x": (parts["x"] - parts["x"].mean(0)) @ theta["A"].T}

    with refused("each sample by itself", "batch"):
        AutomaticField(normalised, {"x": 2}, {"A": (2, 2)})


def test_weights_that_do_not_fit_are_refused():
    with refused("['A', 'b']", "['B']"):
        AutomaticField(affine, {"x": 2}, {"A": (2, 2), "b": (2,)}, weights={"B": 1.0})
    with refused("size 2", "'A'"):
        AutomaticField(affine, {"x": 2}, {"A": (2, 2), "b": (2,)}, weights={"A": torch.eye(3)})
    with refused("kernel", "('theta',)"):
        q, p = particles(PAIRS["Affine"][1], 2)
        shoot(PAIRS["Affine"][1], q, p, q, [0, 1], solver=Solver(form="kernel"))


NORM = nn.GroupNorm(1, 2).double()


def by_hand(x):
    """One group, written out."""
    over = tuple(range(1, x.dim()))
    centred = x - x.mean(over, keepdim=True)
    return centred / (centred.square().mean(over, keepdim=True) + NORM.eps).sqrt()


NORMS = {"module": NORM, "function": lambda x: functional.group_norm(x, 1)}


@pytest.mark.filterwarnings("ignore::shooting.learned.LooseNumbersWarning")
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("sites", [(), (4, 3)])
@pytest.mark.parametrize("seeds", [None, (0, 1)])
def test_groups_of_channels_can_be_normalised(name, sites, seeds):
    """With channels last in memory the backward ended the process, or `vmap` failed."""
    view, x = (1, 2, *[1] * len(sites)), draw(0, 5, 2, *sites)
    found = []
    for norm in (NORMS[name], by_hand):
        field = AutomaticField(
            lambda z, t, norm=norm: {"x": norm(z["x"]) * t["w"].view(view)},
            {"x": Slot(2, sites)},
            {"w": (2,)},
        )
        start = {"seeds": seeds, "seed": 0}
        for model in (StaticDirect(field, **start), DynamicParticles(field, 3, **start)):
            end = model(x, [0.0, 1.0])
            end.square().sum().backward()
            found.append([end, *(p.grad for p in model.parameters())])
    for a, b in zip(found[0] + found[1], found[2] + found[3], strict=True):
        assert gap(a, b) <= EXACT
    assert gap(found[0][0], found[1][0]) > 1e-3  # the control: it is not all zero


def test_images_stay_as_they_lie_where_nothing_is_normalised():
    """Channels last in memory, where convolutions are faster."""
    seen = []

    def looks(z, t):
        seen.append(z["x"].is_contiguous(memory_format=torch.channels_last))
        return {"x": z["x"] * t["w"].view(1, 2, 1, 1)}

    AutomaticField(looks, {"x": Slot(2, (4, 3))}, {"w": (2,)}).drift  # noqa: B018
    assert all(seen)


def test_an_automatic_field_does_not_change():
    field = PAIRS["Affine"][1]
    for name in ("function", "metrics", "drift", "shapes"):
        with refused(repr(name), error=AttributeError):
            setattr(field, name, None)


def test_a_bias_of_a_function_does_not_count_in_the_published_complexity():
    field = AutomaticField(
        lambda z, t: {"x": z["x"] @ t["A"].T + t["b"]}, {"x": 2}, {"A": (2, 2), "b": (2,)}
    )
    listed = Field({"x": 2}, [Term("A", "x", "x"), Term("b", "x")])
    own, known = (complexity(DynamicParticles(f, 3, seed=0), [0, 1]) for f in (field, listed))
    assert gap(own["squared"], known["squared"]) <= EXACT


def test_a_function_that_works_in_place_is_refused():
    def field(inplace):
        relu = nn.ReLU(inplace=inplace)
        return AutomaticField(lambda z, t: {"x": relu(z["x"]) @ t["A"].T}, {"x": 2}, {"A": (2, 2)})

    with refused("in place"):
        field(True)
    field(False)  # control


def test_penalties_pass_through_transforms():
    field = AutomaticField(affine, {"x": 2}, {"A": (2, 2), "b": (2,)})

    class Penalty(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = DynamicParticles(field, 3, seed=0)

        def forward(self):
            return self.model.penalty()

    module = Penalty()
    twice = {k: torch.stack([w.detach(), 2 * w.detach()]) for k, w in module.named_parameters()}
    first, other = torch.func.vmap(lambda w: torch.func.functional_call(module, w, ()))(twice)
    assert gap(first, module()) <= EXACT
    assert gap(other, module()) > 1e-3  # control
