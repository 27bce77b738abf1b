"""Targets: the derivatives of any field, and the precision of their flows."""

import numpy as np
import pytest
import torch

from shooting.study.universality.targets import BUILT_IN, Target, folded_rotation
from tests.study.universality.examples import disk


def test_fields_that_leave_pytorch_are_differenced():
    """Central differences of a smooth field with step 1e-5 are good to 1e-9."""
    x = torch.linspace(-1, 1, 5, dtype=torch.float64).unsqueeze(1)
    away = Target(lambda t, x: torch.from_numpy(np.sin(x.numpy())), 1)
    torch.testing.assert_close(away.jacobian(0.0, x)[:, :, 0], x.cos(), rtol=0, atol=1e-9)
    with pytest.raises(RuntimeError, match="no such luck"):  # an error of the field is not hidden
        Target(_unlucky, 1).jacobian(0.0, x)


def _unlucky(t, x):
    raise RuntimeError("no such luck")


def test_runge_kutta_is_not_what_limits_the_reach():
    """The usual step against 1/800: what the bound of the reach leaves out is below 1e-8."""
    for make in BUILT_IN.values():
        coarse, fine = make().flow(disk())[-1], make().flow(disk(), step=1 / 800)[-1]
        assert float((coarse - fine).abs().max()) < 1e-8


def test_a_kink_costs_runge_kutta_digits():
    """The step that crosses the kink is of low order: 1e-5, as `reach` says."""
    x = disk()
    coarse, fine = folded_rotation().flow(x)[-1], folded_rotation().flow(x, step=1 / 800)[-1]
    assert 1e-8 < float((coarse - fine).abs().max()) < 1e-5
