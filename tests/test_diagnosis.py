"""A solve that is not finite says where, and whether weights, data or the step are to blame."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from problems import draw, refused
from torch import nn

from shooting import DynamicParticles, ParticleInit, Solver, StaticDirect, UpDown, normal
from shooting.diagnosis import NonFiniteWarning, diagnose

pytestmark = pytest.mark.usefixtures("float64")
FIELD = UpDown(2, 4)
X = draw(3, 5, 2)
TIMES = [0.0, 1.0]


def scaled(factor, *, seeds=None, solver=None):
    model = DynamicParticles(FIELD, 5, seeds=seeds, seed=0, solver=solver)
    with torch.no_grad():
        for w in model.parameters():
            w *= factor
    return model


def test_weights_that_are_not_finite_are_named_with_their_runs():
    model = scaled(1.0, seeds=[3, 4])
    with torch.no_grad():
        next(model.parameters())[1].fill_(torch.nan)
    found = diagnose(model, X, TIMES)
    assert (found.cause, found.runs) == ("weights", (1,))
    assert "clip_grad_norm_" in str(found)


def test_data_are_blamed_only_where_weights_are_fine():
    bad = torch.full_like(X, torch.nan)
    assert diagnose(scaled(1.0), bad, TIMES).cause == "data"
    assert diagnose(scaled(torch.nan), bad, TIMES).cause == "weights"


def test_a_step_that_is_too_large_comes_with_one_that_does():
    model = DynamicParticles(FIELD, 5, init=ParticleInit(p=normal(15.0)), seed=0)
    found = diagnose(model, X, TIMES)
    assert found.cause == "step"
    step = float(str(found).partition("Solver(step=")[2].rstrip(")"))
    model.solver = Solver(step=step)
    assert diagnose(model, X, TIMES).cause == "none"
    # the node that is named: the solution is finite up to the one before
    first = round(found.depth / 0.1)
    twin = DynamicParticles(FIELD, 5, init=ParticleInit(p=normal(15.0)), seed=0)
    assert twin(X, [0.0, 0.1 * (first - 1)]).isfinite().all()
    assert not twin.energy_drift([0.0, found.depth + 0.1]).isfinite()


@pytest.mark.parametrize(("scale", "step"), [(15.0, "0.02"), (60.0, "0.003")])
def test_the_advised_step_is_a_quarter_where_that_does_and_else_a_32nd(scale, step):
    """0.025 and 0.003125, rounded down to one digit."""
    model = DynamicParticles(FIELD, 5, init=ParticleInit(p=normal(scale)), seed=0)
    assert f"Solver(step={step})" in str(diagnose(model, X, TIMES))


def test_depth_and_runs_are_those_of_the_solve():
    batches = X[:, None]  # the first axis is the data's
    found = diagnose(scaled(3000.0), batches, TIMES)
    assert found.cause == "weights"
    assert found.runs == ()
    assert "of runs" not in str(found)
    several = diagnose(scaled(3000.0, seeds=[3, 4]), X, TIMES)
    assert several.runs == (0, 1)
    # as many steps as the solver allows, and times that a gradient passes through
    patient = Solver(step=0.1, most_steps=5)
    with refused("most_steps=50"):
        diagnose(scaled(3000.0, solver=patient), X, TIMES)
    moving = torch.tensor(TIMES, requires_grad=True)
    assert diagnose(scaled(3000.0), X, moving).cause == "weights"


def test_huge_weights_are_to_blame_at_any_step():
    found = diagnose(scaled(3000.0), X, TIMES)
    assert found.cause == "weights"
    assert 0 < found.depth <= 1
    assert "from depth" in str(found)
    assert diagnose(scaled(1.0), X, TIMES).cause == "none"  # the control


def test_huge_data_are_to_blame():
    model = StaticDirect(FIELD, seed=0)
    with torch.no_grad():
        for w in model.parameters():
            w *= 10
    assert diagnose(model, 1e308 * torch.ones(3, 2), TIMES).cause == "data"
    assert diagnose(model, torch.ones(3, 2), TIMES).cause == "none"  # the control


def test_a_solve_in_silence_warns_once():
    model = scaled(3000.0)
    with pytest.warns(NonFiniteWarning, match="from depth") as told:
        model(X, TIMES)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not model(X, TIMES).isfinite().all()
        assert scaled(1.0)(X, TIMES).isfinite().all()
        assert not copy.deepcopy(model)(X, TIMES).isfinite().all()  # it has been said


def test_a_layer_whose_update_went_wrong_does_not_blame_the_data():
    """As in a classifier with a block in the middle, after an update to NaN."""
    first, block = nn.Linear(3, 2), scaled(1.0)
    x = draw(1, 6, 3)
    with torch.no_grad():
        first.weight.fill_(torch.nan)
    with refused("a layer before", "learning rate"):
        block(first(x), TIMES)
    with torch.no_grad():
        next(block.parameters()).fill_(torch.nan)
    with refused("finite weights", "clip_grad_norm_"):
        block(first(x), TIMES)
    with refused("impute"):
        scaled(1.0)(torch.full_like(X, torch.nan), TIMES)
