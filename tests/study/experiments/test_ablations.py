"""One change at a time: that each change is the one it says, and the released block lookup."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from problems import flat

from shooting import DynamicDirect, UpDown, complexity
from shooting.flow import Solver
from shooting.study.experiments import EXPERIMENTS, regression
from shooting.study.experiments.ablations import (
    ABLATIONS,
    BASE,
    STUCK,
    AblationConfig,
    ReleasedDirect,
    complexity_with_lift,
    grid,
    make_model,
    stuck,
    train,
    variants,
)
from shooting.study.experiments.regression import DEPTHS, RegressionConfig

pytestmark = pytest.mark.usefixtures("float64")
SMALL = AblationConfig(inflation=3, particles=2, seeds=(0, 1), epochs=1, batch=250)
X = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64).unsqueeze(-1)


def test_published_setting_is_that_of_the_regression():
    mine = train(SMALL)
    shared = {f.name: getattr(SMALL, f.name) for f in fields(RegressionConfig)}
    theirs = regression.train(RegressionConfig(**shared))
    assert torch.equal(mine.fit.early, theirs.fit.early)
    assert mine.metrics["mse"] == theirs.metrics["mse"]


@pytest.mark.parametrize("name", [n for n in ABLATIONS if n != BASE])
def test_each_change_changes_the_training(name):
    def few(changes):
        # v(0) = 0 and the like show at once, a position that stays only in the second epoch
        config = replace(AblationConfig(**changes), inflation=3, particles=3, seeds=(0,))
        frozen = 2 if changes.get("frozen_epochs") else 1
        return train(replace(config, epochs=3, batch=250, frozen_epochs=frozen)).fit.history[-1]

    assert not torch.equal(few(ABLATIONS[name]), few({}))


def test_stages_alternate_as_the_published_code_was_seen_to():
    model = ReleasedDirect(UpDown(1, 2), seeds=[0], solver=Solver(step=0.1))
    found = model.stage_blocks([0.0, 1.0])
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]
    assert found == [b for pair in pairs for _ in range(2) for b in pair * 2]
    thirds = (0.0, 0.1 / 3, 0.2 / 3, 0.1)
    by_time = [min(int((k / 10 + c) / 0.2 + 1e-9), 4) for k in range(10) for c in thirds]
    assert sum(a != b for a, b in zip(found, by_time, strict=True)) == 12


def test_released_lookup_agrees_with_chained_blocks_when_all_are_equal():
    field = UpDown(1, 3)
    released, chained = ReleasedDirect(field, seeds=[0, 1]), DynamicDirect(field, seeds=[0, 1])
    with torch.no_grad():
        assert not torch.allclose(released(X, [0.0, 1.0]), chained(X, [0.0, 1.0]), atol=1e-3)
        for model in (released, chained):
            for name in field.shapes:
                part = dict(model.named_parameters())[name]
                part.copy_(part[:, :1].clone().expand_as(part))
    # 1e-12: the same arithmetic in another order
    assert torch.allclose(released(X, [0.0, 1.0]), chained(X, [0.0, 1.0]), atol=1e-12)


def test_lookup_belongs_to_dynamic_direct_and_costs_no_parameter():
    chained = replace(SMALL, model="dynamic_direct")
    released = replace(chained, lookup="released")
    assert isinstance(make_model(released), ReleasedDirect)
    assert make_model(released).count == make_model(chained).count
    assert torch.equal(flat(make_model(released)), flat(make_model(chained)))


@pytest.mark.parametrize("lift", ["learned", "fixed"])
def test_lift_adds_to_the_complexity(lift):
    model = make_model(replace(SMALL, lift=lift))
    with torch.no_grad():
        plain, lifted = complexity(model, DEPTHS)["squared"], complexity_with_lift(model, DEPTHS)
    assert (lifted > plain + 1e-3).all()


def test_without_lift_there_is_nothing_to_add():
    model = make_model(replace(SMALL, lift="zero"))
    with torch.no_grad():
        plain, lifted = complexity(model, DEPTHS)["squared"], complexity_with_lift(model, DEPTHS)
    assert torch.allclose(plain, lifted, rtol=1e-12)  # the same sum


def test_constant_control_with_lift_by_hand():
    model = make_model(replace(SMALL, model="static_direct"))
    parts = dict(model.named_parameters())
    names = ("theta1", "theta2", "theta3", "lift.weight")
    square = sum((parts[n] ** 2).flatten(1).sum(-1) for n in names)
    assert torch.allclose(complexity_with_lift(model, DEPTHS), torch.log2(square))


def test_failed_runs_count_as_stuck():
    bound = STUCK["cubic"]
    assert stuck("cubic", [bound / 2, 2 * bound, np.nan]).tolist() == [False, True, True]


def test_grid_is_every_variant_with_fifty_seeds():
    full = grid("paper")
    assert EXPERIMENTS["ablations"].config is AblationConfig
    assert len(full) == len(set(full)) == 2 * 2 * len(ABLATIONS)
    for name, config in variants("cubic", (0,)):
        seeds = [s for c in full if replace(c, seeds=(0,)) == config for s in c.seeds]
        assert sorted(seeds) == list(range(50)), name
    frozen = ABLATIONS["positions frozen for good"]
    assert frozen["frozen_epochs"] == AblationConfig().epochs


def test_unknown_lookup_is_refused():
    with pytest.raises(ValueError, match="expected a lookup"):
        AblationConfig(lookup="nearest")
