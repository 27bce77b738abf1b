from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from interrupted import Interrupted, Memory
from torch import nn

from shooting.study.data.circles import circles
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.circles import (
    CIRCLES,
    FACTORS,
    WEIGHTS,
    CirclesConfig,
    CirclesTask,
    EnsembleHead,
    assess,
    grid,
    make_model,
    train,
    wilson,
    window,
)

SMALL = CirclesConfig(inflation=2, particles=3, seeds=(0, 1), epochs=1, batch=500)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def torch_head(head, run):
    """PyTorch's own layers with the parameters of one run."""
    norm, linear = nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        norm.weight.copy_(head.scale[run])
        norm.bias.copy_(head.shift[run])
        linear.weight.copy_(head.weight[run : run + 1])
    return nn.Sequential(norm, linear)


@pytest.mark.usefixtures("float64")
def test_head_equals_batchnorm_and_linear_of_each_run():
    head = EnsembleHead(2, [3, 4])
    with torch.no_grad():
        head.scale.uniform_(0.5, 2.0)
        head.shift.normal_()
    rivals = [torch_head(head, run) for run in range(2)]
    for _ in range(3):  # training: each run normalised by its own batch
        x = torch.randn(2, 20, 2) * 3 + 1
        logits = head.train()(x)
        for run, rival in enumerate(rivals):
            assert torch.allclose(logits[run], rival(x[run])[:, 0])
    x = torch.randn(2, 7, 2)
    logits = head.eval()(x)
    for run, rival in enumerate(rivals):  # evaluation: by the running statistics
        assert torch.allclose(logits[run], rival.eval()(x[run])[:, 0])
    assert not torch.allclose(head.train()(x), logits)


@pytest.mark.parametrize(("inflation", "count"), [(5, 486), (10, 886), (20, 1686)])
def test_parameter_counts_are_the_published_ones(inflation, count):
    # the saved models of the released code hold 486 and 1686 numbers: no lift, head of six
    config = CirclesConfig.released(inflation=inflation, seeds=(0,))
    assert sum(w.numel() for w in make_model(config).parameters()) == count


def test_lift_adds_its_parameters():
    config = CirclesConfig.paper(inflation=5, seeds=(0,))
    assert sum(w.numel() for w in make_model(config).parameters()) == 486 + 5 * 2 * (2 + 1)


def test_batches_visit_every_point_once():
    task = CirclesTask(replace(SMALL, batch=128))
    sizes, seen = [], []
    for x, y in task.batches(0):
        sizes.append(x.shape[1])
        seen.append(torch.cat([x, y.unsqueeze(-1)], dim=-1))
    assert sizes == [128] * 23 + [56]
    found = {tuple(row) for row in torch.cat(seen, dim=1)[1].tolist()}
    known = torch.cat([task.points, task.labels.unsqueeze(-1)], dim=-1)[1]
    assert found == {tuple(row) for row in known.tolist()}


def test_order_changes_with_the_epoch_and_not_with_the_neighbours():
    first, _ = next(CirclesTask(SMALL).batches(0))
    later, _ = next(CirclesTask(SMALL).batches(1))
    alone, _ = next(CirclesTask(replace(SMALL, seeds=(1,))).batches(0))
    assert not torch.equal(first, later)
    assert torch.equal(first[1], alone[0])


def test_loss_weighs_entropy_and_penalty():
    def loss(**changes):
        config = replace(SMALL, classifier_decay=0.0, **changes)
        task = CirclesTask(config)
        return task.loss(model, (task.points, task.labels))

    model = make_model(SMALL)
    entropy, penalty = loss(penalty=0.0), model.flow.penalty()
    # 1e-5: float32 sums
    assert torch.allclose(loss(), entropy + penalty, rtol=1e-5)
    assert torch.allclose(
        loss(classification=0.2, penalty=3.0), 0.2 * entropy + 3 * penalty, rtol=1e-5
    )
    assert torch.allclose(entropy, torch.tensor(0.7), atol=0.4)  # log 2 for an untrained head


def test_decay_is_that_of_adam():
    model, task = make_model(SMALL), CirclesTask(replace(SMALL, penalty=0.0, classifier_decay=2.0))
    plain = CirclesTask(replace(SMALL, penalty=0.0, classifier_decay=0.0))
    batch = (task.points, task.labels)
    weight = model.head.weight
    with_decay = torch.autograd.grad(task.loss(model, batch).sum(), weight)[0]
    without = torch.autograd.grad(plain.loss(model, batch).sum(), weight)[0]
    # 1e-5: float32; torch.optim.Adam adds weight_decay * w to the gradient
    assert torch.allclose(with_decay - without, 2.0 * weight, atol=1e-5)


