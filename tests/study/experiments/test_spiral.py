from dataclasses import replace

import numpy as np
import pytest
import torch

from shooting import DynamicDirect
from shooting.solvers import TABLEAUS, make_grid, runge_kutta
from shooting.study.data.spiral import SPACING, snippets, trajectory, velocity
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.spiral import (
    FENCE,
    SPIRAL,
    TIMES,
    SpiralConfig,
    SpiralTask,
    complexities,
    data_error,
    followed,
    grid,
    make_model,
    pasted,
    train,
)

SMALL = SpiralConfig(inflation=2, particles=3, seeds=(0, 1), epochs=5, batch=10)

TABLE_2 = {
    ("dynamic_particles", 15): (1116, 2172, 4284, 8508),
    ("static_particles", 25): (1796, 3492, 6884, 13668),
    ("dynamic_particles", 50): (3496, 6792, 13384, 26568),
    ("static_direct", 0): (1282, 4610, 17410, 67586),
    ("dynamic_direct", 0): (6026, 22282, 85514, 334858),
}


class TrueFlow:
    """Stands in for a model: the spiral's own flow, off by a drift, which may grow with depth."""

    runs = 1

    def __init__(self, drift=0.0, grows=False):
        self.drift = drift
        self.grows = grows

    def __call__(self, x, times):
        steps = make_grid(times, step=SPACING / 40)
        path = runge_kutta(
            lambda t, y: (velocity(y[0]) + self.drift * (t if self.grows else 1),),
            (x,),
            steps,
            TABLEAUS["rk4"],
        )
        return torch.stack([y[0] for y in path], dim=1)


@pytest.mark.parametrize("key", TABLE_2)
def test_parameter_counts_are_those_of_table_2(key):
    model, particles = key
    counts = [
        make_model(replace(SMALL, model=model, particles=particles, inflation=a, seeds=(0,))).count
        for a in (16, 32, 64, 128)
    ]
    assert tuple(counts) == TABLE_2[key]


def test_steps_end_on_the_samples():
    solver = make_model(SMALL).solver
    assert make_grid(TIMES, step=solver.step).outputs == (0, 1, 2, 3, 4)


def test_loss_by_hand():
    truth = torch.zeros(1, 2, 1, 2)
    predicted = torch.tensor([[[[0.0, 0.0]], [[3.0, 4.0]]]])
    assert data_error(predicted, truth, "mse").tolist() == [25 / 4]
    assert data_error(predicted, truth, "l2").tolist() == [5 / 2]


def test_distance_has_a_gradient_where_prediction_and_truth_agree():
    predicted = torch.zeros(1, 2, 1, 2, requires_grad=True)
    data_error(predicted, torch.zeros(1, 2, 1, 2), "l2").sum().backward()
    assert torch.equal(predicted.grad, torch.zeros(1, 2, 1, 2))


@pytest.mark.parametrize("over_depth", [True, False])
def test_penalty_weight(over_depth):
    config = replace(SMALL, penalty_over_depth=over_depth)
    task, model = SpiralTask(config), make_model(config)
    batch = next(iter(task.batches(0)))
    extra = (task.loss(model, batch) - 100 * task.error(model, batch)) / model.penalty()
    # 1e-3: the small difference of two float32 losses of about 30
    assert extra.tolist() == pytest.approx(
        [0.01 * (4 * SPACING if over_depth else 1)] * 2, abs=1e-3
    )


def test_pasting_the_true_flow_gives_the_spiral():
    path = pasted(TrueFlow())
    assert path.shape == (1, 200, 2)
    # 1e-3: float32 rounding, enlarged where the spiral is fast
    assert (path - trajectory()).abs().max() < 1e-3
    assert float(followed(path)) == pytest.approx(199 * SPACING, rel=1e-6)


def test_pieces_may_be_shorter_than_a_snippet():
    """A flow that errs more the deeper it goes errs less if only its first quarter is used."""
    whole, short = (pasted(TrueFlow(drift=3.0, grows=True), intervals=n) for n in (4, 1))
    assert whole.shape == short.shape == (1, 200, 2)
    assert torch.equal(whole[:, :2], short[:, :2])  # where both have used one interval
    off = [float((path - trajectory())[:, :20].abs().max()) for path in (whole, short)]
    # the drift's mean over depth is 3 * 0.1 and 3 * 0.025: four times less, roughly
    assert off[1] < 0.5 * off[0]


def test_pasting_a_wrong_flow_does_not():
    path = pasted(TrueFlow(drift=0.3))
    assert float(followed(path)) < 9.0


def test_a_prediction_that_escapes_stays_finite():
    path = pasted(TrueFlow(drift=1e4))
    assert path.abs().max() == FENCE
    assert float(followed(path)) == 0.0


