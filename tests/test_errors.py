"""The checks at public entries: they let good values pass and refuse in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import refused

from shooting.errors import (
    NonFiniteError,
    require_choice,
    require_count,
    require_finite,
    require_real,
    require_shape,
)


def test_shape_matches_trailing_axes_only():
    require_shape(torch.zeros(5, 4, 3), (None, 3), "x", "transpose")
    require_shape(torch.zeros(4, 3), (4, 3), "x", "transpose")


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4), ()])
def test_wrong_shape_is_refused(shape):
    with refused("(any, 3)", str(shape), "data x", "transpose it"):
        require_shape(torch.zeros(shape), (None, 3), "data x", "transpose it")


@pytest.mark.parametrize("allowed", [("mean", "sum"), {"mean": 1, "sum": 2}, iter(["mean", "sum"])])
def test_a_choice_is_one_of_those_there_are(allowed):
    require_choice("sum", allowed, "a scale")


@pytest.mark.parametrize("value", ["Sum", "", None, 1, ["sum"]])
def test_another_choice_is_refused(value):
    with refused("expected a scale among ('mean', 'sum')", f"got {value!r}", "try 'mean'"):
        require_choice(value, ("mean", "sum"), "a scale")


@pytest.mark.parametrize("value", [2, np.int64(2), torch.tensor(2)])
def test_whole_numbers_are_counts_whatever_their_type(value):
    found = require_count(value, "the batch", least=2, most=2)
    assert (type(found), found) == (int, 2)


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {}, "of at least 1, got 0; try 1"),
        (1, {"least": 2, "most": 9}, "from 2 to 9, got 1; try 2"),
        (10, {"least": 2, "most": 9}, "from 2 to 9, got 10; try 9"),
        (2.0, {}, "of at least 1, got 2.0; try 1"),
        (True, {}, "of at least 1, got True; try 1"),
        ("3", {}, "of at least 1, got '3'; try 1"),
        (None, {"least": 0}, "of at least 0, got None; try 0"),
    ],
)
def test_what_is_no_count_is_refused(value, bounds, words):
    with refused(f"expected the batch to be a whole number {words}"):
        require_count(value, "the batch", **bounds)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), torch.tensor(2.0)])
def test_real_numbers_are_floats_whatever_their_type(value):
    found = require_real(value, "the depth T")
    assert (type(found), found) == (float, 2.0)


def test_a_trained_number_whose_gradient_would_be_lost_is_refused():
    trained = torch.nn.Parameter(torch.tensor(2.0))
    with refused("the depth T to be a fixed number", "a trained torch.float32 Parameter"):
        require_real(trained, "the depth T")
    assert require_real(trained.detach(), "the depth T") == 2.0


def test_finite_values_pass():
    require_finite(torch.ones(3, 2), "data")
    require_finite(torch.ones(3, dtype=torch.int64), "data")
    require_finite(torch.empty(0, 2), "data")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_bad_entry_is_counted_and_located(bad):
    value = torch.ones(4, 3)
    value[2, 1] = value[3, 0] = bad
    with refused("got 2 NaN or infinite", "index (2, 1)", "data x"):
        require_finite(value, "data x")


def test_non_finite_error_carries_the_steps():
    error = NonFiniteError("expected …", [3, 5])
    assert isinstance(error, ArithmeticError)
    assert error.steps == (3, 5)
    assert NonFiniteError("expected …").steps == ()