def test_assessment_refuses_training_mode():
    model = make_model(SMALL).train()
    with pytest.raises(ValueError, match="evaluation mode"):
        assess(model, *circles(SMALL.seeds, "test"))


def test_assessment_of_a_perfect_and_a_blind_classifier():
    class Rule(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def forward(self, x):
            return self.sign * (x.norm(dim=-1) - 0.75)

    points, labels = circles([0, 1], "train")
    for sign, expected in ((1.0, 1.0), (-1.0, 0.0)):
        right, _ = assess(Rule(sign).eval(), points, labels)
        assert right.tolist() == [expected] * 2


def test_protocols_differ_where_the_released_code_does():
    paper, released = CirclesConfig.paper(), CirclesConfig.released(inflation=20)
    assert (paper.penalty, paper.theta3_weight, paper.lift) == (1.0, 10.0, "learned")
    assert (released.penalty, released.theta3_weight, released.lift) == (0.0, 0.1, "zero")
    assert released.inflation == 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "mine"}, "expected a protocol among"),
        ({"lift": "none"}, "expected a lift among"),
        ({"batch": 1}, "expected the batch to be a whole number from 2 to 3000"),
        ({"classification": -1.0}, "to be a finite number of at least 0"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        CirclesConfig(**settings)


# the released momenta are so large at first that H moves by 7 % with the published step
@pytest.mark.filterwarnings("ignore::shooting.conservation.ConservationWarning")
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("protocol", [CirclesConfig.paper, CirclesConfig.released])
def test_run_of_an_ensemble_equals_the_run_alone(protocol):
    config = protocol(inflation=2, particles=3, seeds=(0, 1, 2), epochs=1, batch=500)
    together, alone = train(config), train(replace(config, seeds=(1,)))
    # 1e-9: float64 rounding of differently batched products after six steps of training
    assert torch.allclose(together.fit.early[:, 1], alone.fit.early[:, 0], rtol=1e-9)
    for name in ("train_accuracy", "cross_entropy", "penalty", "complexity", "path_length"):
        assert together.metrics[name][1] == pytest.approx(alone.metrics[name][0], rel=1e-9)


def test_down_weighted_classification_lets_the_penalty_win():
    wide = replace(SMALL, inflation=8, particles=10, epochs=8, batch=128, learning_rate=0.02)
    loud, mute = (
        train(replace(wide, classification=10.0)),
        train(replace(wide, classification=0.01)),
    )
    assert np.min(loud.metrics["train_accuracy"]) > 0.99
    assert np.max(mute.metrics["train_accuracy"]) < 0.99
    assert np.max(mute.metrics["penalty"]) < np.min(loud.metrics["penalty"])
    assert loud.arrays["flow"].shape == (1, 11, 120, 2)
    assert loud.arrays["decision"].shape == (1, 41 * 41)


def test_training_resumed_after_a_kill_equals_training_in_one_go():
    config = replace(SMALL, epochs=4)
    kept = Memory(dies_after=2)
    with pytest.raises(Interrupted):
        train(config, kept)
    assert {"model.head.mean", "model.head.variance"} <= set(kept.state)
    kept.left = 10
    resumed, whole = train(config, kept), train(config)
    assert torch.equal(resumed.fit.history, whole.fit.history)
    assert resumed.metrics == whole.metrics


def test_window_is_a_grid_of_rows():
    points = window(3)
    assert points[:3].tolist() == [[-2.0, -2.0], [0.0, -2.0], [2.0, -2.0]]


@pytest.mark.parametrize(("successes", "runs"), [(1, 50), (2, 50), (25, 50), (49, 50), (3, 5)])
def test_ends_of_the_wilson_interval_are_at_the_quantile(successes, runs):
    # its definition: |rate - p| = z sqrt(p (1 - p) / n) at both ends; 1e-12: float64
    z = NormalDist().inv_cdf(0.975)
    for end in wilson(successes, runs):
        reach = z * (end * (1 - end) / runs) ** 0.5
        assert abs(successes / runs - end) == pytest.approx(reach, rel=1e-12)


def test_wilson_interval_without_and_with_only_successes():
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert wilson(0, 50) == pytest.approx((0.0, z2 / (50 + z2)))
    assert wilson(50, 50) == pytest.approx((50 / (50 + z2), 1.0))


@pytest.mark.parametrize(("successes", "runs"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(successes, runs):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, runs)


def test_grid_covers_the_paper():
    full = grid("paper")
    assert EXPERIMENTS["circles"] is CIRCLES
    assert len(full) == len(set(full)) == len(FACTORS) * (len(WEIGHTS) + 1)
    assert {len(c.seeds) for c in full} == {50}
    assert {c.inflation for c in full} == {5, 10, 20}
