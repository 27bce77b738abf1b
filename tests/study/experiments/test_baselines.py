"""The other models: what they compute, that runs do not mix, and what no plain NODE can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shooting.flow import Solver
from shooting.study.data.functions import FUNCTIONS
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.baseline_models import NeuralODE
from shooting.study.experiments.baselines import (
    BASELINES,
    SIZES,
    BaselineConfig,
    complexity_of,
    grid,
    make_model,
    monotone_bound,
    train,
)

SMALL = BaselineConfig(size=3, seeds=(0, 1), epochs=1, batch=250)
pytestmark = pytest.mark.usefixtures("float64")
EVERY = pytest.mark.parametrize("model", sorted(BASELINES))
X = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64).unsqueeze(-1)


@EVERY
def test_run_of_an_ensemble_equals_the_run_alone(model):
    config = replace(SMALL, model=model, seeds=(0, 1, 2))
    together, alone = train(config), train(replace(config, seeds=(1,)))
    # 1e-9: float64 rounding of differently batched products after two steps
    assert torch.allclose(together.fit.early[:, 1], alone.fit.early[:, 0], rtol=1e-9)
    assert together.metrics.keys() == alone.metrics.keys()
    for name, values in together.metrics.items():
        assert values[1] == pytest.approx(alone.metrics[name][0], rel=1e-9)


@EVERY
def test_training_lowers_the_loss(model):
    fit = train(replace(SMALL, model=model, size=6, epochs=8, batch=50, function="cubic")).fit
    assert (fit.history[-1] < 0.8 * fit.history[0]).all()


def test_complexity_of_a_node_is_that_of_its_matrices():
    model = make_model(replace(SMALL, model="node"))
    square = sum((dict(model.named_parameters())[f"W{k}"] ** 2).sum((-1, -2)) for k in (1, 2, 3))
    assert torch.allclose(complexity_of(model), torch.log2(square))


def test_best_increasing_function():
    assert monotone_bound(np.array([1.0, 2.0, 5.0])) == 0.0
    assert monotone_bound(np.array([3.0, 1.0])) == 1.0  # both become 2
    # by hand: 1 | 3 2 -> 2.5 2.5 | 4, error 2 * 0.25 / 4
    assert monotone_bound(np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.125)


def test_no_increasing_polynomial_beats_the_bound():
    x = np.linspace(-1.5, 1.5, 200)
    target = FUNCTIONS["quadratic-like"](torch.as_tensor(x)).numpy()
    bound, rng = monotone_bound(target), np.random.default_rng(0)
    for _ in range(200):
        a, b, c = np.abs(rng.normal(size=3)) * (0.1, 0.1, 0.01)
        rise = a * x + b * x**3 + c * x**5
        rise = rise - rise.mean() + target.mean()
        assert np.mean((target - rise) ** 2) > bound
    assert bound > 0.03  # a constant leaves 0.0399: increasing functions hardly gain


def test_a_plain_node_increases_whatever_its_weights_and_an_augmented_one_need_not():
    """So `monotone_bound` binds the plain NODE and not the other."""

    def turns(augment):
        model = NeuralODE(1, 12, augment=augment, seeds=range(60), solver=Solver(step=0.01))
        with torch.no_grad():
            for w in model.parameters():
                w *= 2.5  # vigorous fields; steps of 0.01 resolve them
            return model(X, [0.0, 1.0])[:, -1, :, 0].diff(dim=-1) <= 0

    assert not turns(0).any()
    assert turns(4).any()


def test_sizes_span_what_the_four_models_span():
    full = grid("paper")
    assert len(full) == len(set(full)) == 2 * sum(map(len, SIZES.values()))
    for model in BASELINES:
        counts = [make_model(replace(c, seeds=(0,))).count for c in full if c.model == model]
        assert 90 < min(counts) < 120
        assert 5000 < max(counts) < 6000


def test_registered_by_its_name():
    assert EXPERIMENTS["baselines"].train is train


def test_unknown_model_is_refused():
    with pytest.raises(ValueError, match="expected a model among"):
        BaselineConfig(model="transformer")
