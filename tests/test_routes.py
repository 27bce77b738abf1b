"""Choosing a route, apart from any solve: what stands against each, and what is said of it."""

from __future__ import annotations

import pytest
import torch
from problems import FIELDS, draw, refused

from shooting import AutomaticField, UpDown, native, routes
from shooting.routes import ROUTES, by_hand, choose, obstacle

FIELD = UpDown(2, 3)
MATRIX = FIELDS["updown-spd"](2, 3, "tanh")
LEARNED = [draw(0, 4, 8).requires_grad_()]


@pytest.fixture(autouse=True)
def free(monkeypatch):
    """No wish of the environment, and nothing said before."""
    monkeypatch.delenv("SHOOTING_ROUTE", raising=False)
    routes._say.cache_clear()


@pytest.mark.parametrize("route", ROUTES[1:])
def test_a_route_that_applies_is_taken_as_asked(route):
    assert obstacle(route, "rk4", "auto", FIELD, LEARNED, "shoot") is None
    assert choose(route, "rk4", "auto", FIELD, LEARNED, "shoot") == route


@pytest.mark.parametrize(
    ("route", "method", "form", "field", "reason"),
    [
        ("torchdiffeq", "classical", "auto", FIELD, "torchdiffeq does not know method 'classical'"),
        ("autograd", "dopri5", "auto", FIELD, "method 'dopri5' is torchdiffeq's"),
        ("adjoint", "dopri5", "auto", FIELD, "no fixed steps"),
        ("native", "rk4", "theta", FIELD, "only the kernel form"),
        ("native", "rk4", "auto", MATRIX, "a weight is a matrix"),
    ],
)
def test_what_stands_against_a_route_is_said_with_advice(route, method, form, field, reason):
    against = obstacle(route, method, form, field, LEARNED, "shoot")
    assert reason in against
    assert "; try " in against
    with refused(reason, repr(route)):
        choose(route, method, form, field, LEARNED, "shoot")


def test_mixed_types_stand_against_both_fast_routes():
    mixed = [draw(0, 4, 8), draw(1, 4, 8).float()]
    for route in ("adjoint", "native"):
        assert "differ in dtype or device" in obstacle(route, "rk4", "auto", FIELD, mixed, "shoot")
    assert obstacle("autograd", "rk4", "auto", FIELD, mixed, "shoot") is None


def test_carrying_needs_less_than_shooting():
    """A matrix weight enters the shot alone: data are carried by controls that are given."""
    assert by_hand(MATRIX, "auto", "carry")
    assert not by_hand(MATRIX, "auto", "shoot")
    assert not by_hand(FIELD, "theta", "shoot")
    assert by_hand(None, "auto", "shoot")  # unknown: suppose the best


def test_a_field_of_ones_own_is_left_to_autograd():
    own = AutomaticField(lambda z, w: {"x": z["x"] @ w["a"].mT}, {"x": 2}, {"a": (2, 2)})
    assert choose("auto", "rk4", "auto", own, LEARNED, "shoot") == "autograd"
    assert obstacle("adjoint", "rk4", "auto", own, LEARNED, "shoot") is None  # but may be asked


def test_stepping_back_is_said_once_for_each_reason(monkeypatch, caplog):
    monkeypatch.setattr(native, "library_error", lambda dtype=None: "no compiler; get one")
    with caplog.at_level("INFO"):
        found = [choose("auto", "rk4", "auto", FIELD, LEARNED, "shoot") for _ in range(3)]
    assert found == ["adjoint"] * 3
    assert len(caplog.records) == 1
    assert "route native steps back for adjoint: it could not be built: no compiler" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        choose("auto", "dopri5", "auto", FIELD, LEARNED, "shoot")  # the control: no step back
    assert caplog.text == ""


def test_without_gradients_the_adjoint_is_of_no_use(monkeypatch):
    monkeypatch.setattr(native, "library_error", lambda dtype=None: "no compiler; get one")
    with torch.no_grad():
        assert choose("auto", "rk4", "auto", FIELD, LEARNED, "shoot") == "autograd"
    assert choose("auto", "rk4", "auto", FIELD, [], "shoot") == "adjoint"  # unknown: suppose it is