def test_followed_counts_until_the_first_loss():
    path = trajectory()[None].clone()
    path[0, 10] += 1.0  # away once, then back
    assert float(followed(path)) == pytest.approx(9 * SPACING)


def test_protocols_differ_where_the_released_code_does():
    paper, released = SpiralConfig.paper(), SpiralConfig.released()
    assert (paper.error, paper.learning_rate, paper.penalty_over_depth) == ("mse", 0.01, True)
    assert (released.error, released.learning_rate, released.penalty_over_depth) == (
        "l2",
        0.05,
        False,
    )
    assert SpiralConfig.released(inflation=64).momentum_scale == 0.5


def test_released_particles_start_on_the_spiral_and_paper_particles_do_not():
    truth = trajectory()

    def off(config):
        x = make_model(config).x
        return (x.reshape(-1, 1, 2) - truth).norm(dim=-1).min(-1).values.max()

    small = {"inflation": 2, "particles": 9, "seeds": (0, 1)}
    assert off(SpiralConfig.released(**small)) == 0
    assert off(SpiralConfig.paper(**small)) > 0.01


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "resnet"}, "expected a model among"),
        ({"protocol": "mine"}, "expected a protocol among"),
        ({"error": "l1"}, "expected an error among"),
        ({"positions": "grid"}, "expected particle positions among"),
        ({"batch": 0}, "expected the batch to be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        SpiralConfig(**settings)


@pytest.mark.parametrize("model", MODELS)
def test_run_of_an_ensemble_equals_the_run_alone(model):
    torch.set_default_dtype(torch.float64)
    try:
        config = SpiralConfig.released(
            model=model, inflation=2, particles=3, seeds=(0, 1, 2), epochs=5, batch=10
        )
        together, alone = train(config), train(replace(config, seeds=(1,)))
    finally:
        torch.set_default_dtype(torch.float32)
    # 1e-9: float64 rounding of differently batched products after five steps of training
    assert torch.allclose(together.fit.history[:, 1], alone.fit.history[:, 0], rtol=1e-9)
    for name in ("short_mse", "penalty", "complexity"):
        assert together.metrics[name][1] == pytest.approx(alone.metrics[name][0], rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_training_learns_and_measures(model):
    outcome = train(replace(SMALL, model=model, inflation=8, epochs=60))
    last, first = outcome.fit.history[-5:].mean(0), outcome.fit.history[:5].mean(0)
    assert (last < first).all()
    m = {k: np.array(v) for k, v in outcome.metrics.items()}
    assert all(np.isfinite(v).all() and v.shape == (2,) for v in m.values())
    # 1e-5: float32
    weight = 0.01 * 4 * SPACING
    np.testing.assert_allclose(
        m["short_loss"], 100 * m["short_mse"] + weight * m["penalty"], rtol=1e-5
    )
    assert outcome.arrays["long"].shape == (2, 200, 2)


def test_long_complexity_of_a_constant_control_is_proportional_to_the_time():
    outcome = train(replace(SMALL, model="static_direct", epochs=1))
    ratio = np.array(outcome.metrics["complexity_long"]) / np.array(outcome.metrics["complexity"])
    np.testing.assert_allclose(ratio, 199 / 4, rtol=1e-5)  # float32


def test_blocks_squeezed_into_the_last_piece_cannot_matter():
    """The long complexity's last piece is shorter; dynamic direct of known depth says by how much.

    A piece of three intervals of 199 cannot move the sum by more than its share, 3 / 199 = 1.5 %,
    times the relative difference of the blocks; the bound of a thousandth was set in advance.
    """
    model = make_model(replace(SMALL, model="dynamic_direct", inflation=16, seeds=tuple(range(10))))
    squeezed = complexities(model)
    known = DynamicDirect(model.field, depth=TIMES[-1], seeds=model.seeds)
    torch.nn.utils.vector_to_parameters(
        torch.nn.utils.parameters_to_vector(model.parameters()), known.parameters()
    )
    exact = complexities(known)
    assert torch.equal(squeezed["complexity"], exact["complexity"])
    change = (squeezed["complexity_long"] / exact["complexity_long"] - 1).abs()
    assert 0 < change.max() < 1e-3


def test_batches_are_fresh_and_depend_on_the_epoch_alone():
    task = SpiralTask(SMALL)
    first, second = next(iter(task.batches(0))), next(iter(task.batches(1)))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(iter(SpiralTask(SMALL).batches(0))))
    assert torch.equal(first, snippets(SMALL.seeds, 10, "train", 0))


def test_grid_covers_the_paper():
    full = grid("paper")
    assert EXPERIMENTS["spiral"] is SPIRAL
    assert len(full) == len(set(full)) == 2 * 4 * (2 * 3 + 2)
    assert {c.epochs for c in full} == {1500}
    assert {len(c.seeds) for c in full} == {10}
    assert {c.model for c in grid("quick")} == set(MODELS)
