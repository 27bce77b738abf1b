"""Training that goes wrong: failures stay in their run, and resuming changes no bit."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from problems import flat, gap, parts, refused
from square import Memory, Square, build, settings
from torch import nn

from shooting import DynamicParticles, NonFiniteError, UpDown
from shooting.fit import FitConfig, fit
from shooting.optim import Cosine, Plateau
from shooting.parametrizations import ParticleInit
from shooting.randomness import normal

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("through_gradient", [False, True])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_failed_run_stays_and_neighbours_do_not_notice(first, through_gradient):
    seeds = (0, 1, 2)
    clean, ill = build(seeds=seeds), build(seeds=seeds)
    task = Square(seeds, poison={1: first}, through_gradient=through_gradient)
    want = fit(clean, Square(seeds), settings(5))
    got = fit(ill, task, settings(5))
    assert got.failed.tolist() == [-1, first, -1]
    assert got.alive.tolist() == [True, False, True]
    assert want.failed.tolist() == [-1, -1, -1]
    kept = task.seen[first]
    for now in (*task.seen[first:], parts(ill)):
        assert all(torch.equal(now[k][1], kept[k][1]) for k in kept)
    assert bool(torch.isfinite(flat(ill)).all())
    for r in (0, 2):
        assert torch.equal(flat(ill)[r], flat(clean)[r])
        assert torch.equal(got.history[:, r], want.history[:, r])
        assert torch.equal(got.early[:, r], want.early[:, r])


def test_neighbours_of_a_failed_run_train_as_without_it():
    with_it, without = build(seeds=[0, 1, 2]), build(seeds=[0, 2])
    fit(with_it, Square((0, 1, 2), poison={1: 3}), settings(10))
    fit(without, Square((0, 2)), settings(10))
    assert gap(flat(with_it)[[0, 2]], flat(without)) <= 1e-10


def test_a_failed_run_is_not_revived():
    """One bad step is enough, though later losses are finite again."""

    class Once(Square):
        def loss(self, model, batch):
            self.poison = {1: 3} if self.step == 3 else {}
            return super().loss(model, batch)

    model, task = build(seeds=[0, 1]), Once((0, 1))
    result = fit(model, task, settings(5))
    assert result.failed.tolist() == [-1, 3]
    assert all(torch.equal(w[1], task.seen[3][k][1]) for k, w in model.named_parameters())


class Slopes:
    """A loss with the same slope everywhere, so that Adam moves each entry by its rate."""

    def batches(self, epoch):
        return [None]

    def loss(self, model, batch):
        return 1e-3 * model.w.sum(-1)

    def monitor(self, model):
        raise NotImplementedError


class Two(torch.nn.Module):
    """Two runs whose weights start at these numbers."""

    def __init__(self, *starts):
        super().__init__()
        self.seeds = (0, 1)
        self.w = torch.nn.Parameter(torch.tensor([[s] for s in starts], dtype=torch.float32))


def test_a_run_that_the_last_update_destroys_has_failed():
    """Loss and gradient are finite, but the update steps over the largest float32, 3.4e38."""
    config = FitConfig(2, learning_rate=1e37)
    model = Two(0.0, -3.25e38)
    assert fit(model, Slopes(), config).failed.tolist() == [-1, 1]
    assert torch.isfinite(model.w).all(-1).tolist() == [True, False]
    with refused("(at steps [1, 1])", error=NonFiniteError):
        fit(Two(-3.25e38, -3.25e38), Slopes(), config)
    assert fit(Two(0.0, -3.15e38), Slopes(), config).alive.all()  # the control: one step less far


def test_no_run_left_is_an_error():
    task = Square((0, 1), poison={0: 2, 1: 5})
    with refused("(at steps [2, 5])", "my label", error=NonFiniteError) as _:
        fit(build(seeds=[0, 1]), task, settings(10), label="my label")
    assert task.step == 6  # given up at the end of that epoch


def test_single_run_that_fails_is_an_error():
    class Nan(Square):
        def loss(self, model, batch):
            return super().loss(model, batch) * float("nan")

    with pytest.raises(NonFiniteError) as caught:
        fit(build(seed=0), Nan(None), settings(2))
    assert caught.value.steps == (0,)


def test_blow_up_of_every_run_is_an_error():
    """Momenta of size 1e3, in the sum convention: the solve itself overflows."""
    model = DynamicParticles(
        UpDown(1, 4), 10, init=ParticleInit(p=normal(1e3)), momentum_scale=1.0, seeds=[0, 1]
    )
    with refused("[0, 0]", "momenta", error=NonFiniteError):
        fit(model, Square((0, 1)), settings(2))


@pytest.mark.parametrize("schedule", [Plateau(patience=1, every=2), Cosine(8), None])
def test_resuming_at_any_epoch_changes_no_bit(schedule):
    """With a frozen part, a schedule, and a run that fails on the way."""
    seeds, config = (0, 1, 2), settings(8, schedule=schedule, freeze={"x": 3})

    class Fails(Square):
        def loss(self, model, batch):  # a function of the batch alone, as a real failure is
            loss = super().loss(model, batch)
            return torch.where(batch[:, 0, 0] == mark, float("nan"), loss)

    mark = list(Square(seeds).batches(4))[1][1, 0, 0]
    whole, memory = build(seeds=seeds), Memory()
    want = fit(whole, Fails(seeds), config, checkpoint=memory)
    assert want.failed.tolist() == [-1, 9, -1]
    assert len(memory.states) == 8
    for k, state in enumerate(memory.states):
        again, task = build(seeds=seeds), Fails(seeds)
        got = fit(again, task, config, checkpoint=Memory(copy.deepcopy(state)))
        assert task.step == 2 * (7 - k)  # only what was missing
        assert torch.equal(flat(again), flat(whole))
        assert torch.equal(got.failed, want.failed)
        for a, b in ((got.history, want.history), (got.early, want.early)):
            assert torch.equal(a, b) or torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def test_control_resuming_without_moments_is_noticed():
    seeds, memory = (0, 1), Memory()
    whole = build(seeds=seeds)
    fit(whole, Square(seeds), settings(4), checkpoint=memory)
    state = memory.states[1]
    for key in state:
        if key.startswith("adam.mean"):
            state[key].zero_()
    again = build(seeds=seeds)
    fit(again, Square(seeds), settings(4), checkpoint=Memory(state))
    assert gap(flat(again), flat(whole)) > 1e-6


def test_last_epoch_is_always_saved():
    memory = Memory(due=False)
    model = build(seed=0)
    fit(model, Square(None), settings(3), checkpoint=memory)
    assert len(memory.states) == 1
    assert torch.equal(memory.states[0]["model.x"], model.x)


class Chained(nn.Module):
    """Two blocks, and a number per run."""

    seeds = (0, 1, 2)

    def __init__(self):
        super().__init__()
        field = UpDown(1, 3)
        self.first, self.second = (DynamicParticles(field, 5, seeds=self.seeds) for _ in "12")
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x, times):
        end = self.second(self.first(x, times)[:, -1], times)
        return self.scale.view(3, 1, 1, 1) * end

    def penalty(self):
        return self.first.penalty() + self.second.penalty()


def test_a_run_that_fails_before_another_block_is_set_aside_alone():
    model = Chained()
    model.first.p.data[0] *= 1e4
    result = fit(model, Square(model.seeds), FitConfig(epochs=2))
    assert result.failed.tolist() == [0, -1, -1]
    bad = torch.full((3, 4, 1), math.nan).requires_grad_() * 1  # control: outside a training
    with refused("finite"):
        model.second(bad, [0.0, 1.0])


@pytest.mark.parametrize("shape", [(), (2, 1), (3,)])
def test_what_is_monitored_is_one_number_for_each_run(shape):
    class Watched(Square):
        def monitor(self, model):
            return torch.zeros(shape) if shape else None

    seeds = (0, 1)
    plateau = FitConfig(epochs=2, schedule=Plateau(every=1, patience=0))
    with refused("monitors"):
        fit(build(seeds=seeds), Watched(seeds), plateau)
