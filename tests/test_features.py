"""Features: pull-backs are transposes, equal keys are computed once, wrong ones are refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from problems import EXACT, draw, gap, products, refused
from torch.nn import functional

from shooting import Activated, Drift, Field, Function, Identity, Patches, Slot, Term
from shooting.features import Constant

pytestmark = pytest.mark.usefixtures("float64")
IMAGE = {"x": Slot(2, (4, 5)), "v": Slot(3, (4, 5))}
PLAIN = {"x": 2, "v": 3}
FEATURES = {
    "constant": (PLAIN, "x", Constant("x")),
    "identity": (PLAIN, "x", Identity("v")),
    "activated": (PLAIN, "x", Activated("v", "tanh")),
    "function": (PLAIN, "x", Function(products, reads=("x", "v"))),
    "activated image": (IMAGE, "x", Activated("v", "softplus")),
    "periodic": (IMAGE, "x", Patches("x", 3)),
    "zero": (IMAGE, "x", Patches("v", 3, "tanh", "zero")),
    "large kernel": (IMAGE, "x", Patches("x", 7, "tanh", "periodic")),
    "large kernel, zero": (IMAGE, "x", Patches("x", 7, None, "zero")),
}


@pytest.mark.parametrize("name", sorted(FEATURES))
@pytest.mark.parametrize("runs", [(), (2,), (2, 3)])
def test_a_pull_back_is_the_transpose_of_the_derivative(name, runs):
    """By autograd of the value, which is the definition."""
    slots, out, phi = FEATURES[name]
    parts = Field(slots, [Term("t", out)]).split(
        draw(1, *runs, 4, sum(s if isinstance(s, int) else s.size for s in slots.values()))
    )
    parts = {k: p.clone().requires_grad_() for k, p in parts.items()}
    value = phi.value(parts)
    bar = draw(2, *value.shape)
    found = phi.pull_back(parts, bar)
    assert set(found) == set(phi.reads)
    read = [parts[k] for k in phi.reads]
    wanted = torch.autograd.grad(value, read, bar) if read else ()
    for k, want in zip(phi.reads, wanted, strict=True):
        assert gap(found[k], want) <= EXACT


@pytest.mark.parametrize("padding", ["periodic", "zero"])
def test_patches_times_a_matrix_is_a_convolution(padding):
    field = Field(IMAGE, [Term("w", "v", Patches("x", 3, None, padding)), Term("b", "v")])
    theta = {k: draw(i, *s) for i, (k, s) in enumerate(field.shapes.items())}
    assert field.shapes == {"w": (3, 18), "b": (3, 1)}
    z = draw(5, 6, field.size)
    found = field.split(field.velocity(z, theta))["v"].movedim(-1, 1)
    x = field.split(z)["x"].movedim(-1, 1)
    x = functional.pad(x, (1, 1, 1, 1), mode="circular" if padding == "periodic" else "constant")
    want = functional.conv2d(x, theta["w"].reshape(3, 2, 3, 3), theta["b"][:, 0])
    assert gap(found, want) <= EXACT


def test_equal_features_are_computed_once():
    calls = []

    def counted(x):
        calls.append(1)
        return x**2

    phi = Function(counted, reads=("x",))
    field = Field({"x": 2}, [Term("a", "x", phi), Term("b", "x", Function(counted, reads=("x",)))])
    calls.clear()
    field.features(draw(0, 3, 2))
    assert len(calls) == 1
    other = Field({"x": 2}, [Term("a", "x", phi), Term("b", "x", Function(torch.sin, ("x",)))])
    assert len(other.columns) == 2  # control: another function is another feature


def test_a_function_feature_can_be_differentiated_twice():
    field = Field({"x": 2, "v": 3}, [Term("a", "x", Function(products, reads=("x", "v")))])
    q = draw(0, 3, 5).requires_grad_()
    p = draw(1, 3, 5)
    assert torch.autograd.gradcheck(lambda q: field.kernel_pull_back(q, p), q)


@dataclass(frozen=True)
class Broken(Identity):
    """A pull-back of the wrong width."""

    def pull_back(self, parts, bar):
        return {self.slot: bar[..., :1].expand(*bar.shape[:-1], 4)}


@dataclass(frozen=True)
class Elsewhere(Identity):
    """A pull-back for a slot that is not read."""

    def pull_back(self, parts, bar):
        return {"v": bar}


def test_a_pull_back_of_the_wrong_shape_is_refused():
    with refused("pull-back", "(1, 4)"):
        Field(PLAIN, [Term("a", "x", Broken("x"))])
    with refused("pull-back", "'v'"):
        Field(PLAIN, [Term("a", "x", Elsewhere("x"))])


def test_sites_that_do_not_fit_are_refused():
    mixed = {"x": Slot(2, (4, 4)), "v": Slot(2, (2, 2)), "u": 3}
    for phi in (Identity("x"), Patches("x", 3), "u"):
        with refused("sites", "'v'"):
            Field(mixed, [Term("a", "v", phi)])
    with refused("half a kernel of 5", "(2, 2, 2)"):
        Field(mixed, [Term("a", "v", Patches("v", 5))])
    with refused("half a kernel", "Slot(channels"):
        Field(mixed, [Term("a", "u", Patches("u", 3))])
    for kernel in (0, 2, -1, True):
        with refused(repr(kernel), "kernel"):
            Patches("x", kernel)
    with refused("'mirror'", "periodic"):
        Patches("x", 3, padding="mirror")


def test_what_is_no_feature_is_refused():
    with refused("term 'a'", "pull_back"):
        Term("a", "x", torch.sin)
    with refused("a drift", "3"):
        Drift("x", 3)
    with refused("width 2", "width 3"):
        Field(PLAIN, [Term("b", "x")], drift=[Drift("x", "v")])
    with refused("a drift", "'w'"):
        Field(PLAIN, [Term("b", "x")], drift=[Drift("x", "w")])


@pytest.mark.parametrize(
    ("phi", "text"),
    [
        (Constant("x"), "1"),
        (Identity("v"), "v"),
        (Activated("v", "tanh"), "tanh(v)"),
        (Patches("v", 3, "relu"), "3×3 patches of relu(v)"),
        (Function(products, ("x", "v"), "products"), "products(x, v)"),
    ],
)
def test_features_show_what_they_read(phi, text):
    assert str(phi) == text
