"""Networks inside a field: trained, saved, moved and copied with the model; others are named."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import nn

from shooting import AutomaticField, DynamicParticles, Field, Function, StaticDirect, Term, UpDown
from shooting.diagnosis import diagnose
from shooting.features import Activated
from shooting.fit import FitConfig, fit
from shooting.learned import LooseNumbersWarning, modules_of

TIMES = [0.0, 1.0]


def network(ends=(2, 2)):
    return nn.Sequential(nn.Linear(ends[0], 3), nn.Tanh(), nn.Linear(3, ends[1]))


class Gated(nn.Module):
    """Velocities with a network inside."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, z, theta):
        return {"x": torch.tanh(self.inner(z["x"])) @ theta["W"].T}


def with_function(module=None):
    feature = Function(network() if module is None else module, ("x",), "network")
    return Field({"x": 2}, [Term("A", "x", feature), Term("b", "x")])


def automatic():
    return AutomaticField(Gated(), {"x": 2}, {"W": (2, 2)})


FIELDS = {"function": with_function, "automatic": automatic}


@pytest.fixture(params=FIELDS)
def field(request):
    return FIELDS[request.param]()


@pytest.fixture
def x():
    return torch.randn(6, 2)


def test_a_network_is_trained_with_the_model(field, x):
    block = DynamicParticles(field, 3)
    before = [w.clone() for w in modules_of(field)[0].parameters()]
    assert len(before) == 4
    adam = torch.optim.Adam(block.parameters(), 0.01)
    block(x, TIMES)[-1].square().mean().backward()
    adam.step()
    after = modules_of(field)[0].parameters()
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_its_numbers_are_counted_once_for_all_runs(field):
    inside = sum(w.numel() for w in modules_of(field)[0].parameters())
    one, three = (DynamicParticles(field, 3, seeds=range(n)) for n in (1, 3))
    assert one.count == three.count == 3 * 2 * field.size + inside


@pytest.mark.parametrize("name", FIELDS)
def test_a_state_carries_it_to_another_model(name, x):
    first, second = (StaticDirect(FIELDS[name]()) for _ in range(2))
    assert not torch.equal(first(x, TIMES), second(x, TIMES))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x, TIMES), second(x, TIMES))


@pytest.mark.parametrize("made", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_network_of_its_own(made, x):
    block = DynamicParticles(with_function(), 3)
    other = made(block)
    assert torch.equal(block(x, TIMES), other(x, TIMES))
    with torch.no_grad():
        for w in other.inner.parameters():
            w.zero_()
    assert not torch.equal(block(x, TIMES), other(x, TIMES))
    assert all(bool(w.any()) for w in block.inner.parameters())


def test_it_goes_to_another_type_with_the_model(field, x):
    block = DynamicParticles(field, 3)
    found = block(x, TIMES)
    # 1e-5: the rounding of float32 in a step
    assert torch.allclose(block.double()(x.double(), TIMES).float(), found, atol=1e-5)


def test_fit_trains_it_in_a_single_run_and_says_why_not_in_an_ensemble():
    class Task:
        def batches(self, epoch):
            yield torch.ones(4, 2)

        def loss(self, model, batch):
            return model(batch, TIMES)[..., -1, :, :].square().mean((-1, -2))

        monitor = loss

    block = DynamicParticles(with_function(), 3)
    before = block.inner[0][0].weight.clone()
    fit(block, Task(), FitConfig(2, 0.01))
    assert not torch.equal(block.inner[0][0].weight, before)
    for seeds in ([0, 1], [0, 1, 2]):  # as many as the network's hidden layer is wide, and not
        ensemble = DynamicParticles(with_function(), 3, seeds=seeds, seed=0)
        with pytest.raises(ValueError, match="expected runs that share no learned number"):
            fit(ensemble, Task(), FitConfig(1))


def test_fields_without_networks_have_no_more_than_before():
    plain = DynamicParticles(UpDown(2, 3), 3)
    smooth = DynamicParticles(with_function(nn.GELU()), 3)  # nothing is learned in it
    assert not hasattr(plain, "inner")
    assert not hasattr(smooth, "inner")
    assert set(smooth.state_dict()) == {"x", "p"}


def test_a_network_that_two_terms_share_is_registered_once():
    shared = network()
    feature = [Function(shared, ("x",), name) for name in ("one", "two")]
    field = Field({"x": 2}, [Term("A", "x", feature[0]), Term("B", "x", feature[1])])
    assert modules_of(field) == [shared]


# --- what cannot be registered -------------------------------------------------------------


def test_numbers_that_a_function_only_reads_are_named():
    inside = network()  # 17 numbers
    closed = AutomaticField(
        lambda z, theta: {"x": inside(z["x"]) @ theta["W"].T}, {"x": 2}, {"W": (2, 2)}
    )
    with pytest.warns(LooseNumbersWarning, match="got 17 that a function reads; pass the module"):
        StaticDirect(closed)
    with pytest.warns(LooseNumbersWarning, match="got 17") as told:
        DynamicParticles(with_function(lambda x: inside(x)), 3)
    assert told[0].filename == __file__  # the line that builds it, whatever classes lie between


def test_nothing_is_said_where_nothing_is_loose(field):
    fixed = network().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DynamicParticles(field, 3)
        DynamicParticles(with_function(lambda x: fixed(x)), 3)
        DynamicParticles(Field({"x": 2}, [Term("A", "x", Activated("x", "tanh"))]), 3)


def test_what_is_not_saved_is_registered_too_since_it_moves():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("by", torch.ones(2), persistent=False)

        def forward(self, x):
            return x + self.by

    block = DynamicParticles(with_function(Shift()), 3).double()
    assert block.inner[0].by.dtype == torch.float64


def test_a_field_that_fails_at_zero_can_be_built():
    class Picky(UpDown):
        def velocity(self, z, theta):
            if not bool(z.any()):
                raise ValueError("expected a state that is not zero")
            return super().velocity(z, theta)

    assert DynamicParticles(Picky(2, 3), 3).particles == 3


def test_a_control_named_as_the_networks_is_refused():
    field = Field({"x": 2}, [Term("inner", "x", "x")])
    with pytest.raises(ValueError, match="does not use itself, got 'inner'"):
        StaticDirect(field)


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_nan_in_a_network_inside_a_field_is_found_and_belongs_to_all_runs(parameter):
    block = DynamicParticles(with_function(), 3, seeds=[0, 1])
    with torch.no_grad():
        getattr(block.inner[0][0], parameter)[1] = math.nan
    found = diagnose(block, torch.zeros(4, 2), [0.0, 1.0])
    assert (found.cause, found.runs) == ("weights", ())
    with torch.no_grad():
        block.p[1] = math.nan
    assert diagnose(block, torch.zeros(4, 2), [0.0, 1.0]).runs == ()
    with torch.no_grad():
        getattr(block.inner[0][0], parameter)[1] = 0.0
    assert diagnose(block, torch.zeros(4, 2), [0.0, 1.0]).runs == (1,)  # its own weights alone
