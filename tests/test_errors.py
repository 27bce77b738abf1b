"""The checks at public entries: they let good values pass and refuse in one sentence."""

from __future__ import annotations

import pytest
import torch
from problems import refused

from shooting.errors import NonFiniteError, require_finite, require_shape


def test_shape_matches_trailing_axes_only():
    require_shape(torch.zeros(5, 4, 3), (None, 3), "x", "transpose")
    require_shape(torch.zeros(4, 3), (4, 3), "x", "transpose")


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4), ()])
def test_wrong_shape_is_refused(shape):
    with refused("(any, 3)", str(shape), "data x", "transpose it"):
        require_shape(torch.zeros(shape), (None, 3), "data x", "transpose it")


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
